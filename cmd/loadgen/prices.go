package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// pricesCommand measures what layers cost.
type pricesCommand struct {
	Keys   count    `default:"1M" help:"How many keys; all are there before the clock starts (${default})."`
	Dist   string   `default:"zipf:0.99" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Events count    `default:"2M" help:"How many events a pass has. They lie in memory (${default})."`
	Seed   uint64   `default:"42" help:"The same seed gives the same events (${default})."`
	Rounds int      `default:"7" help:"How many passes are measured, after one that is not (${default})."`
	Only   []string `placeholder:"timer,idle" help:"Which layers; by default all: name, timer, idle, keep-log, changes and states beside a producer, source-name beside a source, call-ids beside calls, batch-ids beside batches."`
	Dir    string   `type:"path" help:"An existing directory, on the disk that is to be measured, for files that are removed at the end. By default that of temporary files."`
	JSON   string   `name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// good is a table whose price is measured.
type good struct {
	name   string
	beside string // the table without the layer; "" if it is one
	layer  pair.Layer
	door   pair.Door
	ack    string
	sync   string
	of     string // what its bytes are of
}

// goods are all of them, each behind what it is beside.
func goods() []good {
	const plain, source, call, batch = "producer", "source", "call", "batch"
	stream := func(name string, layer pair.Layer, of string) good {
		return good{name, plain, layer, pair.Producer, durableAck, "10ms", of}
	}
	return []good{
		{plain, "", pair.NoLayer, pair.Producer, durableAck, "10ms", "key"},
		stream("name", pair.Named, ""),
		stream("timer", pair.Timer, "timer"),
		stream("idle", pair.Idle, "key"),
		stream("keep-log", pair.KeepLog, ""),
		stream("changes", pair.Changes, ""),
		stream("states", pair.States, ""),
		{source, "", pair.NoLayer, pair.Source, durableAck, "10ms", "key"},
		{"source-name", source, pair.Named, pair.Source, durableAck, "10ms", ""},
		{call, "", pair.NoLayer, pair.Call, "applied", "10ms", "key"},
		{"call-ids", call, pair.Once, pair.Call, "applied", "10ms", "id"},
		{batch, "", pair.NoLayer, pair.Batch, "written", "10ms", "key"},
		{"batch-ids", batch, pair.Once, pair.Batch, "written", "10ms", "id"},
	}
}

// chosen are the goods that --only names, with what they are beside.
func (c *pricesCommand) chosen() ([]good, error) {
	all := goods()
	var names []string
	for _, g := range all {
		if g.beside != "" {
			names = append(names, g.name)
		}
	}
	for _, name := range c.Only {
		if !slices.Contains(names, name) {
			return nil, usage("--only: %q is no layer; there are %s", name, strings.Join(names, ", "))
		}
	}
	if len(c.Only) == 0 {
		return all, nil
	}
	var list []good
	for _, g := range all {
		wanted := slices.Contains(c.Only, g.name)
		for _, other := range all {
			wanted = wanted || other.beside == g.name && slices.Contains(c.Only, other.name)
		}
		if wanted {
			list = append(list, g)
		}
	}
	return list, nil
}

// callShare is what part of the events of a pass calls make, which take so much longer.
const callShare = 8

// few is the stream of the calls.
func (c *pricesCommand) few() workload.Generated {
	flags := c.contest()
	g := flags.generated()
	g.Events = max(1, g.Events/callShare)
	return g
}

// contest are the flags as those of other contests.
func (c *pricesCommand) contest() contestFlags {
	return contestFlags{
		Keys: c.Keys, Dist: c.Dist, Events: c.Events, Seed: c.Seed, Rounds: c.Rounds, Size: limit.EventBytes,
		Door: string(pair.Producer), Producers: 1, Window: 1 << 18, Ack: durableAck, Sync: "10ms",
	}
}

// Run measures.
func (c *pricesCommand) Run(p *process) error {
	list, err := c.chosen()
	if err != nil {
		return err
	}
	flags := c.contest()
	if err := errors.Join(flags.check(), canStoreJSON(c.JSON), fits(flags.memory(len(list), 0))); err != nil {
		return err
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	r := flags.result(p)
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		err = c.measure(p, dir, list, r)
	}
	if err = errors.Join(err, remove()); err != nil {
		return wrongState(err)
	}
	pricesTable(p.stdout, r)
	return writeResult(r, c.JSON)
}

// sized is a side that says what it takes.
type sized interface {
	Sizes(ctx context.Context) (pair.Sizes, error)
}

// measure has all tables take the events in turn.
func (c *pricesCommand) measure(p *process, dir string, list []good, r *report.Result) (err error) {
	flags := c.contest()
	a, err := newArena(dir, flags.generated())
	if err != nil {
		return err
	}
	few, err := newArena(dir, c.few())
	if err != nil {
		return err
	}
	var all []pair.Contestant
	defer func() { err = errors.Join(err, closeAll(all)) }()
	before := make([]pair.Sizes, len(list))
	for i, g := range list {
		o := flags.options()
		o.Store = store.Options{Shards: o.Store.Shards, Ack: g.ack, Sync: g.sync, EventBytes: limit.EventBytes}
		o.Door, o.Layer = g.door, g.layer
		from := a
		if g.door == pair.Call {
			from = few
		}
		next, err := from.openEngine(p.ctx, g.name, o)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		all = append(all, next)
		if before[i], err = next.Side.(sized).Sizes(p.ctx); err != nil {
			return err
		}
	}
	table := &roundTable{w: p.stderr}
	passes, err := pair.Measure(p.ctx, all, c.Rounds, table.tell)
	if err != nil {
		return err
	}
	n := uint64(c.Rounds + 1)
	r.Verify = &report.Verify{OK: true, Finding: workload.Finding{Keys: uint64(c.Keys), Events: uint64(c.Keys) + n*uint64(c.Events)}}
	for i, g := range list {
		after, err := all[i].Side.(sized).Sizes(p.ctx)
		if err != nil {
			return err
		}
		price := priceOf(&g, &before[i], &after, passes[i])
		if at := slices.IndexFunc(list, func(o good) bool { return o.name == g.beside }); at >= 0 {
			without, err := all[at].Side.(sized).Sizes(p.ctx)
			if err != nil {
				return err
			}
			price.compare(&after, &without, passes[i], passes[at])
		}
		r.Prices = append(r.Prices, price.Price)
		r.Samples = append(r.Samples, report.Sample{Name: g.name, Unit: "ns/event", LessIsBetter: true, Rounds: nanosOf(passes[i])},
			report.Sample{Name: g.name + ", CPU", Unit: "ns/event", LessIsBetter: true, Rounds: cpuOf(passes[i])})
	}
	return nil
}

// price is a Price that is being made.
type price struct{ report.Price }

// priceOf is what a table takes alone.
func priceOf(g *good, before, after *pair.Sizes, passes []pair.Pass) *price {
	p := &price{report.Price{
		Name: g.name, Beside: g.beside, Of: g.of, Nanos: stats.SpreadOf(nanosOf(passes)), CPU: stats.SpreadOf(cpuOf(passes)),
		LogBytes: float64(after.LogBytes-before.LogBytes) / float64(max(after.Events-before.Events, 1)),
	}}
	p.Bytes = float64(after.StateBytes) / float64(max(after.Keys, 1))
	return p
}

// compare adds what the table takes more than the one without the layer.
func (p *price) compare(with, without *pair.Sizes, passes, beside []pair.Pass) {
	p.MoreNanos = stats.SpreadOf(differences(nanosOf(passes), nanosOf(beside)))
	p.MoreCPU = stats.SpreadOf(differences(cpuOf(passes), cpuOf(beside)))
	things := uint64(with.Keys)
	if p.Of == "id" {
		things = with.IDs
	}
	p.Bytes = float64(with.StateBytes-without.StateBytes) / float64(max(things, 1))
}

func nanosOf(passes []pair.Pass) []float64 {
	list := make([]float64, len(passes))
	for i, p := range passes {
		list[i] = 1e9 / p.PerSecond
	}
	return list
}

func cpuOf(passes []pair.Pass) []float64 {
	list := make([]float64, len(passes))
	for i, p := range passes {
		list[i] = p.CPUNanos
	}
	return list
}

// differences are those of two lists, round by round.
func differences(of, from []float64) []float64 {
	list := make([]float64, min(len(of), len(from)))
	for i := range list {
		list[i] = of[i] - from[i]
	}
	return list
}

// pricesTable prints what came of it.
func pricesTable(w io.Writer, r *report.Result) {
	fmt.Fprintf(w, "%-10s %-10s %10s %26s %10s %26s %14s %10s\n", "table", "beside", "ns/event", "more, lowest to highest", "CPU ns", "more CPU", "memory", "log bytes")
	for _, p := range r.Prices {
		more, cpu := "", ""
		if p.Beside != "" {
			more = fmt.Sprintf("%+.1f (%+.1f to %+.1f)", p.MoreNanos.Median, p.MoreNanos.Min, p.MoreNanos.Max)
			cpu = fmt.Sprintf("%+.1f (%+.1f to %+.1f)", p.MoreCPU.Median, p.MoreCPU.Min, p.MoreCPU.Max)
		}
		fmt.Fprintf(w, "%-10s %-10s %10.1f %26s %10.1f %26s %14s %10.1f\n", p.Name, p.Beside, p.Nanos.Median, more, p.CPU.Median, cpu, p.Memory(), p.LogBytes)
	}
	fmt.Fprintf(w, "medians of %d rounds in which the tables went in turn; every state was checked\n", len(r.Samples[0].Rounds))
}
