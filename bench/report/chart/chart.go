// Package chart draws what results hold as SVG: latencies by percentile, throughput
// over time, CPU time by shard and stage, costs as work grows.
//
// A chart refers to no other file, and its text stays text.
package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Line is one line of a chart.
type Line struct {
	// Name is what the legend calls it.
	Name string
	// Points are its points, from left to right.
	Points []Point
}

// Point is a point of a Line, in the units of its chart.
type Point struct{ X, Y float64 }

// Sizes of a chart. An SVG may be drawn larger or smaller.
const (
	width      = vg.Length(640)
	height     = vg.Length(300)
	entryExtra = vg.Length(15) // of the height, for each line of the legend
)

// LinesMax is how many lines a chart may have: as many as can be told apart.
const LinesMax = 8

// palette are colours that most people can tell apart (Okabe and Ito, without yellow,
// which does not show on white, and with a grey).
var palette = [LinesMax]color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255}, {130, 130, 130, 255},
}

// faint is the colour of the grid.
var faint = color.Gray{Y: 208}

// text is the font of everything: measured with Liberation Sans, which is as wide as
// Arial, and drawn with what there is.
var textFont = font.Font{Typeface: "Liberation", Variant: "Sans"}

// families is what an SVG asks for.
const families = "font-family:Liberation Sans,Arial,Helvetica,sans-serif"

// newPlot is an empty chart with a grid.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	p.X.Label.Padding, p.Y.Label.Padding = vg.Points(4), vg.Points(4)
	for _, style := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		size := style.Size
		*style = textFont
		style.Size = size
	}
	p.Title.TextStyle.Font.Size = 13
	p.Legend.TextStyle.Font.Size = 10
	p.Legend.ThumbnailWidth = vg.Points(18)
	p.Legend.Padding = vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	p.Add(grid)
	return p
}

// lines adds lines with their legend, which has a place of its own below the chart.
func lines(p *plot.Plot, all []Line, dots bool) error {
	if len(all) == 0 || len(all) > LinesMax {
		return fmt.Errorf("chart: %d lines, and a chart has 1 to %d", len(all), LinesMax)
	}
	for i, l := range all {
		if len(l.Points) == 0 {
			return fmt.Errorf("chart: %s has no points", l.Name)
		}
		xys := make(plotter.XYs, len(l.Points))
		for j, at := range l.Points {
			xys[j] = plotter.XY(at)
		}
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return fmt.Errorf("chart: %s: %w", l.Name, err)
		}
		line.Color, line.Width = palette[i], vg.Points(1.6)
		points.Color, points.Shape, points.Radius = palette[i], draw.CircleGlyph{}, vg.Points(2.2)
		p.Add(line)
		if dots {
			p.Add(points)
		}
		p.Legend.Add(l.Name, line)
	}
	return nil
}

// svg draws a chart above its legend.
func svg(p *plot.Plot, entries int, high vg.Length) ([]byte, error) {
	below := vg.Length(entries)*entryExtra + vg.Points(6)
	canvas := vgsvg.New(width, high+below)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	legend := p.Legend
	p.Legend = plot.NewLegend()
	p.BackgroundColor = color.White
	p.Draw(draw.Crop(all, 6, -14, below, -6))
	legend.Left, legend.Top = true, true
	legend.Draw(draw.Crop(all, 60, -14, 4, -(high)))
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	return bytes.ReplaceAll(text.Bytes(), []byte("font-family:Liberation Sans"), []byte(families)), nil
}

// upTo has a linear axis begin at zero and end a little above the highest value.
func upTo(a *plot.Axis, highest float64) {
	a.Min, a.Max = 0, highest*1.05
	if !(a.Max > 0) || math.IsInf(a.Max, 0) {
		a.Max = 1
	}
}

// largest is the largest coordinate of all points.
func largest(all []Line, of func(Point) float64) float64 {
	most := 0.0
	for _, l := range all {
		for _, at := range l.Points {
			most = max(most, of(at))
		}
	}
	return most
}
