package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// sweepCommand measures how the cost of an event grows.
type sweepCommand struct {
	contestFlags
	Vary     string `group:"Sweep" required:"" placeholder:"keys=100k,1M,10M" help:"What to vary, and its values: keys, dist, event-bytes, partitions, shards, producers, window, pin, spin, ack, sync, device or door."`
	LimitRow bool   `group:"Sweep" help:"Measure the limit row of the door at each value, too. Its events have 32 bytes."`
}

// knobs set what can be varied.
var knobs = map[string]func(c *contestFlags, value string) error{
	"keys":        func(c *contestFlags, v string) error { return c.Keys.UnmarshalText([]byte(v)) },
	"event-bytes": func(c *contestFlags, v string) error { return c.setSize(v) },
	"window":      func(c *contestFlags, v string) error { return c.Window.UnmarshalText([]byte(v)) },
	"dist":        func(c *contestFlags, v string) error { c.Dist = v; return nil },
	"ack":         func(c *contestFlags, v string) error { c.Ack = v; return nil },
	"sync":        func(c *contestFlags, v string) error { c.Sync = v; return nil },
	"device":      func(c *contestFlags, v string) error { c.Device = v; return nil },
	"door":        func(c *contestFlags, v string) error { c.Door = v; return nil },
	"pin":         func(c *contestFlags, v string) error { return c.setPin(v) },
	"spin":        func(c *contestFlags, v string) (err error) { c.Spin, err = time.ParseDuration(v); return err },
	"partitions":  func(c *contestFlags, v string) error { return setWhole(&c.Partitions, v) },
	"shards":      func(c *contestFlags, v string) error { return setWhole(&c.Shards, v) },
	"producers":   func(c *contestFlags, v string) error { return setWhole(&c.Producers, v) },
}

func setWhole(to *int, value string) (err error) {
	if *to, err = strconv.Atoi(value); err != nil || *to < 1 {
		return fmt.Errorf("%q is not a whole number of at least 1", value)
	}
	return nil
}

func (c *contestFlags) setPin(value string) error {
	if value != "on" && value != "off" {
		return fmt.Errorf("%q is neither on nor off", value)
	}
	c.Pin = value
	return nil
}

// passBytesMax bounds what a pass of long events logs.
const passBytesMax = 1 << 30

// setSize sets the size of an event, and fewer of them to a pass if they are long.
func (c *contestFlags) setSize(value string) error {
	if err := c.Size.UnmarshalText([]byte(value)); err != nil || c.Size < limit.EventBytes || c.Size > store.EventBytesMax {
		return fmt.Errorf("%q is not a size of %d to %d bytes", value, limit.EventBytes, store.EventBytesMax)
	}
	c.Events = min(c.Events, count(passBytesMax/c.Size))
	return nil
}

// variant is one value of a sweep.
type variant struct {
	value string
	flags contestFlags
	// engine and row are its contestants; row is -1 without a limit row.
	engine, row int
}

// variants are the values of --vary.
func (c *sweepCommand) variants() (list []variant, err error) {
	name, values, ok := strings.Cut(c.Vary, "=")
	set := knobs[name]
	if !ok || set == nil {
		return nil, usage("--vary: %q is not one of %s, and its values, such as keys=100k,1M", c.Vary, strings.Join(knobNames(), ", "))
	}
	for value := range strings.SplitSeq(values, ",") {
		v := variant{value: value, flags: c.contestFlags, row: -1}
		if err := set(&v.flags, value); err != nil {
			return nil, usage("--vary %s: %w", name, err)
		}
		if err := v.flags.check(); err != nil {
			return nil, usage("--vary %s=%s: %w", name, value, err)
		}
		if slices.ContainsFunc(list, func(o variant) bool { return o.value == value }) {
			return nil, usage("--vary %s: %s is there twice", name, value)
		}
		if c.LimitRow && v.flags.Size != limit.EventBytes {
			return nil, usage("--limit-row: the events of the limit rows have %d bytes, not %d", limit.EventBytes, v.flags.Size)
		}
		list = append(list, v)
	}
	return list, nil
}

func knobNames() (names []string) {
	for name := range knobs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Run measures all values in turn.
func (c *sweepCommand) Run(p *process) error {
	list, err := c.variants()
	if err == nil {
		err = errors.Join(c.memoryOf(list), canStoreJSON(c.JSON))
	}
	if err != nil {
		return err
	}
	dir, remove, err := workDirectory(c.Dir)
	if err != nil {
		return err
	}
	r := c.result(p)
	if r.Machine, err = machine.Look(dir); err == nil {
		r.Start(p.stderr)
		fmt.Fprintf(p.stderr, "%-10s%s\n", "vary", c.Vary)
		err = c.measure(p, dir, list, r)
	}
	if err = errors.Join(err, remove()); err != nil {
		return wrongState(err)
	}
	c.table(p.stdout, r)
	if c.JSON == "" {
		return nil
	}
	return r.WriteFile(c.JSON)
}

// memoryOf says whether all values fit into memory together: they are measured in turn.
func (c *sweepCommand) memoryOf(list []variant) error {
	bytes, rows := uint64(0), 0
	if c.LimitRow {
		rows = 1
	}
	for _, v := range list {
		bytes += v.flags.memory(1, rows)
	}
	return fits(bytes)
}

// measure opens an engine for each value, and the limit rows, and has them take their
// events in turn.
func (c *sweepCommand) measure(p *process, dir string, list []variant, r *report.Result) (err error) {
	arenas := make(map[workload.Generated]*arena)
	var all []pair.Contestant
	defer func() { err = errors.Join(err, closeAll(all)) }()
	for i := range list {
		if err := c.open(p, dir, &list[i], arenas, &all); err != nil {
			return fmt.Errorf("%s: %w", list[i].value, err)
		}
	}
	table := &roundTable{w: p.stderr}
	rates, err := pair.Contest(p.ctx, all, c.Rounds, table.tell)
	if err != nil {
		return err
	}
	knob, _, _ := strings.Cut(c.Vary, "=")
	for _, v := range list {
		r.Curve = append(r.Curve, v.point(rates))
		r.Samples = append(r.Samples, report.Sample{Name: knob + "=" + v.value, Unit: "ns/event", LessIsBetter: true, Rounds: nanos(rates[v.engine])})
		if v.row >= 0 {
			r.Samples = append(r.Samples, report.Sample{Name: rowName(v.value), Unit: "ns/event", LessIsBetter: true, Rounds: nanos(rates[v.row])})
		}
	}
	return nil
}

// open opens the engine of a value, and its limit row, over the stream of the value:
// values with the same stream share it.
func (c *sweepCommand) open(p *process, dir string, v *variant, arenas map[workload.Generated]*arena, all *[]pair.Contestant) error {
	g := v.flags.generated()
	a := arenas[g]
	if a == nil {
		var err error
		if a, err = newArena(dir, g); err != nil {
			return err
		}
		arenas[g] = a
	}
	v.engine = len(*all)
	side, err := a.openEngine(p.ctx, v.value, v.flags.options())
	if err != nil {
		return err
	}
	*all = append(*all, side)
	if !c.LimitRow {
		return nil
	}
	v.row = len(*all)
	if side, err = a.openRow(rowsOf(v.flags.Door)[0], rowName(v.value)); err == nil {
		*all = append(*all, side)
	}
	return err
}

// rowName names the limit row of a value.
func rowName(value string) string { return "row of " + value }

// point is what came of a value.
func (v *variant) point(rates [][]float64) report.Point {
	point := report.Point{Value: v.value, Nanos: stats.SpreadOf(nanos(rates[v.engine]))}
	if v.row >= 0 {
		ratio := stats.SpreadOf(stats.Ratios(rates[v.engine], rates[v.row]))
		point.Ratio = &ratio
	}
	return point
}

// nanos are the times of an event at these rates.
func nanos(rates []float64) []float64 {
	list := make([]float64, len(rates))
	for i, r := range rates {
		list[i] = 1e9 / r
	}
	return list
}

// table prints the curve.
func (c *sweepCommand) table(w io.Writer, r *report.Result) {
	knob, _, _ := strings.Cut(c.Vary, "=")
	fmt.Fprintf(w, "%-14s %10s %10s %10s %14s %9s  %s\n", knob, "ns/event", "lowest", "highest", "events/s", "to first", "ratio to the limit row")
	first := r.Curve[0].Nanos.Median
	for _, point := range r.Curve {
		ratio := ""
		if point.Ratio != nil {
			ratio = fmt.Sprintf("%.3f (%.3f to %.3f)", point.Ratio.Median, point.Ratio.Min, point.Ratio.Max)
		}
		n := point.Nanos
		fmt.Fprintf(w, "%-14s %10.1f %10.1f %10.1f %14s %8.2fx  %s\n", point.Value, n.Median, n.Min, n.Max, report.Count(int64(1e9/n.Median)), n.Median/first, ratio)
	}
	fmt.Fprintf(w, "medians of %d rounds in which the values went in turn; every state was checked\n", c.Rounds)
}
