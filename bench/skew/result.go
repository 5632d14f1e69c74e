package skew

import (
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// A Slice is what was settled in a part of the time.
type Slice struct {
	End    time.Duration // since the beginning
	Events uint64
	Times  *hdr.Histogram // from when an event was read to when it was settled
}

// A Result is what came of a run.
type Result struct {
	Slices []Slice
	Moves  []Move
	Advice []Advice // that an operator followed
	Keys   int      // all of which are what they must be
	Events uint64   // that were sent, those that inserted the keys included
}

// result puts together what the feeders saw.
func (d *drive) result() (r Result) {
	for i := range d.feeders[0].slices[:d.total()/d.Slice] { // what is behind is no whole slice
		s := Slice{End: time.Duration(i+1) * d.Slice, Times: NewTimes()}
		for _, f := range d.feeders {
			s.Events += f.slices[i].events
			s.Times.Merge(f.slices[i].times)
		}
		r.Slices = append(r.Slices, s)
	}
	for _, f := range d.feeders {
		for _, sent := range f.sent {
			r.Events += sent
		}
	}
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	for _, m := range d.journal.moves {
		m.Move.At = m.at.Sub(d.began)
		r.Moves = append(r.Moves, m.Move)
	}
	r.Advice = d.journal.advice
	return r
}

// Rate is how many events a second were settled between two moments.
func (r *Result) Rate(from, to time.Duration) float64 {
	events, n := uint64(0), time.Duration(0)
	for s := range r.between(from, to) {
		events += s.Events
		n++
	}
	if n == 0 {
		return 0
	}
	return float64(events) / (n * r.Slices[0].End).Seconds()
}

// Times are those of the events that were settled between two moments.
func (r *Result) Times(from, to time.Duration) *hdr.Histogram {
	all := NewTimes()
	for s := range r.between(from, to) {
		all.Merge(s.Times)
	}
	return all
}

// between are the slices that lie between two moments, as a whole.
func (r *Result) between(from, to time.Duration) func(func(Slice) bool) {
	return func(yield func(Slice) bool) {
		for i, s := range r.Slices {
			begin := time.Duration(0)
			if i > 0 {
				begin = r.Slices[i-1].End
			}
			if begin >= from && s.End <= to && !yield(s) {
				return
			}
		}
	}
}

// MovesBetween are the moves that have ended between two moments.
func (r *Result) MovesBetween(from, to time.Duration) []Move {
	return slices.Collect(func(yield func(Move) bool) {
		for _, m := range r.Moves {
			if m.At >= from && m.At < to && !yield(m) {
				return
			}
		}
	})
}
