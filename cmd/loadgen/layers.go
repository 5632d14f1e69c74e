package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// layerFlags say what the table has beyond keys and states.
type layerFlags struct {
	Once   count  `group:"Layers" placeholder:"N" help:"Give each event an id: a partition remembers the last N, and does an event once for its id. For --door do and batch."`
	Resend share  `group:"Layers" placeholder:"1%" help:"How many of the events with ids are sent again, half of them before the first call has an answer."`
	Name   string `group:"Layers" placeholder:"NAME" help:"Name the producers or sources NAME-0, NAME-1 and so on: the store remembers how far each has come. For --door producer and source."`
}

// share is a part such as 1% or 0.01.
type share float64

// UnmarshalText reads a share.
func (s *share) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(digits, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is not a share such as 1%% or 0.01", text)
	}
	*s = share(f)
	return nil
}

// layers are those of the store.
func (f *layerFlags) layers() store.Layers {
	return store.Layers{Once: int(f.Once), Resend: float64(f.Resend), Name: f.Name}
}

// check says which flags do not go together, and what does.
func (f *layerFlags) check(c *runCommand) error {
	calls := c.Door == string(bench.Single) || c.Door == doorBatch
	switch {
	case f.Once > store.OnceMax:
		return usage("--once: a partition remembers %s ids at most", report.Count(uint64(store.OnceMax)))
	case f.Once > 0 && !calls:
		return usage("--once gives ids to calls: choose --door do or --door batch; a producer or a source has --name instead")
	case f.Resend > 0 && f.Once == 0:
		return usage("--resend sends events again under their ids: say with --once how many are remembered, for example --once 10k")
	case f.Name != "" && calls:
		return usage("--name is that of producers and sources: with --door %s give the events ids, for example --once 10k", c.Door)
	case f.Name != "" && c.Ack != durableAck:
		return usage("--name remembers what is durable: it needs --ack durable")
	}
	return nil
}

// layered is a target that says what its layers have done.
type layered interface {
	watched
	Again() store.Again
}

// layers tells what the layers of a run have done.
func (r *run) layers(t bench.Target) error {
	l, ok := t.(layered)
	o := &r.description.Store
	if !ok || o.Layers == (store.Layers{}) {
		return nil
	}
	stats, err := l.Stats(context.WithoutCancel(r.ctx))
	if err != nil {
		return err
	}
	out := &report.Layers{Name: o.Name}
	r.result.Layers = out
	if o.Once > 0 {
		out.Once = &report.Once{Ids: o.Once, Again: l.Again(), Skipped: stats.Skipped}
	}
	return nil
}

// checkLayers adds to a finding what the layers did wrong.
func (r *run) checkLayers(f *workload.Finding) {
	l := r.result.Layers
	if l == nil {
		return
	}
	if o := l.Once; o != nil && o.Different > 0 {
		f.Add(o.Different, "an event that was sent again was answered otherwise than the first time")
	}
}
