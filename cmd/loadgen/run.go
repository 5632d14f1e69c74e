package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// runCommand sends one load.
type runCommand struct {
	inputFlags
	generateFlags
	loadFlags
	storeFlags
	layerFlags
	outputFlags
	Verify bool     `group:"Check" help:"Compare every key with what a single thread computes."`
	Limit  []string `group:"Check" placeholder:"p99<2ms" help:"Fail if a latency (p50, p90, p99, p999, max) or the rate (rate>500k) is not within this limit. May be repeated."`
}

type inputFlags struct {
	In     string `group:"Events from a file" placeholder:"FILE" help:"Read events from this file, or from standard input (-): NDJSON or CSV, plain or zstd."`
	Format string `group:"Events from a file" enum:",ndjson,csv" default:"" placeholder:"FORMAT" help:"ndjson or csv; by default what the name says."`
	Key    string `group:"Events from a file" placeholder:".origin,.destination" help:"The fields that make the key."`
	Value  string `group:"Events from a file" placeholder:".delay" help:"The field with the number to fold; without it each event counts as 1."`
}

type generateFlags struct {
	Keys count  `group:"Generated events" default:"1M" help:"How many keys (${default})."`
	Dist string `group:"Generated events" default:"uniform" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Size size   `group:"Generated events" default:"16" help:"Bytes of an event without its key (${default})."`
	Seed uint64 `group:"Generated events" default:"42" help:"The same seed gives the same events (${default})."`
}

type loadFlags struct {
	Events    count         `group:"Load" help:"How many events. Without it, and without --duration, the whole file, or ten seconds."`
	Duration  time.Duration `group:"Load" help:"How long, for example 30s."`
	Warmup    count         `group:"Load" help:"How many events to send before the measurement begins, so that it does not show how the store grows."`
	Rate      count         `group:"Load" help:"Events per second, each due at its time (open loop). By default as fast as it goes."`
	Producers int           `group:"Load" default:"1" help:"How many goroutines send, each a part of the keys (${default})."`
	Door      string        `group:"Load" enum:"producer,source,do,batch" default:"producer" help:"producer: windows of events; source: the same, laid ready for the shards to read themselves; do: a call for each event; batch: a call for --window of them (${default})."`
	Window    count         `group:"Load" default:"64k" help:"How many events of a producer may be unacknowledged (${default})."`
}

type storeFlags struct {
	Dir    string `group:"Store" type:"path" help:"Where to leave store and description, for recover; must be new or empty. By default a temporary directory."`
	Shards int    `group:"Store" help:"How many shards; by default what the engine chooses."`
	Ack    string `group:"Store" enum:"durable,written,applied" default:"durable" help:"What is waited for: durable, written or applied (${default})."`
	Sync   string `group:"Store" default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Device string `group:"Store" enum:"direct,library" default:"direct" help:"What writes the log: direct or library, which is tidwall/wal (${default})."`

	Queued   bool `group:"Store" name:"queued-sync" help:"Hand syncs to the kernel by io_uring or AIO, instead of waiting in fdatasync."`
	Abandon  bool `group:"Store" help:"End without closing the store, as by kill -9: recover then has a log to replay."`
	Snapshot size `group:"Store" name:"snapshot-bytes" help:"How much log starts a snapshot; by default what the engine chooses."`
}

type outputFlags struct {
	JSON    string `group:"Output" name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
	Profile string `group:"Output" type:"path" placeholder:"DIR" help:"Store a CPU profile, and show where the time went."`
	Quiet   bool   `group:"Output" help:"No status lines."`
	HTTP    string `group:"Output" name:"http" placeholder:"[HOST:]PORT" help:"While it runs, show the Go runtime (statsviz), profiles (pprof) and the metrics of the store on a web page, on this machine only unless HOST says otherwise."`
	traceFlags
}

// Run sends the load.
func (c *runCommand) Run(p *process) error {
	limits, err := parseLimits(c.Limit)
	if err != nil {
		return err
	}
	d, err := c.describe()
	if err != nil {
		return err
	}
	if err := c.check(d); err != nil {
		return usage("%w", err)
	}
	if err := errors.Join(c.checkInput(c, d), c.canStore()); err != nil {
		return err
	}
	source, closeSource, err := d.source(p.stdin)
	if err != nil {
		return usage("%w", err)
	}
	dir, remove, err := c.directory()
	if err != nil {
		return errors.Join(err, closeSource())
	}
	r := &run{process: p, flags: c, dir: dir, description: d, result: c.result(p, d), source: source}
	err = errors.Join(r.all(), closeSource(), remove())
	if err == nil {
		err = limits.check(r.result)
	}
	return err
}

// describe turns the flags into a description.
func (c *runCommand) describe() (*description, error) {
	d := &description{Schema: report.Schema}
	if c.Events > 0 {
		d.Events = uint64(c.Warmup) + uint64(c.Events)
	}
	d.Store = store.Options{Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device, Read: c.Door == doorSource, Batch: c.Door == doorBatch, QueuedSync: c.Queued, EventBytes: int(c.Size), SnapshotBytes: int64(c.Snapshot), Layers: c.layers()}
	if c.In == "" {
		if c.Key != "" || c.Value != "" || c.Format != "" {
			return nil, usage("--key, --value and --format say what to read from a file: --in names none")
		}
		if c.Events == 0 && c.Duration == 0 {
			c.Duration = 10 * time.Second
		}
		d.Generated = &workload.Generated{Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed}
		return d, nil
	}
	if c.Key == "" {
		return nil, usage("--in needs --key: the fields that make the key, for example --key .origin,.destination")
	}
	path := c.In
	if path != "-" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		path = abs
	}
	d.File = &fileInput{Path: path, Format: c.Format, Key: c.Key, Value: c.Value}
	return d, nil
}

// check finds what is wrong before anything is made.
func (c *runCommand) check(d *description) error {
	if c.Abandon && c.Dir == "" {
		return errors.New("--abandon leaves a store for recover: --dir must say where")
	}
	l := c.load()
	if err := c.layerFlags.check(c); err != nil {
		return err
	}
	if err := errors.Join(d.Store.Check(), l.Check()); err != nil {
		return err
	}
	if c.Duration < 0 {
		return fmt.Errorf("--duration: a load cannot take %v", c.Duration)
	}
	return nil
}

// canStore says whether what the run is to leave can be written: better now than
// after the run.
func (c *runCommand) canStore() error {
	if c.Profile != "" {
		if err := os.MkdirAll(c.Profile, 0o755); err != nil {
			return usage("--profile: %w", err)
		}
		if err := canWrite(filepath.Join(c.Profile, profile.FileName)); err != nil {
			return usage("--profile: %w", err)
		}
	}
	return errors.Join(c.canTrace(), canStoreJSON(c.JSON))
}

// canStoreJSON is canStore for the flag --json alone.
func canStoreJSON(name string) error {
	if name == "" {
		return nil
	}
	if err := canWrite(name); err != nil {
		return usage("--json: %w", err)
	}
	return nil
}

// canWrite opens a file for writing, and leaves it as it was.
func canWrite(name string) error {
	_, err := os.Lstat(name)
	isNew := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = f.Close()
	if isNew {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// Doors of the store that are like producers to the load.
const (
	doorSource = "source"
	doorBatch  = "batch"
)

// load is the load without its source.
func (c *runCommand) load() bench.Load {
	door := bench.Door(c.Door)
	if c.Door == doorSource || c.Door == doorBatch {
		door = bench.Batched
	}
	return bench.Load{
		Producers: c.Producers, Door: door, Window: int(c.Window), Rate: float64(c.Rate), Duration: c.Duration,
	}
}

// directory makes the directory of the run, and returns what removes it if it is a
// temporary one.
func (c *runCommand) directory() (string, func() error, error) {
	keep := func() error { return nil }
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "loadgen-*")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	return c.Dir, keep, emptyDirectory(c.Dir, "choose another directory, or look at that one with: loadgen recover "+c.Dir)
}

// emptyDirectory makes the directory of the flag --dir, unless it is there and empty.
func emptyDirectory(dir, advice string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(dir, 0o700)
	case err == nil && len(entries) > 0:
		return usage("--dir: %s is not empty; %s", dir, advice)
	}
	if err != nil {
		return usage("--dir: %w", err)
	}
	return nil
}

// result is the result before the run.
func (c *runCommand) result(p *process, d *description) *report.Result {
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{
		Seed: c.Seed, Input: d.words(), EventBytes: int(c.Size), Producers: c.Producers,
		Door: c.Door, Window: int(c.Window), Rate: float64(c.Rate), Warmup: uint64(c.Warmup),
	}
	if c.Door == string(bench.Single) {
		r.Window = 0
	}
	r.Store = report.Store{Ack: c.Ack, Sync: c.Sync, Shards: c.Shards}
	if c.Shards == 0 {
		r.Store.Shards = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return r
}
