package job

import (
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

// PerKeyMax is the count of keys up to which every state is compared. Above it the
// counts of all states together are: folding a long load again would take longer than
// the load.
const PerKeyMax = 100_000

// Fields says what of a state a peer keeps.
type Fields int

// What a peer may keep.
const (
	All   Fields = iota
	Count        // the count of events only
)

// Expect is what the states must come to. It must be used by one goroutine at a time.
type Expect struct {
	keys   uint64
	states []limit.State // of each key, or nil if there are too many
	raced  []bool        // of each key: its last events were, so nobody knows which was the last
	total  int64
}

// NewExpect expects no events.
func NewExpect(keys uint64) *Expect {
	e := &Expect{keys: keys}
	if keys <= PerKeyMax {
		e.states, e.raced = make([]limit.State, keys), make([]bool, keys)
	}
	return e
}

// Filled expects the events of Fill.
func (e *Expect) Filled() {
	e.total += int64(e.keys)
	for i := range e.states {
		e.states[i].Fold(0)
	}
}

// Sent expects the first n events of a stream. raced says that they were sent in no
// particular order.
func (e *Expect) Sent(s limit.Stream, n uint64, raced bool) error {
	e.total += int64(n)
	for at := uint64(0); at < n && e.states != nil; {
		part := Next(s, at, n-at)
		for i := range part.Keys {
			number, err := workload.KeyNumber(part.Keys[i][:])
			if err != nil {
				return err
			}
			e.states[number].Fold(part.Events[i].Value)
			e.raced[number] = raced
		}
		at += uint64(len(part.Keys))
	}
	return nil
}

// A Check is what came of comparing the states of a store with what they must be.
type Check struct {
	OK bool `json:"ok"`
	// PerKey says whether each state was compared, or the sum of all counts only.
	PerKey bool   `json:"per_key"`
	Keys   uint64 `json:"keys"`
	Events int64  `json:"events"` // in the states
	Want   int64  `json:"want"`   // sent and acknowledged
	// Wrong is the count of keys with a wrong state, and Example one of them in words.
	Wrong   uint64 `json:"wrong"`
	Example string `json:"example,omitempty"`
}

// Compare checks the states that each calls its argument with. fields is what of them
// is kept.
func (e *Expect) Compare(fields Fields, each func(fn func(key []byte, s limit.State) error) error) (Check, error) {
	c := Check{Want: e.total, PerKey: e.states != nil}
	err := each(func(key []byte, s limit.State) error {
		c.Keys++
		c.Events += s.Count
		if e.states == nil {
			return nil
		}
		number, err := workload.KeyNumber(key)
		if err != nil || number >= e.keys {
			c.wrong("key %q was never sent", key)
			return nil
		}
		if e.raced[number] {
			s.Last = e.states[number].Last
		}
		if got, want := kept(s, fields), kept(e.states[number], fields); got != want {
			c.wrong("key %q has %+v and must have %+v", key, got, want)
		}
		return nil
	})
	c.OK = err == nil && c.Wrong == 0 && c.Events == c.Want && c.Keys == e.keys
	return c, err
}

// kept is the part of a state that a peer keeps.
func kept(s limit.State, fields Fields) limit.State {
	if fields == Count {
		return limit.State{Count: s.Count}
	}
	return s
}

func (c *Check) wrong(format string, a ...any) {
	c.Wrong++
	if c.Example == "" {
		c.Example = fmt.Sprintf(format, a...)
	}
}

// Err says in one sentence what is wrong, or is nil.
func (c *Check) Err() error {
	if c.OK {
		return nil
	}
	return fmt.Errorf("%d keys hold %d events and must hold %d; %d keys are wrong: %s", c.Keys, c.Events, c.Want, c.Wrong, c.Example)
}
