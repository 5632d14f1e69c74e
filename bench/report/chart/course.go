package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Events is what happened over time in several runs of the same length.
type Events struct {
	Title string
	// Rates are events a second, Times durations in nanoseconds, both over seconds, with a
	// line for each run, in the same order.
	Rates, Times []Line
	// Shifts are moments that all runs share, and ShiftName what the legend calls them.
	Shifts    []float64
	ShiftName string
	// Marks are moments of each run, and MarkName what the legend calls them.
	Marks    [][]float64
	MarkName string
}

// Sizes of a course.
const (
	panelHeight = vg.Length(200)
	markHeight  = vg.Length(9)
)

// shiftStyle is that of the lines that all runs share.
var shiftStyle = draw.LineStyle{Color: color.Gray{Y: 110}, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}

// Course draws rates above times, over the same seconds, with the moments marked.
func Course(e Events) ([]byte, error) {
	rates, times := newPlot(e.Title, "", "settled events/s"), newPlot("", "seconds", "p99")
	if err := lines(rates, e.Rates, false); err != nil {
		return nil, err
	}
	if err := lines(times, e.Times, false); err != nil {
		return nil, err
	}
	upTo(&rates.Y, largest(e.Rates, func(at Point) float64 { return at.Y }))
	rates.Y.Tick.Marker = labelled(number)
	low, high := math.Inf(1), 1.0
	for _, l := range e.Times {
		for _, at := range l.Points {
			if !(at.Y > 0) {
				return nil, fmt.Errorf("chart: %s: %v has no place on a logarithmic axis", l.Name, at.Y)
			}
			low, high = min(low, at.Y), max(high, at.Y)
		}
	}
	logarithmic(&times.Y, low, high, logTicks{10, duration})
	end := largest(e.Rates, func(at Point) float64 { return at.X })
	for _, p := range []*plot.Plot{rates, times} {
		p.X.Min, p.X.Max = 0, end
		p.X.Tick.Marker = labelled(number)
		p.Add(shifts(e.Shifts))
	}
	for i, at := range e.Marks {
		rates.Add(marks{at, palette[i]})
	}
	rates.Legend.Add(e.ShiftName, shifts{})
	rates.Legend.Add(e.MarkName, marks{color: color.Black})
	return course(rates, times, len(e.Rates)+2)
}

// course draws two plots above each other, with the legend of the first below both.
func course(rates, times *plot.Plot, entries int) ([]byte, error) {
	below := vg.Length(entries)*entryExtra + vg.Points(6)
	high := 2 * panelHeight
	canvas := vgsvg.New(width, high+below)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	legend := rates.Legend
	rates.Legend, times.Legend = plot.NewLegend(), plot.NewLegend()
	rates.BackgroundColor, times.BackgroundColor = color.White, color.White
	plots := [][]*plot.Plot{{rates}, {times}}
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadY: vg.Points(6)}
	for i, row := range plot.Align(plots, tiles, draw.Crop(all, 6, -14, below, -6)) {
		plots[i][0].Draw(row[0])
	}
	legend.Left, legend.Top = true, true
	legend.Draw(draw.Crop(all, 60, -14, 4, -high))
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	return bytes.ReplaceAll(text.Bytes(), []byte("font-family:Liberation Sans"), []byte(families)), nil
}

// shifts are vertical lines over the whole height.
type shifts []float64

// Plot draws them.
func (s shifts) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, at := range s {
		c.StrokeLine2(shiftStyle, x(at), c.Min.Y, x(at), c.Max.Y)
	}
}

// Thumbnail draws one for the legend.
func (shifts) Thumbnail(c *draw.Canvas) {
	c.StrokeLine2(shiftStyle, c.Center().X, c.Min.Y, c.Center().X, c.Max.Y)
}

// marks are short lines that rise from the axis.
type marks struct {
	at    []float64
	color color.Color
}

func (m marks) style() draw.LineStyle { return draw.LineStyle{Color: m.color, Width: vg.Points(1.6)} }

// Plot draws them.
func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, at := range m.at {
		c.StrokeLine2(m.style(), x(at), c.Min.Y, x(at), c.Min.Y+markHeight)
	}
}

// Thumbnail draws one for the legend.
func (m marks) Thumbnail(c *draw.Canvas) {
	c.StrokeLine2(m.style(), c.Center().X, c.Min.Y, c.Center().X, c.Max.Y)
}
