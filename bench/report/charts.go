package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/report/chart"
)

// A Chart is a picture of results.
type Chart struct {
	// File is a name for it, unlike those of other charts of the same results.
	File string
	// Title is what it shows, and Section the part of the page where it belongs.
	Title, Section string
	// SVG is the picture. It refers to no other file.
	SVG []byte
}

// Charts draws results: for loads latencies by percentile and the rate over time, if
// they were stored, for profiles the CPU time by shard and stage, for sweeps the curve, for skewed loads
// what became of them over time.
func Charts(results []*Result) ([]Chart, error) {
	p := &Page{Results: results}
	d := new(drawer)
	for _, s := range p.sections() {
		entries := p.entries(s.kinds...)
		switch s.title {
		case streamingTitle, ratesTitle, callsTitle:
			d.loads(s.title, entries)
		case skewTitle:
			d.skews(s.title, entries)
		case growthTitle:
			d.curves(s.title, entries)
		case cpuTitle:
			d.cpu(s.title, entries)
		}
	}
	return d.charts, d.err
}

// drawer draws charts until the first error.
type drawer struct {
	charts []Chart
	err    error
}

// add takes over what was drawn. part counts the charts that show the same thing.
func (d *drawer) add(section, what string, part int, svg []byte, err error) {
	if d.err != nil || err != nil {
		d.err = cmp.Or(d.err, err)
		return
	}
	file := strings.ToLower(strings.ReplaceAll(section+"-"+what, " ", "-"))
	if part > 0 {
		file += fmt.Sprintf("-%d", part+1)
	}
	d.charts = append(d.charts, Chart{File: file + ".svg", Title: section + ": " + what, Section: section, SVG: svg})
}

// loads draws the latencies and the rates of loads, several in one chart.
func (d *drawer) loads(section string, entries []entry) {
	var times, rates []chart.Line
	for i := range entries {
		e := &entries[i]
		points, err := e.percentiles()
		if err != nil {
			d.err = cmp.Or(d.err, err)
			return
		}
		if len(points) > 0 {
			times = append(times, chart.Line{Name: e.name(), Points: points})
		}
		if len(e.Series) > 0 {
			rates = append(rates, chart.Line{Name: e.name(), Points: e.rates()})
		}
	}
	for part, lines := range evenly(times, chart.LinesMax) {
		svg, err := chart.Percentiles(lines)
		d.add(section, "latency", part, svg, err)
	}
	for part, lines := range evenly(rates, chart.LinesMax) {
		svg, err := chart.Throughput(lines)
		d.add(section, "throughput", part, svg, err)
	}
}

// evenly splits a list into as few parts of most or fewer as it takes, about as long as
// each other: a last chart with one line compares with nothing.
func evenly[T any](list []T, most int) [][]T {
	if len(list) == 0 {
		return nil
	}
	parts := (len(list) + most - 1) / most
	return slices.Collect(slices.Chunk(list, (len(list)+parts-1)/parts))
}

// name is what a chart calls a load.
func (e *entry) name() string {
	senders := fmt.Sprintf("%d calling", e.Producers)
	if e.Window > 0 {
		senders = plural(e.Producers, "sender")
	}
	return fmt.Sprintf("#%d  %s, %s, %s, %s", e.number, e.Input, senders, e.rate(), e.Durability())
}

// ticksPerHalf is how many points a curve of percentiles has on each halving of the
// distance to 100 %.
const ticksPerHalf = 5

// percentiles are the points of the curve of all latencies.
func (r *Result) percentiles() (points []chart.Point, err error) {
	h, err := r.Times()
	if h == nil || err != nil {
		return nil, err
	}
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalf) {
		if b.Quantile < 100 {
			points = append(points, chart.Point{X: b.Quantile, Y: float64(b.ValueAt)})
		}
	}
	return points, nil
}

// rates are the points of the rate over time.
func (r *Result) rates() (points []chart.Point) {
	for _, s := range r.Series {
		points = append(points, chart.Point{X: s.Seconds, Y: s.EventsPerSecond})
	}
	return points
}

// skews draws a chart for each skewed load.
func (d *drawer) skews(section string, entries []entry) {
	for i := range entries {
		e := &entries[i]
		svg, err := e.Skew.Picture(fmt.Sprintf("#%d  %s", e.number, e.Input))
		d.add(section, "over time", i, svg, err)
	}
}

// curves draws a chart for each sweep over numbers.
func (d *drawer) curves(section string, entries []entry) {
	part := 0
	for i := range entries {
		engine, limit := entries[i].curve()
		if len(engine) < 2 {
			continue
		}
		lines := []chart.Line{{Name: "engine, " + entries[i].Durability(), Points: engine}}
		if len(limit) > 1 {
			lines = append(lines, chart.Line{Name: "limit row", Points: limit})
		}
		svg, err := chart.Growth(entries[i].knob(), lines)
		d.add(section, entries[i].knob(), part, svg, err)
		part++
	}
}

// curve is the time of an event over the values of a sweep, if they are numbers, of the
// engine and of the limit row beside it.
func (r *Result) curve() (engine, limit []chart.Point) {
	for _, p := range r.Curve {
		x, ok := numberOf(p.Value)
		if !ok || !(p.Nanos.Median > 0) {
			return nil, nil
		}
		engine = append(engine, chart.Point{X: x, Y: p.Nanos.Median})
		if p.Ratio != nil && p.Ratio.Median > 0 {
			limit = append(limit, chart.Point{X: x, Y: p.Nanos.Median * p.Ratio.Median})
		}
	}
	return engine, limit
}

// numberOf reads a number as the flags of loadgen take it: 100k, 10M, 4KiB.
func numberOf(value string) (float64, bool) {
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"", 1}} {
		if digits, ok := strings.CutSuffix(value, u.suffix); ok {
			n, err := strconv.ParseFloat(digits, 64)
			return n * u.factor, err == nil && n > 0
		}
	}
	return 0, false
}

// cpu draws the CPU time of the shards of all profiled loads.
func (d *drawer) cpu(section string, entries []entry) {
	var bars []chart.Bar
	seconds := make(map[string]float64)
	for i := range entries {
		if e := &entries[i]; e.Profile != nil && e.Seconds > 0 {
			bars = append(bars, e.bars(seconds)...)
		}
	}
	stages := largestFirst(seconds)
	for part, some := range evenly(bars, chart.BarsMax) {
		svg, err := chart.CPU(stages, some)
		d.add(section, "shards", part, svg, err)
	}
}

// bars are one for each shard of a profile, and add to the seconds of the stages.
func (e *entry) bars(seconds map[string]float64) (bars []chart.Bar) {
	shares := slices.Clone(e.Profile.ShardStages)
	slices.SortStableFunc(shares, func(a, b profile.Share) int {
		x, _ := shardOf(a)
		y, _ := shardOf(b)
		return cmp.Compare(x, y)
	})
	last := ""
	for _, s := range shares {
		shard, stage := shardOf(s)
		if shard != last {
			last = shard
			bars = append(bars, chart.Bar{Name: fmt.Sprintf("#%d  %s", e.number, shard), Stages: make(map[string]float64)})
		}
		bars[len(bars)-1].Stages[stage] += s.Seconds / e.Seconds
		seconds[stage] += s.Seconds
	}
	return bars
}

// shardOf splits the name of a share of Summary.ShardStages. What has no labels comes
// behind the shards.
func shardOf(s profile.Share) (shard, stage string) {
	shard, stage, ok := strings.Cut(s.Name, " ")
	if !ok {
		return "the rest", "load generator, runtime"
	}
	return shard, stage
}

// largestFirst are the names with the most seconds, as many as a chart can tell apart.
func largestFirst(seconds map[string]float64) (names []string) {
	for name := range seconds {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(seconds[b], seconds[a]), cmp.Compare(a, b))
	})
	return names[:min(len(names), chart.LinesMax)]
}
