package report

import (
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/skew"
)

// tenths is a run of slices of 100 ms, with so many events each, all of which took as
// many milliseconds as its p99 says.
func tenths(p99 []int64, events ...uint64) *skew.Result {
	r := &skew.Result{Keys: 7}
	for i, n := range events {
		s := skew.Slice{End: time.Duration(i+1) * 100 * time.Millisecond, Events: n, Times: skew.NewTimes()}
		_ = s.Times.RecordValue(p99[i] * 1e6)
		r.Slices = append(r.Slices, s)
	}
	return r
}

// skewed is a load that shifts after 0.4 s, for 0.8 s, balanced and with moves that make
// up for it.
func skewed() *Result {
	r := result()
	r.Recovery, r.Command, r.Input, r.Profile = nil, "loadgen skew", "12,000 keys, 90 % of the events in 8 partitions", nil
	r.Skew = &Skew{Busiest: 0.055, WorkNanos: 500}
	o := &skew.Options{Even: 400 * time.Millisecond, Phase: 800 * time.Millisecond, Shifts: 1, Slice: 100 * time.Millisecond}
	even := []int64{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}
	o.Mode = skew.Balanced
	r.Skew.Add(o, tenths(even, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20))
	o.Mode = skew.Advised
	stays := tenths(even, 20, 20, 20, 20, 10, 10, 10, 10, 10, 10, 10, 10)
	stays.Advice = []skew.Advice{{At: time.Second, Moves: 3, Before: 0.9, After: 0.6}}
	r.Skew.Add(o, stays)
	o.Mode = skew.Automatic
	moves := tenths([]int64{3, 3, 3, 3, 4, 4, 4, 4, 6, 6, 9, 9}, 20, 20, 20, 20, 10, 10, 10, 17, 18, 18, 18, 18)
	moves.Moves = []skew.Move{
		{At: 830 * time.Millisecond, Took: 20 * time.Millisecond, Partition: 5, From: 0, To: 1},
		{At: 940 * time.Millisecond, Took: 20 * time.Millisecond, Partition: 6, From: 0, To: 1},
	}
	r.Skew.Add(o, moves)
	return r
}

// Goal: a run is measured by the balanced one at the same moments, from so long behind
// the shift on; and the p99 during moves by that of the even time.
func TestSkewedRunsAreMeasuredByTheBalancedOne(t *testing.T) {
	r := skewed()
	runs := r.Skew.Runs
	if b := runs[0].Shifts[0]; b.OfBalanced != 0 || b.Rate != 200 {
		t.Errorf("the balanced run: %+v", b)
	}
	if s := runs[1].Shifts[0]; s.OfBalanced != 0.5 || s.BackSeconds != -1 || s.P99Moving != 0 {
		t.Errorf("without moves: %+v", s)
	}
	s := runs[2].Shifts[0]
	if s.OfBalanced != 0.9 || s.Moves != 2 || s.BackSeconds < 0.29 || s.BackSeconds > 0.31 {
		t.Errorf("with moves: %+v", s)
	}
	if near := s.P99Moving - 6e6; near < -1e5 || near > 1e5 {
		t.Errorf("the p99 while partitions moved is %d", s.P99Moving)
	}
	rates, times := skewRates([]entry{{Result: r}}), skewTimes([]entry{{Result: r}})
	if len(rates) != 1 || rates[0].value != 0.9 || len(times) != 1 || times[0].value < 1.9 || times[0].value > 2.1 {
		t.Errorf("the goals are told %+v and %+v", rates, times)
	}
}

// Goal: a picture has a line of a run for every moment in which it did something.
func TestPictureLeavesOutMomentsWithoutEvents(t *testing.T) {
	r := skewed()
	r.Skew.Runs[1].EventsPerSecond[5] = 0
	e := r.Skew.course("x")
	if len(e.Rates) != 3 || len(e.Rates[1].Points) != 12 || len(e.Times[1].Points) != 11 || !slices.Equal(e.Shifts, []float64{0.4}) || len(e.Marks[2]) != 2 {
		t.Errorf("%+v", e)
	}
}
