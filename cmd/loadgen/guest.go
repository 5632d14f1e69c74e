package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/guest"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// guestCommand measures a handler beside an engine.
type guestCommand struct {
	Rate   count         `group:"Requests" default:"2k" help:"How many requests a second are made, each when it is due (${default})."`
	Round  time.Duration `group:"Requests" default:"1s" help:"How long a round lasts without the engine, and as long with it (${default})."`
	Rounds int           `group:"Requests" default:"15" help:"How many rounds there are (${default})."`

	Load percent `group:"Engine" default:"30%" help:"The load of the engine, in parts of its peak, which is measured first (${default})."`
	Keys count   `group:"Engine" default:"1M" help:"How many keys; all are there before a round (${default})."`
	Dist string  `group:"Engine" default:"zipf:0.99" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Seed uint64  `group:"Engine" default:"42" help:"The same seed gives the same events (${default})."`

	Shards int           `group:"Engine" help:"How many shards; by default what the engine chooses."`
	Pin    string        `group:"Engine" enum:"on,off" default:"off" help:"Whether shards are pinned to CPUs: on or off (${default})."`
	Spin   time.Duration `group:"Engine" help:"How long an idle shard looks for work; by default what the engine chooses, less than 0 not at all."`
	Ack    string        `group:"Engine" enum:"durable,written,applied" default:"durable" help:"What the sender waits for: durable, written or applied (${default})."`
	Sync   string        `group:"Engine" default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Dir    string        `group:"Engine" type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`

	JSON string `group:"Output" name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// options are those of the measurement, but for its directory.
func (c *guestCommand) options() (o guest.Options, err error) {
	s := store.Options{Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, EventBytes: limit.EventBytes}
	o = guest.Options{
		Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed, Part: float64(c.Load),
		Rate: float64(c.Rate), Round: c.Round, Rounds: c.Rounds,
	}
	if o.Engine, o.Ack, err = s.Engine(); err != nil {
		return o, err
	}
	o.Engine.Shards, o.Engine.Spin = c.shards(), c.Spin
	if c.Pin == "on" {
		o.Engine.Pin = engine.PinOn
	}
	if _, err := workload.NewGenerator(workload.Generated{Keys: o.Keys, Dist: o.Dist, Seed: o.Seed, Events: 1}); err != nil {
		return o, err
	}
	return o, o.Check()
}

// shards are as many as the engine would choose, by default.
func (c *guestCommand) shards() int {
	if c.Shards > 0 {
		return c.Shards
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// Run measures.
func (c *guestCommand) Run(p *process) error {
	o, err := c.options()
	if err != nil {
		return usage("%w", err)
	}
	if err := canStoreJSON(c.JSON); err != nil {
		return err
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	r := c.result(p)
	var m guest.Measured
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		o.Tell = func(round int, pair guest.Pair) { guestRound(p.stderr, round, pair) }
		m, err = guest.Measure(p.ctx, o)
	}
	if err = errors.Join(err, remove()); err != nil {
		return err
	}
	setGuest(r, &m)
	guestTable(p.stdout, r)
	if c.JSON == "" {
		return nil
	}
	return r.WriteFile(c.JSON)
}

// result is the result before the measurement.
func (c *guestCommand) result(p *process) *report.Result {
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{
		Seed: c.Seed, Input: fmt.Sprintf("%s keys, %s", report.Count(uint64(c.Keys)), c.Dist), EventBytes: limit.EventBytes,
		Producers: 1, Door: string(bench.Batched), Window: 1 << 18, Warmup: uint64(c.Keys),
	}
	r.Store = report.Store{Ack: c.Ack, Sync: c.Sync, Shards: c.shards()}
	r.Guest = &report.Guest{RequestsPerSecond: float64(c.Rate), Pinned: c.Pin == "on", Spin: c.Spin}
	return r
}

// Names of the samples of guest.
const (
	guestWithout = "handler p99 without"
	guestWith    = "handler p99 with"
	guestRatio   = "handler p99 ratio"
)

// setGuest takes over what was measured.
func setGuest(r *report.Result, m *guest.Measured) {
	total := m.Total()
	g := r.Guest
	g.Peak, r.Rate = m.Peak, m.Load
	g.Without, g.With = guestTimes(total.Without), guestTimes(total.With)
	p50 := guestRatios(m, 50, func(t guest.Times) *hdr.Histogram { return t.Response })
	p99 := guestRatios(m, 99, func(t guest.Times) *hdr.Histogram { return t.Response })
	g.P50, g.P99 = stats.SpreadOf(p50), stats.SpreadOf(p99)
	g.ServiceP99 = stats.SpreadOf(guestRatios(m, 99, func(t guest.Times) *hdr.Histogram { return t.Service }))
	without := report.Sample{Name: guestWithout, Unit: "us", LessIsBetter: true}
	with := report.Sample{Name: guestWith, Unit: "us", LessIsBetter: true}
	for _, pair := range m.Rounds {
		without.Rounds = append(without.Rounds, float64(pair.Without.Response.ValueAtPercentile(99))/1e3)
		with.Rounds = append(with.Rounds, float64(pair.With.Response.ValueAtPercentile(99))/1e3)
	}
	r.Samples = []report.Sample{without, with, {Name: guestRatio, Unit: "of none", LessIsBetter: true, Rounds: p99}}
}

func guestTimes(t guest.Times) report.GuestTimes {
	return report.GuestTimes{Response: bench.LatencyOf(t.Response), Service: bench.LatencyOf(t.Service), Lag: bench.LatencyOf(t.Lag)}
}

// guestRatios are those of a percentile, of each round.
func guestRatios(m *guest.Measured, percent float64, of func(guest.Times) *hdr.Histogram) (list []float64) {
	for _, pair := range m.Rounds {
		without := max(1, of(pair.Without).ValueAtPercentile(percent))
		list = append(list, float64(of(pair.With).ValueAtPercentile(percent))/float64(without))
	}
	return list
}

// guestRound prints one round.
func guestRound(w io.Writer, round int, p guest.Pair) {
	without, with := bench.LatencyOf(p.Without.Response), bench.LatencyOf(p.With.Response)
	fmt.Fprintf(w, "round %-4d p99 without %10s   with %10s   ratio %.2f\n", round, report.Nanos(without.P99), report.Nanos(with.P99),
		float64(with.P99)/float64(max(1, without.P99)))
}

// guestTable prints what came of all rounds.
func guestTable(w io.Writer, r *report.Result) {
	g := r.Guest
	fmt.Fprintf(w, "%-10s%s events/s alone, %s events/s beside the handler; %s requests/s\n", "engine",
		report.Count(int64(g.Peak)), report.Count(int64(r.Rate)), report.Count(int64(g.RequestsPerSecond)))
	fmt.Fprintf(w, "%-10s%-10s%10s %10s %10s %10s\n", "handler", "", "p50", "p99", "p99.9", "max")
	for _, row := range []struct {
		name, what string
		of         bench.Latency
	}{
		{"without", "response", g.Without.Response}, {"", "service", g.Without.Service}, {"", "lag", g.Without.Lag},
		{"with", "response", g.With.Response}, {"", "service", g.With.Service}, {"", "lag", g.With.Lag},
	} {
		fmt.Fprintf(w, "%-10s%-10s%10s %10s %10s %10s\n", row.name, row.what,
			report.Nanos(row.of.P50), report.Nanos(row.of.P99), report.Nanos(row.of.P999), report.Nanos(row.of.Max))
	}
	fmt.Fprintf(w, "%-10sp99 %.2f (%.2f to %.2f), of service times %.2f; p50 %.2f: with over without, the medians of %d paired rounds\n", "ratio",
		g.P99.Median, g.P99.Min, g.P99.Max, g.ServiceP99.Median, g.P50.Median, len(r.Samples[0].Rounds))
}
