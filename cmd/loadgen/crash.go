package main

import (
	"errors"
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
	Window    count         `default:"1k" help:"How many events of a producer may be unacknowledged (${default})."`
	Rate      count         `help:"Events per second; by default as fast as it goes."`
	Live      time.Duration `default:"500ms" help:"How long a child is left under load at most (${default})."`
	Shards    int           `help:"How many shards; by default the count changes between children."`
	Ack       string        `enum:"durable,written,applied" default:"durable" help:"What the children wait for: durable, written or applied (${default}). What is only applied may be lost, but not in the middle."`
	Sync      string        `default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Device    string        `enum:"library,direct,any" default:"any" help:"What writes the log: library, direct, or any, another one for each child (${default})."`
	Snapshot  size          `name:"snapshot-bytes" default:"4MiB" help:"How much log starts a snapshot: little, so that kills hit snapshots too (${default})."`
	Once      count         `placeholder:"N" help:"Give each event an id: each child sends again what the one before did not know the outcome of, and every event must then be there once. A partition remembers the last N."`
	Resend    share         `placeholder:"1%" help:"How many of the events with ids are also sent again by the child itself."`
	Name      string        `placeholder:"NAME" help:"Name the producers NAME-0, NAME-1 and so on: those of each child go on where the store says that they were, with what they then send again of the child before, and every event must then be there once. It needs --ack durable."`
	Timer     time.Duration `placeholder:"50ms" help:"Each event sets the timer of its key to so much later, so that kills hit stores with timers pending. None may fire early or twice, and at the end all have."`
	Dir       string        `type:"path" help:"An empty or new directory for the store, which is kept. By default a temporary one, kept after a failure."`
}

// Run drills.
func (c *crashCommand) Run(p *process) error {
	if c.Seed == 0 {
		c.Seed = rand.Uint64() >> 32
	}
	o := c.options(p)
	if err := o.Check(); err != nil {
		return usage("%w", err)
	}
	dir, err := c.directory()
	if err != nil {
		return err
	}
	o.Work, o.Store.Dir = filepath.Join(dir, "drill"), filepath.Join(dir, storeName)
	if err := os.Mkdir(o.Work, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%-10s%d children under load are killed with SIGKILL; seed %d; %s\n", "drill", c.Kills, c.Seed, dir)
	r, err := drill.Run(p.ctx, o)
	if p.ctx.Err() != nil && r.Last.OK() {
		return errors.Join(c.interrupted(r), c.remove(dir))
	}
	if err != nil {
		return fmt.Errorf("%w (files are left in %s)", err, dir)
	}
	return c.tell(p, dir, r)
}

// options are those of the drill, but for its directories.
func (c *crashCommand) options(p *process) drill.Options {
	return drill.Options{
		Kills: c.Kills, Seed: c.Seed, Keys: uint64(c.Keys), Dist: c.Dist,
		Producers: c.Producers, Window: int(c.Window), Rate: float64(c.Rate), Live: c.Live,
		Store: store.Options{
			Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device, EventBytes: int(c.Size), SnapshotBytes: int64(c.Snapshot),
			Layers: store.Layers{Once: int(c.Once), Resend: float64(c.Resend), Name: c.Name, Timer: c.Timer},
		},
		Command: p.child,
		Log:     func(r drill.Round) { fmt.Fprintln(p.stderr, roundWords(r)) },
	}
}

func (c *crashCommand) directory() (string, error) {
	if c.Dir == "" {
		return os.MkdirTemp("", "loadgen-crash-*")
	}
	return c.Dir, emptyDirectory(c.Dir, "choose another directory")
}

// tell sums up, and removes a temporary directory if all is well.
func (c *crashCommand) tell(p *process, dir string, r drill.Report) error {
	fmt.Fprintf(p.stdout, "%-10s%d killed under load, %d while they were opening the store; seed %d\n", "kills", r.Kills, r.OpeningKills, c.Seed)
	fmt.Fprintf(p.stdout, "%-10s%s events replayed, %s of torn ends dropped, slowest open %.3f s\n", "recovery",
		report.Count(r.Replayed), report.Bytes(r.TornBytes), r.SlowestOpen)
	if err := r.Last.Err(); err != nil {
		return &exitError{exitVerify, fmt.Errorf("%w (kill %d, --seed %d; files are left in %s)", err, r.Kills, c.Seed, dir)}
	}
	what := "each acknowledged event is there, once and in order"
	if c.Once > 0 {
		what = "each event is there, once and in order, those with an unknown outcome after a retry"
	}
	if c.Name != "" {
		what = "each event is there, once and in order, those with an unknown outcome after their producers went on"
	}
	if c.Ack == "applied" {
		what = "each key has the first of its events, once and in order"
	}
	fmt.Fprintf(p.stdout, "%-10sOK: %s; %s events of %s keys\n", "verify", what, report.Count(r.Events), report.Count(r.Keys))
	return c.remove(dir)
}

func (c *crashCommand) interrupted(r drill.Report) error {
	return fmt.Errorf("interrupted after %d of %d kills; nothing was lost until then (--seed %d)", r.Kills, c.Kills, c.Seed)
}

// remove removes the directory if it is a temporary one.
func (c *crashCommand) remove(dir string) error {
	if c.Dir != "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// roundWords describes a round in one line.
func roundWords(r drill.Round) string {
	door := map[bool]string{false: "producer", true: "source"}[r.Read]
	if r.Batch {
		door = "batch"
	}
	s := fmt.Sprintf("%4d  shards %d · %-7s · %-8s · alive %4d ms", r.Number, r.Shards, r.Device, door, r.Alive.Milliseconds())
	if r.Moves {
		s += " · moves"
	}
	if r.Opening > 0 {
		s += fmt.Sprintf(" · %d killed while opening", r.Opening)
	}
	verdict := "nothing lost, all in order"
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
func (c *childCommand) Run(p *process) error { return drill.Child(p.ctx, c.Orders, p.stdin, p.open) }
