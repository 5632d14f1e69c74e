package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/imaging"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// snapshotCommand measures what a snapshot costs.
type snapshotCommand struct {
	Keys   count         `default:"10M" help:"How many keys; all are there before the first snapshot (${default})."`
	Dist   string        `default:"uniform" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Seed   uint64        `default:"42" help:"The same seed gives the same events (${default})."`
	Rounds int           `default:"5" help:"How many snapshots are taken (${default})."`
	Every  time.Duration `default:"2ms" help:"Calls are made that often at most, one at a time, beside a producer that sends as fast as it can (${default})."`
	Ack    string        `enum:"durable,written,applied" default:"durable" help:"What the caller waits for: durable, written or applied (${default})."`
	Sync   string        `default:"commit" help:"When the log is synced: commit, never, or a time such as 10ms (${default})."`
	Shards int           `help:"How many shards; by default what the engine chooses."`
	Dir    string        `type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`
	JSON   string        `name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// options are those of the measurement, but for its directory.
func (c *snapshotCommand) options() (o imaging.Options, err error) {
	s := store.Options{Shards: c.Shards, Ack: c.Ack, Sync: c.Sync, EventBytes: limit.EventBytes}
	o = imaging.Options{Keys: uint64(c.Keys), Dist: c.Dist, Seed: c.Seed, Every: c.Every, Rounds: c.Rounds}
	if o.Engine, o.Ack, err = s.Engine(); err != nil {
		return o, err
	}
	if _, err := workload.NewGenerator(workload.Generated{Keys: o.Keys, Dist: o.Dist, Seed: o.Seed, Events: 1}); err != nil {
		return o, err
	}
	return o, o.Check()
}

// Run measures.
func (c *snapshotCommand) Run(p *process) error {
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
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{
		Seed: c.Seed, Input: fmt.Sprintf("%s keys, %s", report.Count(uint64(c.Keys)), c.Dist), EventBytes: limit.EventBytes,
		Producers: 1, Door: string(bench.Batched), Window: 1 << 18, Warmup: uint64(c.Keys),
	}
	r.Store = report.Store{Ack: c.Ack, Sync: c.Sync, Shards: (&guestCommand{Shards: c.Shards}).shards()}
	var m imaging.Measured
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		o.Tell = func(round int, pair imaging.Pair) { snapshotRound(p.stderr, round, pair) }
		m, err = imaging.Measure(p.ctx, o)
	}
	if err = errors.Join(err, remove()); err != nil {
		return err
	}
	setImaging(r, &m, c.Every)
	snapshotTable(p.stdout, r)
	if c.JSON == "" {
		return nil
	}
	return r.WriteFile(c.JSON)
}

// Names of the samples of snapshot.
const (
	rateWithout = "rate without"
	rateWith    = "rate with"
	callWithout = "call p99.9 without"
	callWith    = "call p99.9 with"
)

// setImaging takes over what was measured.
func setImaging(r *report.Result, m *imaging.Measured, every time.Duration) {
	without, with := m.Total()
	g := &report.Imaging{Without: bench.LatencyOf(without), With: bench.LatencyOf(with), Every: every, RSSBytes: m.RSSBytes}
	g.AddedBytes = max(m.MostBytes, m.RSSBytes) - m.RSSBytes
	rates := [2]report.Sample{{Name: rateWithout, Unit: "events/s"}, {Name: rateWith, Unit: "events/s"}}
	calls := [2]report.Sample{{Name: callWithout, Unit: "us", LessIsBetter: true}, {Name: callWith, Unit: "us", LessIsBetter: true}}
	var seconds []float64
	for _, p := range m.Rounds {
		for i, f := range []*imaging.Figures{&p.Without, &p.With} {
			rates[i].Rounds = append(rates[i].Rounds, f.Rate())
			calls[i].Rounds = append(calls[i].Rounds, late(f.Calls)/1e3)
		}
		seconds = append(seconds, p.With.Seconds)
	}
	g.Throughput = stats.SpreadOf(stats.Ratios(rates[1].Rounds, rates[0].Rounds))
	g.P999 = stats.SpreadOf(stats.Ratios(calls[1].Rounds, calls[0].Rounds))
	g.Seconds = stats.SpreadOf(seconds)
	r.EventsPerSecond = stats.SpreadOf(rates[0].Rounds).Median
	r.Samples = append(rates[:], calls[:]...)
	r.Imaging = g
}

// late is the p99.9, at least a nanosecond.
func late(h *hdr.Histogram) float64 { return float64(max(1, h.ValueAtPercentile(99.9))) }

// snapshotRound prints one round.
func snapshotRound(w io.Writer, round int, p imaging.Pair) {
	fmt.Fprintf(w, "round %-4d%6.2f s   throughput %.2f of %s events/s   p99.9 %s, without %s\n", round, p.With.Seconds,
		p.With.Rate()/p.Without.Rate(), report.Count(int64(p.Without.Rate())),
		report.Nanos(int64(late(p.With.Calls))), report.Nanos(int64(late(p.Without.Calls))))
}

// snapshotTable prints what came of all rounds.
func snapshotTable(w io.Writer, r *report.Result) {
	g := r.Imaging
	fmt.Fprintf(w, "%-10s%.2f s (%.2f to %.2f), beside %s events/s\n", "snapshot", g.Seconds.Median, g.Seconds.Min, g.Seconds.Max, report.Count(int64(r.EventsPerSecond)))
	fmt.Fprintf(w, "%-10s%-10s%10s %10s %10s %10s\n", "calls", "", "p50", "p99", "p99.9", "max")
	for _, row := range []struct {
		name string
		of   bench.Latency
	}{{"without", g.Without}, {"with", g.With}} {
		fmt.Fprintf(w, "%-10s%-10s%10s %10s %10s %10s\n", "", row.name,
			report.Nanos(row.of.P50), report.Nanos(row.of.P99), report.Nanos(row.of.P999), report.Nanos(row.of.Max))
	}
	fmt.Fprintf(w, "%-10s%s, and %.1f %% more beside a snapshot\n", "memory", report.Bytes(g.RSSBytes), 100*g.Added())
	fmt.Fprintf(w, "%-10sthroughput %.2f (%.2f to %.2f), p99.9 %.2f (%.2f to %.2f): with over without, the medians of %d paired rounds\n", "ratio",
		g.Throughput.Median, g.Throughput.Min, g.Throughput.Max, g.P999.Median, g.P999.Min, g.P999.Max, len(r.Samples[0].Rounds))
}
