package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// wellFormed fails the test unless text is an SVG that refers to no other file, with
// every word of want in it.
func wellFormed(t *testing.T, text []byte, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]bool)
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.CharData:
			words[strings.TrimSpace(string(e))] = true
		case xml.StartElement:
			for _, a := range e.Attr {
				if a.Name.Local == "href" || strings.Contains(a.Value, "url(") {
					t.Errorf("the chart refers to %s", a.Value)
				}
			}
		}
	}
	for _, w := range want {
		if !words[w] {
			t.Errorf("%q is missing in %v", w, words)
		}
	}
}

func TestPercentilesHaveTheirNines(t *testing.T) {
	text, err := Percentiles([]Line{
		{"first & best", []Point{{0, 30_000}, {50, 50_000}, {99, 900_000}, {99.99, 4_000_000}, {100, 5_000_000}}},
		{"second", []Point{{0, 0}, {99.95, 10_000}}},
	})
	wellFormed(t, text, err, "Latency by percentile", "percentile of events", "latency", "50 %", "99.9 %", "10µs", "1ms", "first & best", "second")
	if again, _ := Percentiles([]Line{{"first & best", []Point{{50, 1}}}}); bytes.Equal(again, text) {
		t.Error("the points make no difference")
	}
}

func TestThroughputBeginsAtZero(t *testing.T) {
	text, err := Throughput([]Line{{"a run", []Point{{1, 2e6}, {2, 2.5e6}}}})
	wellFormed(t, text, err, "0", "2.5M", "seconds since the load began", "acknowledged events/s", "a run")
}

func TestGrowthIsLogarithmic(t *testing.T) {
	text, err := Growth("keys", []Line{{"engine", []Point{{1e5, 60}, {1e7, 250}}}})
	wellFormed(t, text, err, "keys", "100k", "1M", "10M", "10ns", "100ns", "1µs")
	text, err = Growth("shards", []Line{{"engine", []Point{{1, 60}, {8, 50}}}})
	wellFormed(t, text, err, "shards", "1", "2", "4", "8")
}

func TestCPUNamesEveryShardAndStage(t *testing.T) {
	text, err := CPU([]string{"apply", "sync", "(other)"}, []Bar{
		{"shard-00", map[string]float64{"apply": 0.5, "sync": 0.25}}, {"the rest", map[string]float64{"(other)": 0.9}},
	})
	wellFormed(t, text, err, "apply", "sync", "(other)", "shard-00", "the rest", "CPUs kept busy")
}

func TestWhatCannotBeDrawnIsAnError(t *testing.T) {
	many := make([]Line, LinesMax+1)
	for i := range many {
		many[i] = Line{fmt.Sprint(i), []Point{{1, 1}}}
	}
	for name, draw := range map[string]func() ([]byte, error){
		"no lines":       func() ([]byte, error) { return Throughput(nil) },
		"too many":       func() ([]byte, error) { return Throughput(many) },
		"no points":      func() ([]byte, error) { return Percentiles([]Line{{"a", nil}}) },
		"only the end":   func() ([]byte, error) { return Percentiles([]Line{{"a", []Point{{100, 1}}}}) },
		"not a number":   func() ([]byte, error) { return Throughput([]Line{{"a", []Point{{1, math.NaN()}}}}) },
		"zero in a log":  func() ([]byte, error) { return Growth("keys", []Line{{"a", []Point{{0, 1}}}}) },
		"no bars":        func() ([]byte, error) { return CPU([]string{"apply"}, nil) },
		"no stages":      func() ([]byte, error) { return CPU(nil, []Bar{{"a", nil}}) },
		"too many bars":  func() ([]byte, error) { return CPU([]string{"apply"}, make([]Bar, BarsMax+1)) },
		"infinitely far": func() ([]byte, error) { return Throughput([]Line{{"a", []Point{{math.Inf(1), 1}}}}) },
	} {
		if text, err := draw(); err == nil {
			t.Errorf("%s was drawn: %.80s", name, text)
		}
	}
}

func TestACourseHasItsRunsAndMarks(t *testing.T) {
	e := Events{
		Title: "a load", Rates: []Line{{"first", []Point{{1, 2e6}, {2, 1e6}}}, {"second", []Point{{1, 2e6}}}},
		Times:  []Line{{"first", []Point{{1, 2e6}, {2, 3e7}}}, {"second", []Point{{1, 2e6}}}},
		Shifts: []float64{1.5}, ShiftName: "it shifts", Marks: [][]float64{nil, {1.6, 1.7}}, MarkName: "it moves",
	}
	text, err := Course(e)
	wellFormed(t, text, err, "a load", "first", "second", "it shifts", "it moves", "2M", "1ms", "100ms", "seconds")
	marks := len(e.Marks[1])
	e.Marks = nil
	without, err := Course(e)
	wellFormed(t, without, err)
	if strokes := bytes.Count(text, []byte("<path")) - bytes.Count(without, []byte("<path")); strokes != marks {
		t.Errorf("%d marks are drawn, of %d", strokes, marks)
	}
	e.Times[0].Points[0].Y = 0
	if _, err := Course(e); err == nil {
		t.Error("a time of 0 was drawn on a logarithmic axis")
	}
}
