package stats_test

import (
	"math"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/bench/stats"
)

func TestSpreadIsTheMedianAndTheEnds(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   stats.Spread
	}{
		{nil, stats.Spread{}},
		{[]float64{3}, stats.Spread{Median: 3, Min: 3, Max: 3}},
		{[]float64{3, 1, 2}, stats.Spread{Median: 2, Min: 1, Max: 3}},
		{[]float64{4, 1, 2, 3}, stats.Spread{Median: 2.5, Min: 1, Max: 4}},
	} {
		given := slices.Clone(c.values)
		if got := stats.SpreadOf(c.values); got != c.want || !slices.Equal(given, c.values) {
			t.Errorf("%v: %+v", given, got)
		}
	}
	if got := stats.Ratios([]float64{1, 4, 9}, []float64{2, 2}); !slices.Equal(got, []float64{0.5, 2}) {
		t.Error(got)
	}
}

func TestDifferencesAreThoseOfBenchstat(t *testing.T) {
	low, high := []float64{1, 1.1, 1.2, 1.3, 1.4}, []float64{2, 2.1, 2.2, 2.3, 2.4}
	d, err := stats.Compare(low, high)
	// 2 of the 252 ways to divide ten values are as far apart as these.
	if err != nil || !d.Shown() || math.Abs(d.P-2./252) > 1e-9 || math.Abs(d.Delta-(2.2/1.2-1)) > 1e-9 {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := stats.Compare(low, low); err != nil || d.Shown() || d.Delta != 0 || !d.Enough {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := stats.Compare(low[:3], high); err != nil || d.Shown() || d.Enough || d.P != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	none := make([]float64, 5)
	if d, err := stats.Compare(none, high); err != nil || !d.Shown() || !math.IsInf(d.Delta, 1) {
		t.Errorf("from nothing: %+v, %v", d, err)
	}
	if d, err := stats.Compare(none, none); err != nil || d.Shown() || d.Delta != 0 {
		t.Errorf("from nothing to nothing: %+v, %v", d, err)
	}
	if _, err := stats.Compare(nil, high); err == nil {
		t.Error("nothing was compared")
	}
}
