package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// A Reader reads the changes of a store while it is under load. It belongs to the goroutine
// that has begun it.
type Reader interface {
	// Finish reads what is left when the load is over, and ends the reader.
	Finish(ctx context.Context) (Read, error)
	// Close ends it. Behind Finish it does nothing.
	Close() error
	// All calls fn with each key and what its changes come to, if they are folded. It is
	// called behind Finish.
	All(ctx context.Context, fn func(key []byte, s *workload.Stats) error) error
}

// Read is what a Reader has read.
type Read struct {
	// Events is how many changes were events that were sent, Fired how many were timers and
	// ends of keys.
	Events uint64 `json:"events"`
	Fired  uint64 `json:"fired"`
	// Seconds is the time from the first to the last of them, PerSecond the rate.
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"events_per_second"`
	// Behind is how long after the load the last one was read, in seconds.
	Behind float64 `json:"behind_seconds"`
	// States says that each change came with the state that it left. Wrong is how many of
	// these were not what the changes up to there come to, if they are folded.
	States bool   `json:"states,omitempty"`
	Wrong  uint64 `json:"states_wrong,omitempty"`
	// Lag is from when an event was applied until it was read, of one event in 64 while the
	// load lasted. It resolves milliseconds.
	Lag bench.Latency `json:"lag_ns"`
}

// lagEvery is how many changes there are for each one whose lag is looked at.
const lagEvery = 64

// follower is a Reader, as a projection would be one: it can fold what it reads into states
// of its own, which must come to what the store has.
type follower[S, E any, R comparable] struct {
	store  *folded[S, E, R]
	fold   bool
	left   bool // changes come with the states that they left
	states map[string]*workload.Stats

	// These belong to run until ended is closed.
	changes *engine.Changes[string, S, E, R]
	read    Read
	began   time.Time
	lag     *bench.Times
	err     error

	stop  context.CancelFunc
	ended chan struct{}
}

// Follow begins to read the changes from the first one on, and folds them if it is to. With
// left it has them come with the states that they left, and compares these with its own. They
// are made by the functions of the table, which are then called for the reader, too: those of
// timers and of the ends of keys take note of what they do, and must not be.
func (s *folded[S, E, R]) Follow(fold, left bool) (Reader, error) {
	ctx, stop := context.WithCancel(context.Background())
	changes, err := s.table.Changes(ctx, engine.Position{}, engine.ChangesOptions{States: left})
	if err != nil {
		stop()
		return nil, err
	}
	f := &follower[S, E, R]{
		store: s, fold: fold, left: left, read: Read{States: left}, states: map[string]*workload.Stats{},
		changes: changes, lag: bench.NewTimes(), stop: stop, ended: make(chan struct{}),
	}
	go f.run(ctx)
	return f, nil
}

// run reads until it is stopped.
func (f *follower[S, E, R]) run(ctx context.Context) {
	defer close(f.ended)
	if err := f.follow(ctx, true); !errors.Is(err, context.Canceled) {
		f.err = err
	}
}

// follow reads until the first error; live says that the load goes on.
func (f *follower[S, E, R]) follow(ctx context.Context, live bool) error {
	for n := 0; ; n++ {
		c, err := f.changes.Next(ctx)
		if err != nil {
			return err
		}
		if live && n%lagEvery == 0 {
			now := time.Now()
			f.lag.Record(now.Sub(c.Time))
			if n == 0 {
				f.began = now
			}
		}
		if c.Timer {
			f.read.Fired++
			continue
		}
		f.read.Events++
		if f.fold {
			f.add(c.Key, f.store.sent(&c.Event))
		}
		if f.fold && f.left {
			f.compare(c.Key)
		}
	}
}

// add folds an event.
func (f *follower[S, E, R]) add(key string, e *event) {
	s := f.states[key]
	if s == nil {
		s = new(workload.Stats)
		f.states[key] = s
	}
	s.Fold(e.Ordinal, e.Value)
}

// compare compares the state that the last change left with what was folded.
func (f *follower[S, E, R]) compare(key string) {
	left, exists := f.changes.State()
	if want := f.states[key]; !exists || *f.store.stats(&left) != *want {
		f.read.Wrong++
	}
}

func (f *follower[S, E, R]) Finish(ctx context.Context) (Read, error) {
	over := time.Now()
	err := f.Close()
	if err == nil {
		err = f.rest(ctx)
	}
	now := time.Now()
	if f.began.IsZero() {
		f.began = over
	}
	f.read.Behind, f.read.Seconds = now.Sub(over).Seconds(), now.Sub(f.began).Seconds()
	f.read.PerSecond = float64(f.read.Events) / max(f.read.Seconds, 1e-9)
	f.read.Lag = f.lag.Latency()
	return f.read, err
}

// rest reads to the end. What States shows is durable, so that all of it is in front of
// that end.
func (f *follower[S, E, R]) rest(ctx context.Context) error {
	s, at := f.store, f.changes.Position()
	if _, err := s.table.States(ctx, func(string, S) error { return nil }); err != nil {
		return err
	}
	var err error
	if f.changes, err = s.table.Changes(ctx, at, engine.ChangesOptions{Stop: true, States: f.left}); err != nil {
		return err
	}
	if err = f.follow(ctx, false); errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, f.changes.Close())
}

func (f *follower[S, E, R]) Close() error {
	f.stop()
	<-f.ended
	return errors.Join(f.err, f.changes.Close())
}

func (f *follower[S, E, R]) All(_ context.Context, fn func(key []byte, s *workload.Stats) error) error {
	for key, s := range f.states {
		if err := fn([]byte(key), s); err != nil {
			return err
		}
	}
	return nil
}
