package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// codecs tries the codecs of the Spec on keys, events, and states as Apply has left them.
func (r *trial[K, S, E, R]) codecs() error {
	events := r.events(foldEvents)
	if err := r.keyCodec(events); err != nil {
		return err
	}
	for _, e := range events {
		if c := r.spec.EventCodec; c != nil {
			if err := roundTrip(c, "EventCodec", &e.event); err != nil {
				return err
			}
		}
	}
	if r.spec.StateCodec == nil {
		return nil
	}
	s := newSite(r.spec, crashfs.New())
	defer s.end()
	if err := s.open(1); err != nil {
		return err
	}
	for _, e := range events {
		if _, err := s.send(e); err != nil {
			return err
		}
		var wrong error
		_, err := s.table.View(context.Background(), e.key, func(state *S) { wrong = roundTrip(r.spec.StateCodec, "StateCodec", state) })
		if err = errors.Join(err, wrong); err != nil {
			return err
		}
	}
	return nil
}

// keyCodec tries that bytes and keys belong together one to one.
func (r *trial[K, S, E, R]) keyCodec(events []sending[K, E]) error {
	c := r.spec.KeyCodec
	if c == nil {
		return nil
	}
	byKey, byBytes := make(map[K]string), make(map[string]K)
	for _, e := range events {
		if err := roundTrip(c, "KeyCodec", &e.key); err != nil {
			return err
		}
		b, _ := c.Append(nil, e.key)
		if other, known := byKey[e.key]; known && other != string(b) {
			return fmt.Errorf("KeyCodec: key %s has been %x and is %x: equal keys must have equal bytes", dump(&e.key), other, b)
		}
		if other, known := byBytes[string(b)]; known && other != e.key {
			return fmt.Errorf("KeyCodec: keys %s and %s are both %x: different keys must have different bytes", dump(&other), dump(&e.key), b)
		}
		byKey[e.key], byBytes[string(b)] = string(b), e.key
	}
	return nil
}

// roundTrip tries that a value comes back from its bytes.
func roundTrip[T any](c engine.Codec[T], what string, v *T) error {
	shown := dump(v)
	prefix := []byte("what was there before")
	longer, err := c.Append(bytes.Clone(prefix), *v)
	if err != nil {
		return fmt.Errorf("%s: Append of %s: %w", what, shown, err)
	}
	if !bytes.HasPrefix(longer, prefix) {
		return fmt.Errorf("%s: Append of %s does not keep what was there before", what, shown)
	}
	b := longer[len(prefix):]
	borrowed := bytes.Clone(b)
	var back T
	if err := c.Decode(borrowed, &back); err != nil {
		return fmt.Errorf("%s: Decode of %x, which is %s: %w", what, b, shown, err)
	}
	for i := range borrowed {
		borrowed[i] ^= 0xff // whoever has kept it sees something else now
	}
	if again := dump(&back); again != shown {
		return fmt.Errorf("%s: a value does not come back from its bytes %x, or keeps them:\nbefore: %s\nafter:  %s", what, b, shown, again)
	}
	again, err := c.Append(nil, back)
	if err == nil {
		err = c.Decode(bytes.Clone(again), &back)
	}
	if err != nil || dump(&back) != shown {
		return fmt.Errorf("%s: %s is encoded as %x, decoded, encoded as %x, and decoded as %s: %v", what, shown, b, again, dump(&back), err)
	}
	return nil
}

// pure tries that Check leaves the state alone.
func (r *trial[K, S, E, R]) pure() error {
	if r.spec.Check == nil {
		return nil
	}
	spec, wrong := r.spec, error(nil)
	spec.Check = func(c *engine.Context[K], s *S, e E) error {
		before := dump(s)
		err := r.spec.Check(c, s, e)
		if after := dump(s); after != before && wrong == nil {
			wrong = fmt.Errorf("Check of event %s has changed the state:\nbefore: %s\nafter:  %s", dump(&e), before, after)
		}
		return err
	}
	s := newSite(spec, crashfs.New())
	defer s.end()
	if err := s.open(1); err != nil {
		return err
	}
	_, err := s.sendAll(r.events(foldEvents))
	s.end() // the shard has written wrong
	return errors.Join(wrong, err)
}

var kept = crashfs.Model{Data: crashfs.Kept}

// determinism folds the same events again and again.
func (r *trial[K, S, E, R]) determinism() error {
	events := r.events(foldEvents)
	keys := keysOf(events)
	s := newSite(r.spec, crashfs.New())
	defer s.end()
	if err := s.open(2); err != nil {
		return err
	}
	if _, err := s.sendAll(events); err != nil {
		return err
	}
	first, err := look(s.table, keys)
	if err != nil {
		return err
	}
	s.hurry()
	for _, shards := range []int{2, 3} {
		again := newSite(r.spec, s.crash(kept))
		defer again.end()
		if err := again.open(shards); err != nil {
			return fmt.Errorf("the log cannot be folded again: %w", err)
		}
		have, err := look(again.table, keys)
		if err == nil {
			err = differ(keys, "from its log", "at first    ", have, first)
		}
		if err != nil {
			return fmt.Errorf("a fold is not deterministic, by Apply or Init: %w", err)
		}
		again.crash(kept)
	}
	return r.order(events, keys)
}

// order folds the events in their order, and then partition by partition, which changes
// the order of no partition. The clock stands still, because it must not run back. A table
// that is not deterministic may have come through the folds before by chance, so what
// differs is folded some more times in the same order.
func (r *trial[K, S, E, R]) order(events []sending[K, E], keys []K) error {
	for i := range events {
		events[i].at = Epoch
	}
	straight, partitions, err := r.states(events, keys)
	if err != nil {
		return err
	}
	events = byPartition(events, partitions)
	sorted, _, err := r.states(events, keys)
	if err != nil {
		return err
	}
	differs := differ(keys, "by partitions", "as they came ", sorted, straight)
	if differs == nil {
		return nil
	}
	for range foldsAgain {
		again, _, err := r.states(events, keys)
		if err == nil {
			err = differ(keys, "again      ", "before that", again, sorted)
		}
		if err != nil {
			return fmt.Errorf("a fold is not deterministic, by Apply or Init: %w", err)
		}
	}
	return fmt.Errorf("a state depends on what happened in other partitions: %w", differs)
}

// foldsAgain is how often events are folded in the same order to tell chance from order.
const foldsAgain = 6

// states folds events in a new store, and says in which partition each was.
func (r *trial[K, S, E, R]) states(events []sending[K, E], keys []K) (states image[K], partitions []int, err error) {
	s := newSite(r.spec, crashfs.New())
	defer s.end()
	if err := s.open(1); err != nil {
		return states, nil, err
	}
	if partitions, err = s.sendAll(events); err == nil {
		states, err = look(s.table, keys)
	}
	return states, partitions, err
}

// byPartition sorts events by their partitions and keeps the order in each.
func byPartition[K comparable, E any](events []sending[K, E], partitions []int) []sending[K, E] {
	var sorted []sending[K, E]
	for p := range slices.Max(partitions) + 1 {
		for i, e := range events {
			if partitions[i] == p {
				sorted = append(sorted, e)
			}
		}
	}
	return sorted
}

// undo has Apply panic before each event, when it has changed the state.
func (r *trial[K, S, E, R]) undo() error {
	spec, events := r.spec, r.events(foldEvents)
	var panics atomic.Bool // the loop's store publishes to Apply
	spec.Apply = func(c *engine.Context[K], s *S, e E) R {
		result := r.spec.Apply(c, s, e)
		if panics.Load() {
			panic("on purpose, by enginetest")
		}
		return result
	}
	s := newSite(spec, crashfs.New())
	defer s.end()
	if err := s.open(1); err != nil {
		return err
	}
	for _, e := range events {
		if err := s.advance(e.at); err != nil {
			return err
		}
		before, err := lookAt(s.table, e.key)
		if err != nil {
			return err
		}
		panics.Store(true)
		_, _ = s.table.Do(context.Background(), e.key, e.event) // it panics, or Check refuses it
		panics.Store(false)
		after, err := lookAt(s.table, e.key)
		if err == nil && after != before {
			err = fmt.Errorf("after Apply panicked on event %s for key %s the state is not as it was; Clone, or else StateCodec, must copy all of it:\nbefore: %s\nafter:  %s",
				dump(&e.event), dump(&e.key), before, after)
		}
		if err == nil {
			_, err = s.send(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
