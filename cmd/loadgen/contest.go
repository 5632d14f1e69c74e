package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// contestFlags say what the contestants of limit and sweep do.
type contestFlags struct {
	Keys   count  `group:"Events" default:"1M" help:"How many keys; all are there before the clock starts (${default})."`
	Dist   string `group:"Events" default:"zipf:0.99" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Size   size   `group:"Events" default:"32" help:"Bytes of an event without its key, at least 32 (${default})."`
	Seed   uint64 `group:"Events" default:"42" help:"The same seed gives the same events (${default})."`
	Events count  `group:"Events" default:"8M" help:"How many events a pass has. They lie in memory (${default})."`
	Rounds int    `group:"Events" default:"5" help:"How many passes are measured, after one that is not (${default})."`

	Door       string        `group:"Engine" enum:"${doors}" default:"${door}" help:"How events come: ${doors} (${default})."`
	Producers  int           `group:"Engine" default:"1" help:"How many goroutines send, each a part of the keys; of --door producer (${default})."`
	Window     count         `group:"Engine" default:"262144" help:"How many events of a producer may be unacknowledged (${default})."`
	Shards     int           `group:"Engine" help:"How many shards; by default what the engine chooses with producers, and as many as there are CPUs with sources."`
	Partitions int           `group:"Engine" help:"How many partitions, a power of two; by default what the engine chooses."`
	Pin        string        `group:"Engine" enum:"on,off" default:"off" help:"Whether shards are pinned to CPUs, as the limit rows are: on or off (${default})."`
	Spin       time.Duration `group:"Engine" help:"How long an idle shard looks for work; by default what the engine chooses, less than 0 not at all."`
	Ack        string        `group:"Engine" enum:"durable,written,applied" default:"written" help:"What is waited for: durable, written or applied (${default})."`
	Sync       string        `group:"Engine" default:"10ms" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Device     string        `group:"Engine" enum:"direct,library" default:"direct" help:"What writes the log: direct or library, which is tidwall/wal (${default})."`
	Dir        string        `group:"Engine" type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`

	JSON string `group:"Output" name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// generated describes the stream.
func (c *contestFlags) generated() workload.Generated {
	return workload.Generated{Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed, Events: uint64(c.Events)}
}

// options are those of the engine, but for its directory.
func (c *contestFlags) options() pair.Options {
	o := pair.Options{
		Store: store.Options{Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device, EventBytes: int(c.Size)},
		Door:  pair.Door(c.Door), Producers: c.Producers, Partitions: c.Partitions, InFlight: int(c.Window),
		Pin: c.Pin == "on", Spin: c.Spin,
	}
	o.Store.Shards = o.Shards()
	return o
}

// check finds what is wrong before anything is made.
func (c *contestFlags) check() error {
	o := c.options()
	switch {
	case c.Rounds < 1 || c.Rounds > pair.RoundsMax:
		return usage("--rounds: 1 to %d, not %d", pair.RoundsMax, c.Rounds)
	case c.Events < 1 || c.Events > pair.EventsMax:
		return usage("--events: a pass has 1 to %d events, which lie in memory, not %d", pair.EventsMax, c.Events)
	case c.Keys < 1 || c.Keys > pair.KeysMax:
		return usage("--keys: 1 to %d keys, whose states lie in memory, not %d", pair.KeysMax, c.Keys)
	case c.Partitions < 0 || c.Partitions&(c.Partitions-1) != 0:
		return usage("--partitions: a power of two, such as 64 or 4096, not %d", c.Partitions)
	}
	if err := o.Check(); err != nil {
		return usage("%w", err)
	}
	if _, err := workload.NewGenerator(c.generated()); err != nil {
		return usage("%w", err)
	}
	return nil
}

// Memory of a contest, in bytes.
const (
	engineKeyBytes = limit.KeyBytes + 32 + 40 // key, state and index, with room to grow
	rowKeyBytes    = limit.KeyBytes + 32 + 16
	knownKeyBytes  = limit.KeyBytes + 32 // the key itself, and the state that is expected
	streamBytes    = 2 * (limit.KeyBytes + limit.EventBytes)
)

// memory is what a contest of so many engines and rows needs, roughly.
func (c *contestFlags) memory(engines, rows int) uint64 {
	perKey := engines*engineKeyBytes + rows*rowKeyBytes + knownKeyBytes
	return uint64(c.Keys)*uint64(perKey) + uint64(c.Events)*uint64(streamBytes*max(engines, 1))
}

// fits says whether so many bytes of memory are there.
func fits(bytes uint64) error {
	if free := machine.MemoryAvailable(); free > 0 && bytes > free {
		return usage("that needs about %s of memory, and %s are available: choose fewer --keys or --events", report.Bytes(bytes), report.Bytes(free))
	}
	return nil
}

// workDirectory makes a directory for a command, below dir if that is not empty, and
// returns what removes it.
func workDirectory(dir string) (string, func() error, error) {
	name, err := os.MkdirTemp(dir, "loadgen-*")
	if err != nil {
		return "", nil, usage("--dir: %w", err)
	}
	return name, func() error { return os.RemoveAll(name) }, nil
}

// result is the result before the contest.
func (c *contestFlags) result(p *process) *report.Result {
	o := c.options()
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{
		Seed: c.Seed, Input: fmt.Sprintf("%s keys, %s", report.Count(uint64(c.Keys)), c.Dist), EventBytes: int(c.Size),
		Producers: c.Producers, Door: c.Door, Window: int(c.Window), Warmup: uint64(c.Keys) + uint64(c.Events),
	}
	r.Store = report.Store{Ack: c.Ack, Sync: c.Sync, Shards: o.Shards()}
	return r
}

// arena is a stream, and those who contest over it.
type arena struct {
	dir      string
	keys     []limit.Key
	stream   limit.Stream
	expected pair.Expected
}

// newArena draws the stream.
func newArena(dir string, g workload.Generated) (*arena, error) {
	a := &arena{dir: dir}
	var err error
	if a.keys, a.stream, err = pair.Draw(g); err != nil {
		return nil, err
	}
	a.expected, err = pair.Expect(g.Keys, a.stream)
	return a, err
}

// contestant makes one of a side.
func (a *arena) contestant(name string, side pair.Side, ordered bool) pair.Contestant {
	return pair.Contestant{Name: name, Side: side, Events: len(a.stream.Keys), Expected: a.expected, Ordered: ordered}
}

// openEngine opens an engine over the stream.
func (a *arena) openEngine(ctx context.Context, name string, o pair.Options) (c pair.Contestant, err error) {
	if o.Store.Dir, err = os.MkdirTemp(a.dir, "store-*"); err != nil {
		return c, err
	}
	side, err := pair.Open(ctx, o, a.keys, a.stream)
	return a.contestant(name, side, o.Ordered()), err
}

// Names of contestants.
const (
	engineName   = "engine"
	ownersName   = "L4b"
	pipelineName = "L5"
)

// rowsOf are the limit rows, that of a door first.
func rowsOf(door string) []string {
	if door == string(pair.Producer) {
		return []string{pipelineName, ownersName}
	}
	return []string{ownersName, pipelineName}
}

// openRow opens a limit row over the stream.
func (a *arena) openRow(row, name string) (c pair.Contestant, err error) {
	if row == pipelineName {
		side, err := limit.NewPipeline(a.dir, a.keys, a.stream)
		return a.contestant(name, pair.Row(side), true), err
	}
	side, err := limit.NewOwners(a.dir, runtime.GOMAXPROCS(0), a.keys, a.stream)
	return a.contestant(name, pair.Row(side), true), err
}

// closeAll closes the sides of contestants.
func closeAll(all []pair.Contestant) (err error) {
	for _, c := range all {
		err = errors.Join(err, c.Side.Close())
	}
	return err
}

// wrongState gives an error that says a state is wrong its exit code.
func wrongState(err error) error {
	if _, wrong := errors.AsType[*pair.WrongError](err); wrong {
		return &exitError{exitVerify, err}
	}
	return err
}

// doors are the names of the doors, for the flags.
func doors() kong.Vars {
	var names []string
	for _, d := range pair.Doors() {
		names = append(names, string(d))
	}
	return kong.Vars{"door": names[0], "doors": strings.Join(names, ",")}
}
