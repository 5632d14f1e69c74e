package report

import (
	"fmt"
	"time"

	"github.com/keyfold/keyfold/bench/report/chart"
	"github.com/keyfold/keyfold/bench/skew"
)

// Skew is what loads did whose hot keys change their place, and what rebalancing made of
// it.
type Skew struct {
	// Busiest is the share of the events that the busiest key has.
	Busiest float64 `json:"busiest_key"`
	// WorkNanos is how long Apply took beyond its own.
	WorkNanos int64 `json:"work_ns"`
	// ShiftSeconds are the moments at which the load shifts, SliceSeconds the length of
	// the parts of the time that are told apart.
	ShiftSeconds []float64 `json:"shift_seconds"`
	SliceSeconds float64   `json:"slice_seconds"`
	// Runs are one for each mode, the balanced one first if there is one.
	Runs []SkewRun `json:"runs"`
}

// A SkewRun is one run.
type SkewRun struct {
	Mode string `json:"mode"`
	// EventsPerSecond and P99 are those of each slice.
	EventsPerSecond []float64  `json:"slice_events_per_second"`
	P99             []int64    `json:"slice_p99_ns"`
	Moves           []SkewMove `json:"moves,omitempty"`
	// Advice is what an operator followed.
	Advice []SkewAdvice `json:"advice,omitempty"`
	// Even is the rate before the first shift, P99Even the p99 there, both without the
	// first second.
	Even    float64 `json:"even_events_per_second"`
	P99Even int64   `json:"even_p99_ns"`
	// Shifts are what came behind each shift.
	Shifts []SkewShift `json:"shifts"`
	// Keys is how many there are, all of which are what they must be.
	Keys int `json:"keys"`
}

// A SkewMove is a partition that got another shard.
type SkewMove struct {
	Seconds   float64 `json:"seconds"` // when it ended
	TookNanos int64   `json:"took_ns"`
	Partition int     `json:"partition"`
	From      int     `json:"from"`
	To        int     `json:"to"`
}

// A SkewAdvice is what the engine said would help.
type SkewAdvice struct {
	Seconds float64 `json:"seconds"`
	Moves   int     `json:"moves"`
	// Gain is how much more the engine could take, it says, as a share of what it takes.
	Gain float64 `json:"gain"`
}

// A SkewShift is what came of a shift of the load.
type SkewShift struct {
	// Rate is that from settleAfter behind the shift to the next one, and OfBalanced what
	// part it is of that of the balanced run at the same time; 0 without one.
	Rate       float64 `json:"events_per_second"`
	OfBalanced float64 `json:"of_balanced"`
	// BackSeconds is how long behind the shift the rate came back to backTo of the
	// balanced run's; -1: it did not.
	BackSeconds float64 `json:"back_seconds"`
	// Moves is how many partitions moved, and P99Moving the p99 from when the first of them
	// began to when the last had ended; 0 without moves.
	Moves     int   `json:"moves"`
	P99Moving int64 `json:"moving_p99_ns"`
}

const (
	settleAfter = 2 * time.Second // after a shift a load should be back to
	backTo      = 0.85            // of the balanced run
	backOver    = 3               // slices that are looked at together
	warmFor     = time.Second
)

// Add adds a run to the ones before it, which it is compared with.
func (s *Skew) Add(o *skew.Options, r *skew.Result) {
	run := SkewRun{Mode: string(o.Mode), Keys: r.Keys}
	for i, slice := range r.Slices {
		length := o.Slice.Seconds()
		run.EventsPerSecond = append(run.EventsPerSecond, float64(slice.Events)/length)
		run.P99 = append(run.P99, r.Slices[i].Times.ValueAtPercentile(99))
	}
	for _, m := range r.Moves {
		run.Moves = append(run.Moves, SkewMove{m.At.Seconds(), int64(m.Took), m.Partition, m.From, m.To})
	}
	for _, a := range r.Advice {
		run.Advice = append(run.Advice, SkewAdvice{a.At.Seconds(), a.Moves, a.Before/max(a.After, 1e-9) - 1})
	}
	warm := min(warmFor, o.Even/2)
	run.Even, run.P99Even = r.Rate(warm, o.Even), r.Times(warm, o.Even).ValueAtPercentile(99)
	s.ShiftSeconds, s.SliceSeconds = nil, o.Slice.Seconds()
	for phase := 1; phase <= o.Shifts; phase++ {
		s.ShiftSeconds = append(s.ShiftSeconds, o.Begins(phase).Seconds())
		run.Shifts = append(run.Shifts, s.shift(&run, o, r, phase))
	}
	s.Runs = append(s.Runs, run)
}

// shift is what came of one.
func (s *Skew) shift(run *SkewRun, o *skew.Options, r *skew.Result, phase int) SkewShift {
	begin, end := o.Begins(phase), o.Begins(phase+1)
	settled := begin + min(settleAfter, o.Phase/2)
	out := SkewShift{Rate: r.Rate(settled, end), BackSeconds: -1}
	if b := s.Balanced(); b != nil {
		if of := b.Shifts[phase-1].Rate; of > 0 {
			out.OfBalanced = out.Rate / of
		}
		out.BackSeconds = run.back(b, o, begin, end)
	}
	moves := r.MovesBetween(begin, end)
	if out.Moves = len(moves); out.Moves > 0 {
		first, last := moves[0].At-moves[0].Took, moves[0].At
		for _, m := range moves {
			first, last = min(first, m.At-m.Took), max(last, m.At)
		}
		whole := func(t time.Duration) time.Duration { return t / o.Slice * o.Slice }
		out.P99Moving = r.Times(whole(first), whole(last)+o.Slice).ValueAtPercentile(99)
	}
	return out
}

// back is how long it takes until a few slices in a row are back, on the average.
func (run *SkewRun) back(balanced *SkewRun, o *skew.Options, begin, end time.Duration) float64 {
	first, last := int(begin/o.Slice), int(end/o.Slice)
	want := backTo * mean(balanced.EventsPerSecond[first:last])
	for i := first; i+backOver <= last; i++ {
		if mean(run.EventsPerSecond[i:i+backOver]) >= want {
			return (time.Duration(i)*o.Slice - begin).Seconds()
		}
	}
	return -1
}

func mean(rates []float64) (sum float64) {
	for _, rate := range rates {
		sum += rate / float64(len(rates))
	}
	return sum
}

// around is the mean of a slice and of those beside it, backOver in all: what a picture
// shows, because a single slice shows the syncs.
func around(rates []float64, i int) float64 {
	return mean(rates[max(0, i-backOver/2):min(len(rates), i+backOver/2+1)])
}

// Balanced is the balanced run, or nil.
func (s *Skew) Balanced() *SkewRun {
	for i := range s.Runs {
		if s.Runs[i].Mode == string(skew.Balanced) {
			return &s.Runs[i]
		}
	}
	return nil
}

// course is the picture of the runs: what was settled, and how long that took.
func (s *Skew) course(title string) chart.Events {
	e := chart.Events{Title: title, Shifts: s.ShiftSeconds, ShiftName: "the load shifts", MarkName: "a partition moves, in the colour of its run"}
	for i := range s.Runs {
		run := &s.Runs[i]
		rates, times := chart.Line{Name: skewNames[run.Mode]}, chart.Line{Name: run.Mode}
		for j, rate := range run.EventsPerSecond {
			at := (float64(j) + 0.5) * s.SliceSeconds
			rates.Points = append(rates.Points, chart.Point{X: at, Y: around(run.EventsPerSecond, j)})
			if rate > 0 {
				times.Points = append(times.Points, chart.Point{X: at, Y: float64(max(1, run.P99[j]))})
			}
		}
		var moved []float64
		for _, m := range run.Moves {
			moved = append(moved, m.Seconds)
		}
		e.Rates, e.Times, e.Marks = append(e.Rates, rates), append(e.Times, times), append(e.Marks, moved)
	}
	return e
}

// skewNames are what a picture calls the runs.
var skewNames = map[string]string{
	string(skew.Balanced):  "balanced: it shifts to other partitions, evenly",
	string(skew.Off):       "off: nothing is done",
	string(skew.Advised):   "advised: an operator makes the moves that are advised, a second later",
	string(skew.Automatic): "automatic: the engine makes the moves",
}

// Picture draws the runs.
func (s *Skew) Picture(title string) ([]byte, error) { return chart.Course(s.course(title)) }

// skewTables are about loads that shift, a table each.
func skewTables(entries []entry) (list []*table) {
	for i := range entries {
		list = append(list, skewTable(&entries[i]))
	}
	return list
}

func skewTable(r *entry) *table {
	t := newTable("input", "event", "shards", "mode", "even, events/s", "p99", "shift", "then events/s", "of balanced", "back to 0.85 after", "moves", "p99 meanwhile", "to even", "keys right")
	t.caption = fmt.Sprintf("Apply takes %s longer than it must, the busiest key has %.2g %% of the events", Nanos(r.Skew.WorkNanos), 100*r.Skew.Busiest)
	for i := range r.Skew.Runs {
		run := &r.Skew.Runs[i]
		for j, s := range run.Shifts {
			of, back, moving, ratio := "-", "-", "-", "-"
			if s.OfBalanced > 0 {
				of = fmt.Sprintf("%.2f", s.OfBalanced)
				if back = "not at all"; s.BackSeconds >= 0 {
					back = fmt.Sprintf("%.1f s", s.BackSeconds)
				}
			}
			if s.Moves > 0 {
				moving, ratio = Nanos(s.P99Moving), fmt.Sprintf("%.2f", quotient(float64(s.P99Moving), float64(run.P99Even)))
			}
			t.row(r, r.Input, r.event(), fmt.Sprint(r.Shards), run.Mode, Count(int64(run.Even)), Nanos(run.P99Even), fmt.Sprint(j+1),
				Count(int64(s.Rate)), of, back, fmt.Sprint(s.Moves), moving, ratio, Count(run.Keys))
		}
		for _, a := range run.Advice {
			t.notes = append(t.notes, fmt.Sprintf("%s, at %.1f s: %s would gain %.0f %%", run.Mode, a.Seconds, plural(a.Moves, "move"), 100*a.Gain))
		}
	}
	return t
}

// skewFigures are those of the automatic runs.
func skewFigures(of func(run *SkewRun, s *SkewShift) float64) func([]entry) []figure {
	return those(ofSkew, func(e *entry) (list []figure) {
		for i := range e.Skew.Runs {
			run := &e.Skew.Runs[i]
			if run.Mode != string(skew.Automatic) {
				continue
			}
			for j := range run.Shifts {
				if v := of(run, &run.Shifts[j]); v > 0 {
					list = append(list, figure{of: fmt.Sprintf("%s, shift %d", e.short(), j+1), value: v})
				}
			}
		}
		return list
	})
}

var (
	skewRates = skewFigures(func(_ *SkewRun, s *SkewShift) float64 { return s.OfBalanced })
	skewTimes = skewFigures(func(run *SkewRun, s *SkewShift) float64 {
		return quotient(float64(s.P99Moving), float64(run.P99Even))
	})
)
