package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/bench/drill"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
)

// crashCommand kills children under load.
type crashCommand struct {
	Kills     int           `default:"20" help:"How many children to kill under load (${default}). Some more are killed while they recover."`
	Seed      uint64        `help:"Gives the events and the moments of the kills; by default another one each time."`
	Keys      count         `default:"100k" help:"How many keys (${default})."`
	Dist      string        `default:"zipf:0.9" help:"How keys are drawn (${default})."`
	Size      size          `default:"16" help:"Bytes of an event without its key (${default})."`
	Producers int           `default:"2" help:"How many goroutines send (${default})."`
	Window    count         `default:"1k" help:"How many events a producer sends before it waits (${default})."`
	Rate      count         `help:"Events per second; by default as fast as it goes."`
	Live      time.Duration `default:"500ms" help:"How long a child is left under load at most (${default})."`
	Shards    int           `help:"How many shards; by default the count changes between children."`
	Ack       string        `enum:"durable,written" default:"durable" help:"What the children wait for: durable or written (${default})."`
	Sync      string        `default:"commit" help:"When the log is synced (${default})."`
	Device    string        `enum:"library,direct" default:"library" help:"What writes the log: library or direct (${default})."`
	Dir       string        `type:"path" help:"An empty or new directory for the store, which is kept. By default a temporary one, kept after a failure."`
}

// snapshotBytes makes children take snapshots often, so that kills hit them too.
const snapshotBytes = 4 << 20

// Run drills.
func (c *crashCommand) Run(p *process) error {
	if c.Seed == 0 {
		c.Seed = rand.Uint64() >> 32
	}
	dir, err := c.directory()
	if err != nil {
		return err
	}
	work := filepath.Join(dir, "drill")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%-10s%d children under load are killed with SIGKILL; seed %d; %s\n", "drill", c.Kills, c.Seed, dir)
	r, err := drill.Run(p.ctx, drill.Options{
		Kills: c.Kills, Seed: c.Seed, Work: work, Keys: uint64(c.Keys), Dist: c.Dist,
		Producers: c.Producers, Window: int(c.Window), Rate: float64(c.Rate), Live: c.Live,
		Store: store.Options{
			Dir: filepath.Join(dir, storeName), Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device,
			EventBytes: int(c.Size), SnapshotBytes: snapshotBytes,
		},
		Command: p.child,
		Log:     func(r drill.Round) { fmt.Fprintln(p.stderr, roundWords(r)) },
	})
	if err != nil {
		return fmt.Errorf("%w (files are left in %s)", err, dir)
	}
	return c.tell(p, dir, r)
}

func (c *crashCommand) directory() (string, error) {
	if c.Dir == "" {
		return os.MkdirTemp("", "loadgen-crash-*")
	}
	if entries, err := os.ReadDir(c.Dir); err == nil && len(entries) > 0 {
		return "", usage("--dir: %s is not empty; choose another directory", c.Dir)
	}
	return c.Dir, os.MkdirAll(c.Dir, 0o700)
}

// tell sums up, and removes a temporary directory if all is well.
func (c *crashCommand) tell(p *process, dir string, r drill.Report) error {
	fmt.Fprintf(p.stdout, "%-10s%d killed under load, %d while they were opening the store; seed %d\n", "kills", r.Kills, r.OpeningKills, c.Seed)
	fmt.Fprintf(p.stdout, "%-10s%s events replayed, %s of torn ends dropped, slowest open %.3f s\n", "recovery",
		report.Count(r.Replayed), report.Bytes(r.TornBytes), r.SlowestOpen)
	if err := r.Last.Err(); err != nil {
		return &exitError{exitVerify, fmt.Errorf("%w (kill %d, --seed %d; files are left in %s)", err, r.Kills, c.Seed, dir)}
	}
	fmt.Fprintf(p.stdout, "%-10sOK: each acknowledged event is there, once and in order; %s events of %s keys\n", "verify",
		report.Count(r.Events), report.Count(r.Keys))
	if c.Dir != "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// roundWords describes a round in one line.
func roundWords(r drill.Round) string {
	s := fmt.Sprintf("%4d  %d shards · alive %4d ms", r.Number, r.Shards, r.Alive.Milliseconds())
	if r.Opening > 0 {
		s += fmt.Sprintf(" · %d killed while opening", r.Opening)
	}
	verdict := "all acknowledged events there, in order"
	if !r.Found.OK() {
		verdict = "WRONG: " + r.Found.Err().Error()
	}
	return s + fmt.Sprintf(" · open %.0f ms, %s replayed · %s events · %s", 1000*r.Recovery.Seconds,
		report.Count(r.Recovery.Events), report.Count(r.Found.Events), verdict)
}

// childCommand is a child of a drill.
type childCommand struct {
	Orders string `arg:"" type:"path"`
}

// Run does what the orders say.
func (c *childCommand) Run(p *process) error { return drill.Child(p.ctx, c.Orders, p.open) }
