package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/knee"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// findMaxCommand finds the highest rate of an open loop that keeps a limit.
type findMaxCommand struct {
	generateFlags
	Limit     []string      `group:"Search" required:"" placeholder:"p99<2ms" help:"What a rate must keep: a latency (p50, p90, p99, p999, max). May be repeated."`
	From      count         `group:"Search" default:"10k" help:"The first rate, in events per second (${default})."`
	To        count         `group:"Search" default:"100M" help:"The highest rate that is tried (${default})."`
	Precision percent       `group:"Search" default:"5%" help:"How far the first rate that broke may be above the last that held (${default})."`
	Step      time.Duration `group:"Search" default:"2s" help:"How long each rate is measured (${default})."`
	Settle    time.Duration `group:"Search" default:"500ms" help:"How long each rate runs before it is measured (${default})."`
	Producers int           `group:"Load" default:"1" help:"How many goroutines send, each a part of the keys (${default})."`
	Door      string        `group:"Load" enum:"producer,do" default:"producer" help:"producer: windows of events; do: a call for each event (${default})."`
	Window    count         `group:"Load" default:"64k" help:"How many events of a producer may be unacknowledged (${default})."`
	Warmup    count         `group:"Load" default:"1M" help:"How many events to send before the search begins, so that it does not show how the store grows (${default})."`
	Shards    int           `group:"Store" help:"How many shards; by default what the engine chooses."`
	Ack       string        `group:"Store" enum:"durable,written,applied" default:"durable" help:"What is waited for: durable, written or applied (${default})."`
	Sync      string        `group:"Store" default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Device    string        `group:"Store" enum:"direct,library" default:"direct" help:"What writes the log: direct or library, which is tidwall/wal (${default})."`
	Dir       string        `group:"Store" type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`
	JSON      string        `group:"Output" name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// Run searches.
func (c *findMaxCommand) Run(p *process) error {
	limits, err := parseLimits(c.Limit)
	if err = errors.Join(err, limits.latencies(), c.check(), canStoreJSON(c.JSON)); err != nil {
		return err
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	r := c.result(p)
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		err = c.search(p, dir, r, limits)
	}
	if err = errors.Join(err, remove()); err != nil {
		return err
	}
	c.table(p.stdout, r)
	if c.JSON != "" {
		err = r.WriteFile(c.JSON)
	}
	if err == nil {
		err = failed(r.Verify)
	}
	return err
}

// options are those of the store.
func (c *findMaxCommand) options(dir string) store.Options {
	return store.Options{
		Dir: filepath.Join(dir, storeName), Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, Device: c.Device, EventBytes: int(c.Size),
	}
}

// load is the load of a step, without its source.
func (c *findMaxCommand) load(rate float64) bench.Load {
	return bench.Load{Producers: c.Producers, Door: bench.Door(c.Door), Window: int(c.Window), Rate: rate}
}

func (c *findMaxCommand) generated() workload.Generated {
	return workload.Generated{Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed}
}

// check finds what is wrong before anything is made.
func (c *findMaxCommand) check() error {
	o, l := c.options(""), c.load(float64(c.From))
	s := knee.Search{From: float64(c.From), To: float64(c.To), Precision: float64(c.Precision)}
	_, err := workload.NewGenerator(c.generated())
	if err := errors.Join(o.Check(), l.Check(), s.Check(), err); err != nil {
		return usage("%w", err)
	}
	if c.Step <= 0 || c.Settle < 0 {
		return usage("--step and --settle: a rate is measured for more than no time, and settles for none at least, not %v and %v", c.Step, c.Settle)
	}
	return nil
}

// result is the result before the search.
func (c *findMaxCommand) result(p *process) *report.Result {
	d := description{Generated: &workload.Generated{Keys: uint64(c.Keys), Dist: c.Dist}}
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{
		Seed: c.Seed, Input: d.words(), EventBytes: int(c.Size), Producers: c.Producers, Door: c.Door,
		Window: int(c.Window), Rate: float64(c.From), Warmup: uint64(c.Warmup),
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

// search opens a store, searches, and compares every key.
func (c *findMaxCommand) search(p *process, dir string, r *report.Result, limits limits) (err error) {
	g := c.generated()
	source, err := workload.NewGenerator(g)
	if err != nil {
		return err
	}
	t, err := p.open(p.ctx, c.options(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(p.ctx))) }()
	s := &stepper{command: c, process: p, target: t, source: source, limits: limits, result: r}
	if err := s.warm(); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%14s %14s %10s %10s %10s\n", "rate", "acked/s", "p50", "p99", "max")
	k := knee.Search{From: float64(c.From), To: float64(c.To), Precision: float64(c.Precision), Try: s.try}
	if _, err = k.Highest(); errors.Is(err, knee.ErrNone) {
		return &exitError{exitLimit, fmt.Errorf("not even one event per second keeps %s", strings.Join(c.Limit, ", "))}
	}
	if err != nil {
		return err
	}
	d := &description{Generated: &g, Events: s.sent, Finished: true}
	f, err := verify(p, d, t)
	r.Verify = report.VerifyOf(f)
	return err
}

// stepper tries rates, one after the other, on one store.
type stepper struct {
	*process
	command *findMaxCommand
	target  bench.Target
	source  workload.Source
	limits  limits
	result  *report.Result // has the figures of the highest rate that held
	best    float64        // that rate; 0 if none did yet
	sent    uint64         // events, of all steps
}

// warm sends the events before the search.
func (s *stepper) warm() error {
	if s.command.Warmup == 0 {
		return nil
	}
	l := s.command.load(0)
	l.Source = workload.Limit(s.source, uint64(s.command.Warmup))
	_, err := s.run(l)
	return err
}

// run sends a load. An interrupt is an error here: a step that was cut short says
// nothing.
func (s *stepper) run(l bench.Load) (bench.Measured, error) {
	l.First = s.sent
	m, err := bench.Run(s.ctx, s.target, l)
	s.sent += m.Events
	return m, errors.Join(err, s.ctx.Err())
}

// try runs a rate until it has settled, and measures it.
func (s *stepper) try(rate float64) (bool, error) {
	if s.command.Settle > 0 {
		if _, err := s.run(s.step(rate, s.command.Settle)); err != nil {
			return false, err
		}
	}
	m, err := s.run(s.step(rate, s.command.Step))
	if err != nil {
		return false, err
	}
	return s.judge(rate, m), nil
}

// step is the load of one rate: the events that are due within d, or those that it
// comes to in this time.
func (s *stepper) step(rate float64, d time.Duration) bench.Load {
	l := s.command.load(rate)
	l.Duration = d
	l.Source = workload.Limit(s.source, uint64(max(1, rate*d.Seconds())))
	return l
}

// keptPart is how much of a rate must be acknowledged in time for it to hold.
const keptPart = 0.98

// judge adds a step to the result, and says whether it held.
func (s *stepper) judge(rate float64, m bench.Measured) bool {
	one := new(report.Result)
	one.Load.Rate = rate
	one.SetMeasured(m)
	step := report.Step{
		Rate: rate, EventsPerSecond: m.PerSecond(), P50: m.Latency.P50, P99: m.Latency.P99, Max: m.Latency.Max,
		Broken: s.limits.broken(one),
	}
	if step.EventsPerSecond < keptPart*rate {
		step.Broken = append(step.Broken, "rate")
	}
	step.Held = len(step.Broken) == 0
	s.result.Steps = append(s.result.Steps, step)
	fmt.Fprintln(s.stderr, stepWords(step))
	if step.Held && rate > s.best {
		s.best, s.result.Rate = rate, rate
		s.result.SetMeasured(m)
	}
	return step.Held
}

// stepWords is a line of the table of steps.
func stepWords(s report.Step) string {
	held := "held"
	if !s.Held {
		held = "broke " + strings.Join(s.Broken, ", ")
	}
	return fmt.Sprintf("%14s %14s %10s %10s %10s  %s", report.Count(int64(s.Rate)), report.Count(int64(s.EventsPerSecond)),
		report.Nanos(s.P50), report.Nanos(s.P99), report.Nanos(s.Max), held)
}

// table prints what came of the search.
func (c *findMaxCommand) table(w io.Writer, r *report.Result) {
	fmt.Fprintf(w, "%14s %14s %10s %10s %10s\n", "rate", "acked/s", "p50", "p99", "max")
	for _, s := range r.Steps {
		fmt.Fprintln(w, stepWords(s))
	}
	r.End(w)
	fmt.Fprintf(w, "%-10s%s events/s kept %s\n", "find-max", report.Count(int64(r.Rate)), strings.Join(c.Limit, ", "))
}
