package enginetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

var seedFlag = flag.Uint64("enginetest.seed", 0, "seed of the events that Check generates; 0: a new one")

// How much Check does. All of it takes a second or two for a table that is no slower
// than most.
const (
	foldEvents  = 300 // of the checks that fold
	crashEvents = 16  // of the check that crashes: it runs them after each operation of the disk
	advanceMax  = 5 * time.Millisecond
)

// A Generator makes up an event for a table. Everything in it must come from random. Keys
// should come again and again, a few dozen of them, and now and then an event should do
// what is rare.
type Generator[K comparable, E any] func(random *rand.Rand) (K, E)

// Check tries whether a table keeps what the engine demands of it, with events from
// generate. The table must not be open. Its checks are subtests:
//
//	codecs       keys, states and events come back from their bytes; equal keys have equal
//	             bytes, and different keys different ones
//	check        Check does not change the state
//	determinism  folding the same log twice, and the same events with the partitions in
//	             another order, gives the same states: no clock but that of the Context, no
//	             order of a map, nothing that is kept outside of the state
//	undo         a panic in Apply leaves the state as it was, so that Clone, or the codec
//	             in its place, copies all of it
//	crashes      after a crash at each operation of the disk everything is there that was
//	             acknowledged, and nothing that was not sent
//
// States are compared as they lie in memory, unexported fields included; an empty slice
// or map is like none. What fails prints its seed and how to repeat it.
func Check[K comparable, S, E, R any](t *testing.T, table *engine.Table[K, S, E, R], generate Generator[K, E]) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := &trial[K, S, E, R]{spec: table.Spec(), generate: generate, seed: seed}
	for _, c := range r.checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(); err != nil {
				t.Errorf("table %q: %v\nrepeat with: go test -run '^%s$' -enginetest.seed %d", r.spec.Name, err, t.Name(), seed)
			}
		})
	}
}

// A trial is a table that is tried.
type trial[K comparable, S, E, R any] struct {
	spec     engine.Spec[K, S, E, R]
	generate Generator[K, E]
	seed     uint64
}

// A check is one of those that Check makes.
type check struct {
	name string
	run  func() error
}

func (r *trial[K, S, E, R]) checks() []check {
	return []check{
		{"codecs", r.codecs}, {"check", r.pure}, {"determinism", r.determinism}, {"undo", r.undo}, {"crashes", r.crashes},
	}
}

// A sending is one event, with the time that it is sent at.
type sending[K comparable, E any] struct {
	key   K
	event E
	at    time.Time
}

// events are the first n events of the trial, always the same.
func (r *trial[K, S, E, R]) events(n int) []sending[K, E] {
	random := rand.New(rand.NewPCG(r.seed, 0))
	now := Epoch
	all := make([]sending[K, E], n)
	for i := range all {
		now = now.Add(time.Duration(random.Int64N(int64(advanceMax))))
		all[i].at = now
		all[i].key, all[i].event = r.generate(random)
	}
	return all
}

// keysOf are the keys of events, each once.
func keysOf[K comparable, E any](events []sending[K, E]) (keys []K) {
	seen := make(map[K]bool)
	for _, e := range events {
		if !seen[e.key] {
			seen[e.key] = true
			keys = append(keys, e.key)
		}
	}
	return keys
}

// An image is what a store shows of each key: its state as text, or absent.
type image[K comparable] map[K]string

const absent = "no state"

// look shows the states of keys.
func look[K comparable, S, E, R any](table *engine.Table[K, S, E, R], keys []K) (image[K], error) {
	all := make(image[K])
	for _, k := range keys {
		text, err := lookAt(table, k)
		if err != nil {
			return nil, err
		}
		all[k] = text
	}
	return all, nil
}

func lookAt[K comparable, S, E, R any](table *engine.Table[K, S, E, R], k K) (text string, err error) {
	found, err := table.View(context.Background(), k, func(s *S) { text = dump(s) })
	if err != nil {
		return "", fmt.Errorf("look at key %s: %w", dump(&k), err)
	}
	if !found {
		text = absent
	}
	return text, nil
}

// differ says in which key, the first of keys, two images differ.
func differ[K comparable](keys []K, what, than string, have, want image[K]) error {
	for _, k := range keys {
		if have[k] != want[k] {
			return fmt.Errorf("key %s differs:\n%s: %s\n%s: %s", dump(&k), what, have[k], than, want[k])
		}
	}
	return nil
}

// send sends an event. The error is one that ends the run: that Check refuses an event is
// none.
func send[K comparable, S, E, R any](table *engine.Table[K, S, E, R], e sending[K, E]) error {
	_, err := table.Do(context.Background(), e.key, e.event)
	switch {
	case errors.Is(err, engine.ErrPanicked):
		return fmt.Errorf("event %s for key %s: %w", dump(&e.event), dump(&e.key), err)
	case errors.Is(err, engine.ErrShardFailed), errors.Is(err, engine.ErrClosed), errors.Is(err, engine.ErrReadOnly), errors.Is(err, engine.ErrTooLarge):
		return err
	}
	return nil // done, or refused by Check
}
