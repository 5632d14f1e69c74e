package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// timed is a state whose key has a timer: each event sets it anew, and what the timer does
// is noted, so that it can be judged from the state alone, whatever crashed meanwhile.
type timed struct {
	workload.Stats
	Due   int64  // of the timer, in nanoseconds since 1970; 0: it is not set
	Fired uint64 // how often it has
	Wrong uint64 // of these, early or without being set
}

// fire is what the timer does.
func (s *timed) fire(now int64) {
	if s.Due == 0 || now < s.Due {
		s.Wrong++
	}
	s.Due = 0
	s.Fired++
}

// timing is a table whose events set the timer of their key to so much later.
func timing[E any](spec engine.Spec[string, workload.Stats, E, struct{}], after time.Duration, note *journal) engine.Spec[string, timed, E, struct{}] {
	apply := spec.Apply
	return engine.Spec[string, timed, E, struct{}]{
		Name: spec.Name, Version: spec.Version, EventCodec: spec.EventCodec,
		Apply: func(c *engine.Context[string], s *timed, e E) struct{} {
			at := c.Now().Add(after)
			s.Due = at.UnixNano()
			c.SetTimer(at)
			return apply(c, &s.Stats, e)
		},
		OnTimer: func(c *engine.Context[string], s *timed) {
			now := c.Now().UnixNano()
			note.fired(now - s.Due)
			s.fire(now)
		},
	}
}

// journal notes what happens in time to the keys of a store while it is open: what a replay
// repeats is not in it. It is safe for concurrent use.
type journal struct {
	open  atomic.Bool // Open's store publishes to the functions of the table
	lives bool        // note the lives that end
	late  *bench.Times

	mu    sync.Mutex
	ended map[string][]workload.Life
	count uint64
}

func newJournal() *journal { return &journal{late: bench.NewTimes()} }

// fired notes by how much a timer was late.
func (j *journal) fired(late int64) {
	if j.open.Load() {
		j.late.Record(time.Duration(late))
	}
}

// expired notes the end of a key.
func (j *journal) expired(key []byte, s *workload.Stats) {
	if !j.open.Load() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count++
	if j.lives {
		if j.ended == nil {
			j.ended = map[string][]workload.Life{}
		}
		j.ended[string(key)] = append(j.ended[string(key)], s.Life())
	}
}

// NoteLives has the store note what keys were when their time was over, for Lives. It is
// called before the load.
func (s *folded[S, E, R]) NoteLives() { s.journal.lives = true }

// Lives calls fn for each key that has come to an end with what it was then, each time,
// in order.
func (s *folded[S, E, R]) Lives(fn func(key []byte, lives []workload.Life)) {
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, lives := range j.ended {
		fn([]byte(key), slices.Clone(lives))
	}
}

// Timers are what the timers of a store and the ends of its keys came to.
type Timers struct {
	// Fired is how often timers have, since the store was opened, Pending how many are set,
	// and Wrong how many have fired early, or twice.
	Fired   uint64 `json:"fired"`
	Pending uint64 `json:"pending"`
	Wrong   uint64 `json:"wrong"`
	// Noted is how often they have by what is in the states.
	Noted uint64 `json:"noted"`
	// Expired is how many keys have come to the end of their time.
	Expired uint64 `json:"expired"`
	// Late is by how much timers have fired late. It resolves milliseconds.
	Late bench.Latency `json:"late_ns"`
}

// Timers looks at all keys, and then at the counts: when no timer is set in any of them, and
// nobody sends events, the counts are final.
func (s *folded[S, E, R]) Timers(ctx context.Context) (t Timers, err error) {
	if s.options.Timer > 0 {
		for e, err := range s.table.All(ctx) {
			if err != nil {
				return t, err
			}
			state := any(&e.State).(*timed)
			t.Wrong += state.Wrong
			t.Noted += state.Fired
			if state.Due != 0 {
				t.Pending++
			}
		}
	}
	stats, err := s.engine.Stats(ctx)
	if err != nil {
		return t, err
	}
	t.Fired, t.Expired, t.Late = stats.Fired.Timers, stats.Fired.Expired, s.journal.late.Latency()
	return t, nil
}

// firesWithin is how long after it was due the last timer must have fired.
const firesWithin = 30 * time.Second

// AwaitTimers waits until no timer is set any more. Nobody may send events meanwhile.
func (s *folded[S, E, R]) AwaitTimers(ctx context.Context) (Timers, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(s.options.Timer + firesWithin); ; {
		t, err := s.Timers(ctx)
		switch {
		case err != nil || t.Pending == 0:
			return t, err
		case time.Now().After(end):
			return t, fmt.Errorf("store: %d timers have not fired %v after they were due", t.Pending, firesWithin)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}
