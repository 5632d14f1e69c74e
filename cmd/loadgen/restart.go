package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/drill"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/internal/fsys"
)

// restartCommand kills a child under full load and times the opening of its store.
type restartCommand struct {
	Keys     count         `default:"10M" help:"How many keys (${default})."`
	Dist     string        `default:"uniform" help:"How keys are drawn (${default})."`
	Size     size          `default:"16" help:"Bytes of an event without its key (${default})."`
	Events   count         `default:"25M" help:"How many events are acknowledged before the moment is drawn, so that the keys are there (${default})."`
	Live     time.Duration `default:"5s" help:"How long the child is left under load behind them, at most: the moment is drawn (${default})."`
	Seed     uint64        `help:"Gives the events and the moment; by default another one each time."`
	Door     string        `enum:"producer,source" default:"producer" help:"How events come: producer or source (${default})."`
	Window   count         `default:"64k" help:"How many events of the producer may be unacknowledged (${default})."`
	Shards   int           `help:"How many shards; by default what the engine chooses."`
	Ack      string        `enum:"durable,written" default:"durable" help:"What the child waits for: durable or written (${default})."`
	Sync     string        `default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Device   string        `enum:"library,direct" default:"direct" help:"What writes the log: library or direct (${default})."`
	Snapshot size          `name:"snapshot-bytes" help:"How much log starts a snapshot; by default what the engine chooses."`
	Budget   time.Duration `name:"recovery-budget" help:"How long the opening should take: snapshots are taken for that; by default no budget."`
	Cold     bool          `help:"Drop the files of the store from the page cache before it is opened."`
	JSON     string        `name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
	Dir      string        `type:"path" help:"An empty or new directory for the store, which is kept. By default a temporary one, kept after a failure."`
}

// Run kills, opens, reports, verifies and closes.
func (c *restartCommand) Run(p *process) error {
	if c.Seed == 0 {
		c.Seed = rand.Uint64() >> 32
	}
	if err := c.check(); err != nil {
		return usage("%w", err)
	}
	dir, err := c.directory()
	if err != nil {
		return err
	}
	switch err = c.restart(p, c.orders(dir), dir); {
	case p.ctx.Err() != nil && errors.Is(err, context.Canceled):
		return c.interrupted(dir)
	case err != nil:
		return fmt.Errorf("%w (files are left in %s)", err, dir)
	}
	return c.remove(dir)
}

// check finds what is wrong before anything is made.
func (c *restartCommand) check() error {
	o := c.orders("")
	l := bench.Load{Producers: o.Producers, Window: o.Window}
	_, err := workload.NewGenerator(o.Stream)
	if err = errors.Join(o.Store.Check(), l.Check(), err, canStoreJSON(c.JSON)); err == nil && c.Live < 0 {
		err = fmt.Errorf("--live: a child cannot be left for %v", c.Live)
	}
	return err
}

// restart kills a child under load and opens its store.
func (c *restartCommand) restart(p *process, o *drill.Orders, dir string) error {
	if err := os.Mkdir(o.Work, 0o700); err != nil {
		return err
	}
	live := time.Duration(rand.New(rand.NewPCG(c.Seed, 0x72657374)).Int64N(int64(max(c.Live, 1))) + 1)
	fmt.Fprintf(p.stderr, "%-10sa child is killed with SIGKILL %v behind event %s; seed %d; %s\n", "restart",
		live.Round(time.Millisecond), report.Count(uint64(c.Events)), c.Seed, dir)
	killed, err := drill.KillAfter(p.ctx, o, p.child, uint64(c.Events), live)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%-10s%s events were acknowledged, at last %s a second\n", "killed",
		report.Count(killed.Acked), report.Count(int64(killed.Rate)))
	return c.reopen(p, o, killed)
}

// interrupted removes a temporary directory: nothing went wrong that somebody would want to
// look at.
func (c *restartCommand) interrupted(dir string) error {
	if c.Dir != "" {
		return fmt.Errorf("interrupted (files are left in %s)", dir)
	}
	return errors.Join(errors.New("interrupted"), c.remove(dir))
}

// remove removes the directory if it is a temporary one.
func (c *restartCommand) remove(dir string) error {
	if c.Dir != "" {
		return nil
	}
	return os.RemoveAll(dir)
}

func (c *restartCommand) directory() (string, error) {
	if c.Dir == "" {
		return os.MkdirTemp("", "loadgen-restart-*")
	}
	return c.Dir, emptyDirectory(c.Dir, "choose another directory")
}

// orders are those of the child: a stream without an end, from one producer.
func (c *restartCommand) orders(dir string) *drill.Orders {
	return &drill.Orders{
		Round: 1, Work: filepath.Join(dir, "drill"), Producers: 1, Window: int(c.Window),
		Stream: workload.Generated{Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed},
		Store: store.Options{
			Dir: filepath.Join(dir, storeName), Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device,
			EventBytes: int(c.Size), SnapshotBytes: int64(c.Snapshot), RecoveryBudget: c.Budget, Read: c.Door == "source",
		},
	}
}

// reopen opens what the child left, reports and verifies.
func (c *restartCommand) reopen(p *process, o *drill.Orders, killed drill.Killed) error {
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Seed = c.Seed
	d := &description{Generated: &o.Stream, Store: o.Store}
	r.Load = report.Load{Input: d.words(), EventBytes: o.Store.EventBytes, Door: "none"}
	r.Machine, _ = machine.Look(o.Work)
	if c.Cold {
		if err := evictTree(o.Store.Dir); err != nil {
			return err
		}
	}
	t, err := p.open(p.ctx, o.Store)
	if err != nil {
		return err
	}
	err = c.judge(p, r, o, t, killed)
	hurry, cancel := context.WithCancel(context.WithoutCancel(p.ctx))
	cancel() // the store has served: no last snapshot
	if closing := t.Close(hurry); !errors.Is(closing, context.Canceled) {
		err = errors.Join(err, closing)
	}
	return err
}

// judge reports what the opening took, and verifies every key.
func (c *restartCommand) judge(p *process, r *report.Result, o *drill.Orders, t bench.Target, killed drill.Killed) error {
	recovery := t.Recovery()
	recovery.Live, recovery.Cold = killed.Rate, c.Cold
	r.Recovery = &recovery
	r.Store = report.Store{Ack: o.Store.Ack, Sync: o.Store.Sync, Shards: t.Shards()}
	found, err := o.Verify(p.ctx, t)
	if err != nil {
		return err
	}
	r.Verify = report.VerifyOf(found)
	r.End(p.stdout)
	if c.JSON != "" {
		if err := r.WriteFile(c.JSON); err != nil {
			return err
		}
	}
	return failed(r.Verify)
}

// evictTree has the system forget what it keeps of the files below dir.
func evictTree(dir string) error {
	disk := fsys.OS()
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := disk.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Evict(), f.Close()) // what is not synced cannot be forgotten
	})
}
