package pair

import (
	"context"
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

// Expected is what one thread computes from a stream: the states after one pass, by
// the number of the key.
type Expected []limit.State

// Expect computes it.
func Expect(keys uint64, s limit.Stream) (Expected, error) {
	e := make(Expected, keys)
	for i := range s.Keys {
		number, err := workload.KeyNumber(s.Keys[i][:])
		if err != nil || number >= keys {
			return nil, fmt.Errorf("pair: event %d has the key %q, which is not one of %d", i, s.Keys[i], keys)
		}
		e[number].Fold(s.Events[i].Value)
	}
	return e, nil
}

// after is the state of a key after an event of value 0 and so many passes.
func (e Expected) after(passes int, number uint64) limit.State {
	s, n := e[number], int64(passes)
	return limit.State{Count: 1 + n*s.Count, Sum: n * s.Sum, Last: s.Last, Max: s.Max}
}

// Check compares every state of a side after so many passes. Where the events of a key
// come from several sources at once, they have no order between them, so ordered is
// false and the last value is not compared.
func (e Expected) Check(ctx context.Context, side Side, passes int, ordered bool) error {
	states := 0
	err := side.Each(ctx, func(key *limit.Key, s *limit.State) error {
		states++
		number, err := workload.KeyNumber(key[:])
		if err != nil || number >= uint64(len(e)) {
			return fmt.Errorf("key %q was never sent", *key)
		}
		want := e.after(passes, number)
		if !ordered {
			want.Last = s.Last
		}
		if *s != want {
			return fmt.Errorf("key %q has the state %+v, and must have %+v", *key, *s, want)
		}
		return nil
	})
	if err == nil && states != len(e) {
		err = fmt.Errorf("%d keys are there, and must be %d", states, len(e))
	}
	if err != nil {
		return &WrongError{err}
	}
	return nil
}

// A WrongError says that a side does not hold what one thread computes.
type WrongError struct{ err error }

// Error says what was found.
func (e *WrongError) Error() string { return "pair: " + e.err.Error() }

// Unwrap is what was found.
func (e *WrongError) Unwrap() error { return e.err }
