package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/keyfold/keyfold/bench/input"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/skew"
	"github.com/keyfold/keyfold/bench/store"
)

// skewCommand drives loads whose hot keys change their place.
type skewCommand struct {
	In  string `group:"Load" type:"path" placeholder:"FILE" help:"Take the keys of the events of a file, which exchange their names when the load shifts, instead of generated ones."`
	Key string `group:"Load" default:".origin" help:"The fields of the file that make the key (${default})."`

	Hot     int     `group:"Load" default:"8" help:"How many partitions are hot at a time (${default})."`
	HotPart percent `group:"Load" default:"90%" help:"What part of the events goes to them; the rest goes to all keys (${default})."`
	HotKeys count   `group:"Load" default:"1k" help:"How many keys a hot partition has (${default})."`
	Keys    count   `group:"Load" default:"100k" help:"How many keys there are besides (${default})."`
	Seed    uint64  `group:"Load" default:"42" help:"The same seed gives the same events (${default})."`

	Work   time.Duration `group:"Load" default:"500ns" help:"How long Apply takes beyond counting the event, about (${default})."`
	Even   time.Duration `group:"Load" default:"3s" help:"How long the load is even at first (${default})."`
	Phase  time.Duration `group:"Load" default:"5s" help:"How long it stays after a shift (${default})."`
	Shifts int           `group:"Load" default:"2" help:"How often it shifts (${default})."`
	Window count         `group:"Load" default:"32k" help:"How many events of a source may be unsettled (${default})."`

	Modes  []string `group:"Engine" default:"balanced,off,advised,automatic" help:"What is done about it, a run each: balanced, off, advised, automatic (${default})."`
	Shards int      `group:"Engine" default:"2" help:"How many shards, each with a source of its own (${default})."`
	Ack    string   `group:"Engine" enum:"durable,written,applied" default:"durable" help:"What events wait for: durable, written or applied (${default})."`
	Sync   string   `group:"Engine" default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Dir    string   `group:"Engine" type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`

	JSON string `group:"Output" name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
	SVG  string `group:"Output" name:"svg" type:"path" placeholder:"FILE" help:"Store the picture."`
}

// skewSlice is the length of the parts of the time that are told apart.
const skewSlice = 200 * time.Millisecond

// load is what is driven, and its name.
func (c *skewCommand) load() (skew.Load, string, error) {
	if c.In == "" {
		l, err := skew.Hot{
			Partitions: c.Hot, Keys: int(c.HotKeys), Part: float64(c.HotPart), Cool: int(c.Keys), Seed: c.Seed,
		}.Load()
		return l, fmt.Sprintf("%s keys, %.0f %% of the events in %d partitions", report.Count(len(l.Keys)), 100*c.HotPart, c.Hot), err
	}
	in, err := input.Open(input.Options{Path: c.In, Key: c.Key})
	if err != nil {
		return skew.Load{}, "", err
	}
	l, err := skew.Named(in)
	words := fmt.Sprintf("%s key %s, %s keys", filepath.Base(c.In), c.Key, report.Count(len(l.Keys)))
	return l, words, errors.Join(err, in.Close())
}

// options are those of the runs, but for directory and mode.
func (c *skewCommand) options() (o skew.Options, err error) {
	s := store.Options{Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, EventBytes: store.EventBytesMin}
	o = skew.Options{Work: c.Work, Even: c.Even, Phase: c.Phase, Shifts: c.Shifts, Slice: skewSlice, InFlight: int(c.Window)}
	if o.Engine, o.Ack, err = s.Engine(); err != nil {
		return o, err
	}
	for _, mode := range c.Modes {
		if !slices.Contains(skew.Modes(), skew.Mode(mode)) {
			return o, fmt.Errorf("--modes: %q is none of %v", mode, skew.Modes())
		}
	}
	return o, o.Check()
}

// Run drives a run for each mode.
func (c *skewCommand) Run(p *process) error {
	o, err := c.options()
	if err != nil {
		return usage("%w", err)
	}
	if err := canStoreJSON(c.JSON); err != nil {
		return err
	}
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	var words string
	if o.Load, words, err = c.load(); err != nil {
		return usage("%w", err)
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	r.Load = report.Load{Seed: c.Seed, Input: words, EventBytes: store.EventBytesMin, Producers: c.Shards, Door: "source", Window: int(c.Window)}
	r.Store = report.Store{Ack: c.Ack, Sync: c.Sync, Shards: c.Shards}
	r.Skew = &report.Skew{Busiest: o.Load.Busiest(), WorkNanos: int64(c.Work)}
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		err = c.runs(p, r, o, dir)
	}
	if err = errors.Join(err, remove()); errors.Is(err, skew.ErrWrong) {
		return &exitError{exitVerify, err}
	}
	if err != nil {
		return err
	}
	return c.tell(p, r)
}

// runs drives a run after the other. One with a wrong state is an error.
func (c *skewCommand) runs(p *process, r *report.Result, o skew.Options, dir string) error {
	r.Verify = &report.Verify{OK: true}
	for _, mode := range c.Modes {
		o.Mode, o.Dir = skew.Mode(mode), filepath.Join(dir, mode)
		result, err := skew.Run(p.ctx, o)
		if err != nil {
			return err
		}
		r.Skew.Add(&o, &result)
		r.Verify.Keys += uint64(result.Keys)
		r.Verify.Events += result.Events
		skewRow(p.stdout, &r.Skew.Runs[len(r.Skew.Runs)-1])
		if err := os.RemoveAll(o.Dir); err != nil {
			return err
		}
	}
	return nil
}

// skewRow tells of one run.
func skewRow(w io.Writer, run *report.SkewRun) {
	fmt.Fprintf(w, "%-10seven %s events/s, p99 %s; %s verified\n", run.Mode, report.Count(int64(run.Even)), report.Nanos(run.P99Even), report.Count(run.Keys))
	for i, s := range run.Shifts {
		beside, moving := "", ""
		if s.OfBalanced > 0 { // a balanced run came before
			beside = fmt.Sprintf(", %.2f of balanced; not back to 0.85", s.OfBalanced)
			if s.BackSeconds >= 0 {
				beside = fmt.Sprintf(", %.2f of balanced; back to 0.85 after %.1f s", s.OfBalanced, s.BackSeconds)
			}
		}
		if s.Moves > 0 {
			moving = fmt.Sprintf("; p99 during %d moves %s", s.Moves, report.Nanos(s.P99Moving))
		}
		fmt.Fprintf(w, "%-10sshift %d: %s events/s%s%s\n", "", i+1, report.Count(int64(s.Rate)), beside, moving)
	}
}

// tell stores what came of it.
func (c *skewCommand) tell(p *process, r *report.Result) error {
	var err error
	if c.SVG != "" {
		var svg []byte
		if svg, err = r.Skew.Picture(r.Input); err == nil {
			err = os.WriteFile(c.SVG, svg, 0o644)
		}
	}
	if c.JSON != "" {
		err = errors.Join(err, r.WriteFile(c.JSON))
	}
	return err
}
