// Package stats says what lists of rounds tell: a median with its ends, ratios round by
// round, and whether two lists differ. The statistics are those of benchstat,
// golang.org/x/perf/benchmath: medians and the Mann-Whitney U test, which assume no
// distribution.
package stats

import (
	"fmt"
	"slices"

	"golang.org/x/perf/benchmath"
)

// A Spread is a median and the ends.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf is the spread of values; the zero Spread if there are none. It keeps
// nothing of values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := sample(values)
	return Spread{Median: median(s), Min: s.Values[0], Max: s.Values[len(values)-1]}
}

// sample is a copy, sorted.
func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

func median(s *benchmath.Sample) float64 {
	return benchmath.AssumeNothing.Summary(s, confidence).Center
}

// confidence is that of the interval that benchmath also computes.
const confidence = 0.95

// Ratios are those of two lists of rates, round by round, as far as both go.
func Ratios(of, over []float64) []float64 {
	ratios := make([]float64, min(len(of), len(over)))
	for i := range ratios {
		ratios[i] = of[i] / over[i]
	}
	return ratios
}

// A Difference is that of two lists of the same figure.
type Difference struct {
	Old, New float64 // medians
	Delta    float64 // New over Old, less 1; infinite if only Old is 0
	Rounds   [2]int  // how many there were of each
	P        float64 // how often lists of the same kind would differ as much
	// Enough says that there are rounds enough for P to say anything.
	Enough bool
}

// RoundsMin is how many rounds each list needs for a difference to show.
const RoundsMin = 4

// Compare compares two lists, of which each has one value at least.
func Compare(before, after []float64) (Difference, error) {
	if len(before) == 0 || len(after) == 0 {
		return Difference{}, fmt.Errorf("stats: %d rounds cannot be compared with %d", len(after), len(before))
	}
	a, b := sample(before), sample(after)
	d := Difference{Old: median(a), New: median(b), Rounds: [2]int{len(before), len(after)}, P: 1}
	if d.Old != d.New { // of two zeros nothing has changed
		d.Delta = (d.New - d.Old) / d.Old
	}
	d.Enough = min(len(before), len(after)) >= RoundsMin
	if d.Enough {
		d.P = benchmath.AssumeNothing.Compare(a, b).P
	}
	return d, nil
}

// Shown says that the lists differ by more than chance explains.
func (d *Difference) Shown() bool {
	return d.Enough && d.P < benchmath.DefaultThresholds.CompareAlpha
}
