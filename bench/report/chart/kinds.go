package chart

import (
	"cmp"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Percentiles draws latencies, in nanoseconds, over percentiles from 0 to below 100, as
// HdrHistogram does: every further nine takes the same room.
func Percentiles(all []Line) ([]byte, error) {
	p := newPlot("Latency by percentile", "percentile of events", "latency")
	moved := make([]Line, len(all))
	low, high := math.Inf(1), 1.0
	for i, l := range all {
		moved[i].Name = l.Name
		for _, at := range l.Points {
			if at.X < 100 {
				moved[i].Points = append(moved[i].Points, Point{nines(at.X), max(at.Y, 1)})
				low, high = min(low, max(at.Y, 1)), max(high, at.Y)
			}
		}
	}
	if err := lines(p, moved, false); err != nil {
		return nil, err
	}
	p.X.Min, p.X.Tick.Marker = 0, ninesTicks{}
	logarithmic(&p.Y, low, high, logTicks{10, duration})
	return svg(p, len(all), height)
}

// logarithmic has an axis run over whole powers of the base.
func logarithmic(a *plot.Axis, low, high float64, t logTicks) {
	power := func(v float64, round func(float64) float64) float64 {
		return math.Pow(t.base, round(math.Log(v)/math.Log(t.base)))
	}
	a.Scale, a.Tick.Marker = plot.LogScale{}, t
	a.Min, a.Max = power(low*1.0000001, math.Floor), power(high*0.9999999, math.Ceil)
	if a.Max <= a.Min {
		a.Max = a.Min * t.base
	}
}

// Throughput draws events per second over the seconds of a load.
func Throughput(all []Line) ([]byte, error) {
	p := newPlot("Throughput over time", "seconds since the load began", "acknowledged events/s")
	if err := lines(p, all, true); err != nil {
		return nil, err
	}
	upTo(&p.X, largest(all, func(at Point) float64 { return at.X }))
	upTo(&p.Y, largest(all, func(at Point) float64 { return at.Y }))
	p.X.Tick.Marker, p.Y.Tick.Marker = labelled(number), labelled(number)
	return svg(p, len(all), height)
}

// Growth draws nanoseconds per event over what grows, both logarithmic. what names it.
func Growth(what string, all []Line) ([]byte, error) {
	p := newPlot("Cost as work grows", what, "time per event")
	if err := lines(p, all, true); err != nil {
		return nil, err
	}
	box := struct{ lowX, highX, lowY, highY float64 }{math.Inf(1), 0, math.Inf(1), 0}
	for _, l := range all {
		for _, at := range l.Points {
			if !(at.X > 0) || !(at.Y > 0) {
				return nil, fmt.Errorf("chart: %s: (%v, %v) has no place on logarithmic axes", l.Name, at.X, at.Y)
			}
			box.lowX, box.highX = min(box.lowX, at.X), max(box.highX, at.X)
			box.lowY, box.highY = min(box.lowY, at.Y), max(box.highY, at.Y)
		}
	}
	base := 10.0
	if box.highX < 100*box.lowX {
		base = 2
	}
	logarithmic(&p.X, box.lowX, box.highX, logTicks{base, number})
	logarithmic(&p.Y, box.lowY, box.highY, logTicks{10, duration})
	return svg(p, len(all), height)
}

// Bar is the CPU time of a shard, or of what belongs to none.
type Bar struct {
	Name string
	// Stages are its parts, in the unit of one CPU that is busy all the time.
	Stages map[string]float64
}

// BarsMax is how many bars a chart may have.
const BarsMax = 32

// CPU draws bars that are stacked by stage. stages are those to show, in this order.
func CPU(stages []string, bars []Bar) ([]byte, error) {
	if len(bars) == 0 || len(bars) > BarsMax || len(stages) == 0 || len(stages) > LinesMax {
		return nil, fmt.Errorf("chart: %d bars of %d stages, and a chart has 1 to %d of 1 to %d", len(bars), len(stages), BarsMax, LinesMax)
	}
	p := newPlot("CPU time by shard and stage", "CPUs kept busy", "")
	names := make([]string, len(bars))
	total, most := make([]float64, len(bars)), 0.0
	for i := range bars {
		names[len(bars)-1-i] = bars[i].Name // the first on top
	}
	var below *plotter.BarChart
	for i, stage := range stages {
		values := make(plotter.Values, len(bars))
		for j, b := range bars {
			values[len(bars)-1-j] = b.Stages[stage]
			total[j] += b.Stages[stage]
			most = max(most, total[j])
		}
		chart, err := plotter.NewBarChart(values, vg.Points(13))
		if err != nil {
			return nil, fmt.Errorf("chart: %w", err)
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, palette[i], 0
		if below != nil {
			chart.StackOn(below)
		}
		below = chart
		p.Add(chart)
		p.Legend.Add(cmp.Or(stage, "(other)"), chart)
	}
	p.NominalY(names...)
	upTo(&p.X, most)
	p.X.Tick.Marker = labelled(number)
	p.Y.Min, p.Y.Max = -0.6, float64(len(bars))-0.4
	return svg(p, len(stages), vg.Points(70+20*float64(len(bars))))
}
