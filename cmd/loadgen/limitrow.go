package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/workload"
)

// limitCommand measures the engine beside what the machine could do.
type limitCommand struct {
	contestFlags
	Durable bool   `group:"Engine" help:"Also measure the engine with acks Durable at every group commit, in turn with itself as --ack and --sync say."`
	Against string `group:"Output" type:"existingfile" placeholder:"FILE" help:"Say how ratio_to_limit has moved since this stored result. It does not fail for that."`
}

// Run measures.
func (c *limitCommand) Run(p *process) error {
	stored, err := c.stored()
	if err = errors.Join(err, c.check(), canStoreJSON(c.JSON), fits(c.memory(c.engines(), 2))); err != nil {
		return err
	}
	switch {
	case c.Size != 32:
		return usage("--size: the events of the limit rows have 32 bytes; loadgen sweep --vary event-bytes measures others")
	case c.Durable && c.Ack == durableAck && c.Sync == commitSync:
		return usage("--durable: the engine is measured so already; give --sync an interval, such as 10ms, to measure both")
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	r := c.result(p)
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		err = c.measure(p, dir, r)
	}
	if err = errors.Join(err, remove()); err != nil {
		return wrongState(err)
	}
	limitTable(p.stdout, r)
	if stored != nil {
		if err := drift(p.stdout, stored, r); err != nil {
			return err
		}
	}
	if c.JSON == "" {
		return nil
	}
	return r.WriteFile(c.JSON)
}

// engines is how many engines take part.
func (c *limitCommand) engines() int {
	if c.Durable {
		return 2
	}
	return 1
}

// stored is the result to compare with, if there is one.
func (c *limitCommand) stored() (*report.Result, error) {
	if c.Against == "" {
		return nil, nil
	}
	r, err := report.ReadFile(c.Against)
	if err == nil && r.RatioToLimit == 0 {
		err = usage("--against: %s is not a result of loadgen limit", c.Against)
	}
	return r, err
}

// measure has engine and limit rows take the events in turn.
func (c *limitCommand) measure(p *process, dir string, r *report.Result) (err error) {
	a, err := newArena(dir, c.generated())
	if err != nil {
		return err
	}
	var all []pair.Contestant
	defer func() { err = errors.Join(err, closeAll(all)) }()
	first, err := a.openEngine(p.ctx, engineName, c.options())
	if err != nil {
		return err
	}
	all = append(all, first)
	for _, row := range rowsOf(c.Door) {
		next, err := a.openRow(row, row)
		if err != nil {
			return err
		}
		all = append(all, next)
	}
	if c.Durable {
		o := c.options()
		o.Store.Ack, o.Store.Sync = durableAck, commitSync
		next, err := a.openEngine(p.ctx, durableAck, o)
		if err != nil {
			return err
		}
		all = append(all, next)
	}
	table := &roundTable{w: p.stderr}
	rates, err := pair.Contest(p.ctx, all, c.Rounds, table.tell)
	if err != nil {
		return err
	}
	passes := uint64(c.Rounds + 1)
	r.Verify = &report.Verify{OK: true, Finding: workload.Finding{Keys: uint64(c.Keys), Events: uint64(c.Keys) + passes*uint64(c.Events)}}
	setLimit(r, all, rates, float64(c.Events))
	return nil
}

// What the engine waits for with --durable: the names are those of the flags.
const (
	durableAck = "durable"
	commitSync = "commit"
)

// setLimit takes over the rates of a contest, whose first contestant is the engine and
// whose second is the limit row of its door.
func setLimit(r *report.Result, all []pair.Contestant, rates [][]float64, events float64) {
	for i, c := range all {
		r.Samples = append(r.Samples, report.Sample{Name: c.Name, Unit: "events/s", Rounds: rates[i]})
		switch {
		case i == 0:
		case c.Name == durableAck:
			r.Durable = &report.Variant{EventsPerSecond: stats.SpreadOf(rates[i]), Ratio: stats.SpreadOf(stats.Ratios(rates[i], rates[0]))}
		default:
			r.LimitRows = append(r.LimitRows, report.LimitRow{
				Name: c.Name, EventsPerSecond: stats.SpreadOf(rates[i]), Ratio: stats.SpreadOf(stats.Ratios(rates[0], rates[i])),
			})
		}
	}
	r.Samples = append(r.Samples, report.Sample{Name: ratioName, Unit: "of " + all[1].Name, Rounds: stats.Ratios(rates[0], rates[1])})
	r.RatioToLimit = r.LimitRows[0].Ratio.Median
	r.EventsPerSecond = stats.SpreadOf(rates[0]).Median
	for _, rate := range rates[0] {
		r.Events += uint64(events)
		r.Seconds += events / rate
	}
}

// ratioName is the sample of ratios.
const ratioName = "ratio_to_limit"

// roundTable prints the passes of a contest, a line for each.
type roundTable struct {
	w     io.Writer
	round int
}

func (t *roundTable) tell(round int, name string, perSecond float64) {
	if round != t.round {
		t.round = round
		fmt.Fprintf(t.w, "round %d\n", round)
	}
	fmt.Fprintf(t.w, "  %-24s %14s events/s  %8.1f ns/event\n", name, report.Count(int64(perSecond)), 1e9/perSecond)
}

// limitTable prints what came of a contest.
func limitTable(w io.Writer, r *report.Result) {
	fmt.Fprintf(w, "%-10s%14s %14s %14s   %s\n", "row", "events/s", "lowest", "highest", "ratio of the engine, lowest to highest")
	engine := stats.SpreadOf(r.Samples[0].Rounds)
	spreadRow(w, engineName, engine, "")
	for _, row := range r.LimitRows {
		spreadRow(w, row.Name, row.EventsPerSecond, fmt.Sprintf("%.3f (%.3f to %.3f)", row.Ratio.Median, row.Ratio.Min, row.Ratio.Max))
	}
	if d := r.Durable; d != nil {
		spreadRow(w, durableAck, d.EventsPerSecond, fmt.Sprintf("%.3f (%.3f to %.3f) of the engine, synced at every group commit", d.Ratio.Median, d.Ratio.Min, d.Ratio.Max))
	}
	fmt.Fprintf(w, "%-10s%.3f of %s, the median of %d paired rounds; every state of all rows was checked\n",
		ratioName+" ", r.RatioToLimit, r.LimitRows[0].Name, len(r.Samples[0].Rounds))
}

func spreadRow(w io.Writer, name string, s stats.Spread, note string) {
	fmt.Fprintf(w, "%-10s%14s %14s %14s   %s\n", name, report.Count(int64(s.Median)), report.Count(int64(s.Min)), report.Count(int64(s.Max)), note)
}

// drift says how ratio_to_limit has moved, and what speaks against the comparison.
func drift(w io.Writer, stored, now *report.Result) error {
	before, after := stored.Sample(ratioName), now.Sample(ratioName)
	if before == nil || after == nil {
		return usage("--against: the stored result has no rounds of %s", ratioName)
	}
	d, err := stats.Compare(before.Rounds, after.Rounds)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%-10s%s %.3f -> %.3f (%+.1f %%), %s\n", "drift", ratioName, d.Old, d.New, 100*d.Delta, chance(&d))
	for _, note := range unlike(stored, now) {
		fmt.Fprintf(w, "%-10s%s\n", "note", note)
	}
	return nil
}
