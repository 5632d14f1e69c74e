package fuzz

import (
	"context"
	"errors"

	"github.com/keyfold/keyfold/engine"
)

// A sender is a producer of the rig, with what it has sent since the last flush.
type sender struct {
	producer *engine.Producer[string, tally, step, tally]
	ack      engine.Ack
	pending  map[int]bool // partitions with events that are not acknowledged
	wrong    error        // what Refused was given and must not have been
	failed   error        // that the shard has failed
}

// produce sends an event through a producer, which may keep it for itself.
func (r *rig) produce(key string, s step, ack engine.Ack) error {
	if r.sender == nil || r.sender.ack != ack {
		if err := r.turnTo(ack); err != nil {
			return err
		}
	}
	ctx, cancel := patiently()
	defer cancel()
	s.Number = r.number.Add(1)
	p := r.partition(key)
	wanted := s.Action == count || s.Action == remove
	if wanted {
		r.oracle.submit(p, event{name: name{false, key}, step: s})
	}
	if err := r.sender.producer.Send(ctx, key, s); err != nil {
		if wanted {
			r.oracle.takeBack(p)
		}
		return judgeFailure(err)
	}
	r.sender.pending[p] = true
	return nil
}

// turnTo opens a producer with another ack.
func (r *rig) turnTo(ack engine.Ack) error {
	if err := r.flush(); err != nil {
		return err
	}
	s := &sender{ack: ack, pending: map[int]bool{}}
	producer, err := r.tallies.Producer(engine.ProducerOptions[string, step]{Ack: ack, Refused: s.refused})
	if err != nil {
		return judgeFailure(err)
	}
	if r.sender != nil {
		if err := r.sender.producer.Close(context.Background()); err != nil {
			return judgeFailure(err)
		}
	}
	s.producer, r.sender = producer, s
	return nil
}

// refused takes back what was not done: what was to be refused, or what came when the
// shard had failed. Of the latter the oracle is not told: that it was submitted is
// true, and nothing comes behind it.
func (s *sender) refused(_ string, e step, err error) {
	switch {
	case e.Action == refuse && errors.Is(err, errUnwanted), e.Action == panics && errors.Is(err, engine.ErrPanicked):
	case judgeFailure(err) == err:
		s.failed = err
	default:
		s.wrong = violated("event %d was handed back: %w", e.Number, err)
	}
}

// flush waits until what the producer has sent is acknowledged.
func (r *rig) flush() error {
	s := r.sender
	if s == nil || len(s.pending) == 0 {
		return nil
	}
	ctx, cancel := patiently()
	defer cancel()
	err := s.producer.Flush(ctx)
	switch {
	case s.wrong != nil:
		return s.wrong
	case err != nil:
		return judgeFailure(err)
	case s.failed != nil:
		return s.failed
	}
	for p := range s.pending {
		r.oracle.lines[p].note(s.ack)
	}
	clear(s.pending)
	return nil
}
