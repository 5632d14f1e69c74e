package store

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// againCounts count what was sent again: callers add to them, and Again looks at them.
type againCounts struct{ resent, unanswered, different atomic.Uint64 }

// Again counts the events that were sent again so far.
func (s *folded[S, E, R]) Again() Again {
	return Again{Resent: s.again.resent.Load(), Unanswered: s.again.unanswered.Load(), Different: s.again.different.Load()}
}

// doOnce calls with an id, and calls again if it is the turn of the event: half of these
// calls are repeated when they are answered, the others are given up first, as by a client
// who has gone away, so that nobody knows what became of them.
func (s *folded[S, E, R]) doOnce(ctx context.Context, e workload.Event) error {
	id, key, event := idOf(s.options.First, e.Ordinal), string(e.Key), s.of(e)
	if !s.options.resent(e.Ordinal) {
		_, err := s.table.DoOnce(ctx, id, key, event, s.ack)
		return err
	}
	first, known := *new(R), false
	if scatter(e.Ordinal)&1 == 0 {
		answer, err := s.table.DoOnce(ctx, id, key, event, s.ack)
		if err != nil {
			return err
		}
		first, known = answer, true
	} else {
		s.again.unanswered.Add(1)
		hasty, end := context.WithTimeout(ctx, giveUpAfter)
		answer, err := s.table.DoOnce(hasty, id, key, event, s.ack)
		end()
		switch {
		case err == nil:
			first, known = answer, true
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
	s.again.resent.Add(1)
	answer, err := s.table.DoOnce(ctx, id, key, event, s.ack)
	if err == nil && known {
		s.compare(first, answer)
	}
	return err
}

// compare compares the answers to two calls with the same id.
func (s *folded[S, E, R]) compare(first, again R) {
	if first != again {
		s.again.different.Add(1)
	}
}

// batches is a door whose events are sent in batches, each of which is waited for.
type batches[S, E any, R comparable] struct {
	store *folded[S, E, R]
	batch *engine.Batch
	size  int
	first uint64 // of the layers
	open  uint64 // events in the batch
	done  uint64
	pairs []*repeat[E, R] // in the batch, or waiting for the next one
	spare []*repeat[E, R]
}

// repeat is an event that is sent again, in the same batch or in the next one.
type repeat[E, R any] struct {
	ordinal      uint64
	key          string
	event        E
	first, again engine.Result[R]
	sent         bool // the second time, too
}

func newBatches[S, E any, R comparable](s *folded[S, E, R], window int) *batches[S, E, R] {
	return &batches[S, E, R]{store: s, batch: s.engine.Batch(), size: window, first: s.options.First}
}

// Repeater is a door for the events of an earlier stream, whose Layers had this First: those
// that were done then are not done again. Events must have ids.
func (s *folded[S, E, R]) Repeater(first uint64, window int) bench.Producer {
	b := newBatches(s, window)
	b.first = first
	return b
}

// Send puts an event into the batch, twice if it is its turn.
func (b *batches[S, E, R]) Send(ctx context.Context, e workload.Event) error {
	s := b.store
	event, key := s.of(e), string(e.Key)
	switch {
	case s.options.Once == 0:
		s.table.Put(b.batch, key, event, nil)
	case !s.options.resent(e.Ordinal):
		s.table.PutOnce(b.batch, idOf(b.first, e.Ordinal), key, event, nil)
	default:
		b.putTwice(e.Ordinal, key, event)
	}
	b.open++
	if b.batch.Len() >= b.size {
		return b.Flush(ctx)
	}
	return nil
}

// putTwice puts an event that is sent again: at once, before it can have an answer, or with
// the next batch.
func (b *batches[S, E, R]) putTwice(ordinal uint64, key string, event E) {
	r := new(repeat[E, R])
	if n := len(b.spare); n > 0 {
		r, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	*r = repeat[E, R]{ordinal: ordinal, key: key, event: event}
	b.store.table.PutOnce(b.batch, idOf(b.first, ordinal), key, event, &r.first)
	if scatter(ordinal)&1 == 0 {
		b.store.again.unanswered.Add(1)
		b.putAgain(r)
	}
	b.pairs = append(b.pairs, r)
}

func (b *batches[S, E, R]) putAgain(r *repeat[E, R]) {
	b.store.again.resent.Add(1)
	b.store.table.PutOnce(b.batch, idOf(b.first, r.ordinal), r.key, r.event, &r.again)
	r.sent = true
}

// Push sends the batch, and waits for it: there is no other way.
func (b *batches[S, E, R]) Push() error { return b.Flush(context.Background()) }

// Flush sends the batch. What is to be sent again begins the next one.
func (b *batches[S, E, R]) Flush(ctx context.Context) error {
	if b.batch.Len() == 0 {
		return nil
	}
	if err := b.batch.Do(ctx, b.store.ack); err != nil {
		return err
	}
	b.done, b.open = b.done+b.open, 0
	waiting := b.pairs[:0]
	for _, r := range b.pairs {
		if r.sent {
			b.store.compare(r.first.Value, r.again.Value)
			b.spare = append(b.spare, r)
		} else {
			waiting = append(waiting, r)
		}
	}
	b.pairs = waiting
	for _, r := range b.pairs {
		b.putAgain(r)
	}
	return nil
}

// Settled is exact: a batch is done, or not.
func (b *batches[S, E, R]) Settled() uint64 { return b.done }

// Close sends the rest of what is sent again.
func (b *batches[S, E, R]) Close(ctx context.Context) error {
	for b.batch.Len() > 0 {
		if err := b.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
