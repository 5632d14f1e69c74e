package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/sizing"
)

// sizeCommand says what a store will need.
type sizeCommand struct {
	Keys       count  `required:"" help:"How many keys the store will have."`
	State      size   `required:"" help:"Bytes of a state."`
	Key        size   `default:"16" help:"Bytes of a key (${default})."`
	Event      size   `default:"32" help:"Bytes of an event without its key (${default})."`
	EventsPerS count  `name:"events-per-s" help:"How many events a second will come."`
	Shards     int    `help:"How many shards; by default what the engine chooses, or those of --rates."`
	Sample     count  `default:"1M" help:"How many keys to measure, at most (${default})."`
	Rates      string `type:"existingfile" placeholder:"FILE" help:"Take the rates of this result of loadgen size, and measure nothing."`
	Dir        string `type:"path" help:"An existing directory, on the disk in question, for files that are removed. By default that of temporary files."`
	JSON       string `name:"json" type:"path" placeholder:"FILE" help:"Store the rates as JSON."`
}

// Run measures and multiplies.
func (c *sizeCommand) Run(p *process) error {
	if err := errors.Join(c.check(), canStoreJSON(c.JSON)); err != nil {
		return err
	}
	r, err := c.result(p)
	if err != nil {
		return err
	}
	estimate, err := r.Sizing.Of(uint64(c.Keys), float64(c.EventsPerS))
	if err != nil {
		return err
	}
	c.table(p.stdout, r.Sizing, &estimate)
	c.basis(p.stdout, r)
	if c.JSON == "" {
		return nil
	}
	return r.WriteFile(c.JSON)
}

func (c *sizeCommand) shape() sizing.Shape {
	return sizing.Shape{KeyBytes: int(c.Key), StateBytes: int(c.State), EventBytes: int(c.Event)}
}

// sampleKeys is how many keys are measured.
func (c *sizeCommand) sampleKeys() uint64 {
	return max(min(uint64(c.Sample), uint64(c.Keys), sizing.KeysMax), sizing.KeysMin)
}

// check finds what is wrong before anything is made.
func (c *sizeCommand) check() error {
	s := c.shape()
	if err := s.Check(); err != nil {
		return usage("%w", err)
	}
	switch {
	case c.Keys < 1:
		return usage("--keys: a store without keys needs nothing")
	case c.Sample < sizing.KeysMin:
		return usage("--sample: fewer keys than %s say nothing", report.Count(sizing.KeysMin))
	case c.Shards < 0 || c.Shards > 1024:
		return usage("--shards: 1 to 1024, or 0 for what the engine chooses, not %d", c.Shards)
	case c.Rates != "":
		return nil
	}
	// While the small store is opened again its memory may be there twice.
	return fits(2 * c.sampleKeys() * uint64(c.Key+2*c.State+64))
}

// result measures, or reads what was measured.
func (c *sizeCommand) result(p *process) (*report.Result, error) {
	if c.Rates != "" {
		return c.stored()
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return nil, err
	}
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Store = report.Store{Ack: "written", Sync: "10ms"}
	if r.Machine, err = machine.Look(dir); err == nil {
		var rates sizing.Rates
		rates, err = sizing.Measure(p.ctx, sizing.Options{
			Dir: dir, Keys: c.sampleKeys(), StoreKeys: max(uint64(c.Keys), sizing.KeysMin), Shards: c.Shards, Shape: c.shape(),
		})
		r.Sizing, r.Shards = &rates, rates.Shards
	}
	return r, errors.Join(err, remove())
}

// stored reads rates, which must be of the same shape and count of shards.
func (c *sizeCommand) stored() (*report.Result, error) {
	r, err := report.ReadFile(c.Rates)
	if err != nil {
		return nil, err
	}
	if r.Sizing == nil {
		return nil, usage("--rates: %s is not a result of loadgen size", c.Rates)
	}
	if r.Sizing.Shape != c.shape() {
		return nil, usage("--rates: %s was measured with other sizes of key, state or event: %+v", c.Rates, r.Sizing.Shape)
	}
	if n := r.Sizing.Shards; c.Shards != 0 && c.Shards != n {
		return nil, usage("--rates: %s was measured with %d shards, not %d: measure again without --rates", c.Rates, n, c.Shards)
	}
	return r, nil
}

// table prints what the store will need.
func (c *sizeCommand) table(w io.Writer, r *sizing.Rates, e *sizing.Estimate) {
	fmt.Fprintf(w, "%s keys of %d bytes, states of %d, events of %d\n", report.Count(uint64(c.Keys)), c.Key, c.State, c.Event)
	line := func(name, format string, a ...any) { fmt.Fprintf(w, "  %-12s%s\n", name, fmt.Sprintf(format, a...)) }
	line("memory", "%s: %.0f bytes a key, %.0f of them beside key and state", bytesOf(e.Memory), r.MemoryPerKey, r.MemoryPerKey-float64(c.Key+c.State))
	line("snapshot", "%s each, %.0f bytes a key", bytesOf(e.Snapshot), r.SnapshotPerKey)
	line("log", "up to %s before the next snapshot, %.0f bytes an event", bytesOf(e.LogMax), r.LogPerEvent)
	line("disk", "up to %s: two snapshots, a third that is being written, the log since the first", bytesOf(e.DiskMax))
	line("recovery", "%.1f s after a close, up to %.1f s after a kill just before a snapshot", e.RecoveryMin, e.RecoveryMax)
	if c.EventsPerS == 0 {
		return
	}
	line("events", "%s a second are %.0f %% of what one producer reached here", report.Count(uint64(c.EventsPerS)), 100*e.Part)
	line("", "they make %s of log a second, and a snapshot every %s", bytesOf(e.LogPerSecond), time.Duration(e.SnapshotEvery*float64(time.Second)).Round(time.Second))
}

func bytesOf(f float64) string { return report.Bytes(uint64(f)) }

// basis says how the rates were obtained.
func (c *sizeCommand) basis(w io.Writer, r *report.Result) {
	s := r.Sizing
	fmt.Fprintf(w, "measured on %s in %.1f s: %s keys with states of %d bytes, shards: %d; the rest is multiplied\n",
		r.Started.UTC().Format(time.DateOnly), s.Took.Seconds(), report.Count(s.Keys), s.StateBytes, s.Shards)
	fmt.Fprintf(w, "  %s events/s from one producer, written; a recovery loads %s keys/s and replays %s events/s\n",
		report.Count(int64(s.EventsPerSecond)), report.Count(int64(s.LoadPerSecond)), report.Count(int64(s.ReplayPerSecond)))
	for _, line := range r.Machine.Lines()[:2] {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintf(w, "memory is that of keys, states and their index: the program itself, its heap and buffers come on top\n")
}
