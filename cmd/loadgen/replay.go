package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/engine"
)

// replayCommand folds the log of a run again, into another store.
type replayCommand struct {
	Dir     string `arg:"" type:"path" help:"The --dir of the run, which must have kept its log."`
	In      string `placeholder:"FILE" type:"path" help:"Where the file of the run is now, if it was moved, or was standard input."`
	Into    string `type:"path" placeholder:"NEWDIR" help:"Where to leave the new store, for recover; must be new or empty. By default a temporary directory."`
	Workers int    `help:"How many goroutines read and send; by default as many as there are CPUs."`
	Shards  int    `help:"How many shards the new store has; by default as many as the run had."`
	Sync    string `default:"10ms" help:"When the log of the new store is synced: commit, never, or a time such as 10ms (${default})."`
}

// Run replays, verifies and tells.
func (c *replayCommand) Run(p *process) error {
	d, into, err := c.prepare()
	if err != nil {
		return err
	}
	dir, remove := c.Into, func() error { return nil }
	if dir == "" {
		dir, remove, err = workDirectory("")
	} else {
		err = emptyDirectory(dir, "choose another directory")
	}
	if err != nil {
		return err
	}
	into.Store.Dir = filepath.Join(dir, storeName)
	return errors.Join(c.replay(p, d, into, dir), remove())
}

// prepare reads the description of the run, and makes that of the new store of it.
func (c *replayCommand) prepare() (old, into *description, err error) {
	if c.Workers < 0 {
		return nil, nil, usage("--workers: %d goroutines cannot read", c.Workers)
	}
	if old, err = readDescription(c.Dir); err != nil {
		return nil, nil, err
	}
	if err := locate(old, c.In); err != nil {
		return nil, nil, err
	}
	old.Store.Dir = filepath.Join(c.Dir, storeName)
	if entries, err := os.ReadDir(old.Store.Dir); err != nil || len(entries) == 0 {
		return nil, nil, usage("%s holds no store", old.Store.Dir)
	}
	next := *old
	into = &next
	into.Store.Layers, into.Store.Ack, into.Store.Sync, into.Store.SnapshotBytes = store.Layers{}, "written", c.Sync, 0
	if c.Shards != 0 {
		into.Store.Shards = c.Shards
	}
	if err := into.Store.Check(); err != nil {
		return nil, nil, usage("%w", err)
	}
	return old, into, nil
}

// replay replays into the store in a directory.
func (c *replayCommand) replay(p *process, d, into *description, dir string) error {
	if err := into.write(dir); err != nil {
		return err
	}
	t, r, err := store.Replay(p.ctx, d.Store, into.Store, c.Workers)
	switch {
	case errors.Is(err, engine.ErrTrimmed):
		return fmt.Errorf("the log of the run does not go back to its first event; give the run more with --keep-log: %w", err)
	case err != nil:
		return err
	}
	rate := float64(r.Sent) / max(r.Duration.Seconds(), 1e-9)
	fmt.Fprintf(p.stdout, "%-10s%s events in %.2f s: %s/s\n", "replayed", report.Count(r.Sent), r.Duration.Seconds(), report.Count(int64(rate)))
	if d.PerSecond > 0 {
		fmt.Fprintf(p.stdout, "%-10sat %s/s: replayed %.2f times as fast\n", "written", report.Count(int64(d.PerSecond)), rate/d.PerSecond)
	}
	return errors.Join(c.verify(p, into, t), t.Close(context.WithoutCancel(p.ctx)))
}

// verify compares the new states with the stream.
func (c *replayCommand) verify(p *process, into *description, t bench.Target) error {
	f, err := verify(p, into, t)
	if err != nil {
		return err
	}
	v := report.VerifyOf(f)
	if v.OK {
		fmt.Fprintf(p.stdout, "%-10sOK: %s keys with %s events are what a single thread computes\n", "verify", report.Count(v.Keys), report.Count(v.Events))
	}
	if c.Into != "" {
		fmt.Fprintf(p.stdout, "%-10sloadgen recover %s\n", "next", c.Into)
	}
	return failed(v)
}
