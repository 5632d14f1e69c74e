package rival

import (
	"context"
	"sync"

	"github.com/keyfold/keyfold/bench/limit"
)

// nullRow is the driver alone: its callers reach a store that does nothing.
func nullRow() *Rival {
	return &Rival{
		Name: "null", About: "the null row of package limit: each call goes to one goroutine and back; what callers cost",
		Only: Always, Doors: []Door{Callers}, Volatile: true, Forgets: true, Lanes: always(1),
		Open: func(Config) (Store, error) {
			s := &nullStore{null: limit.NewNull()}
			s.callers.New = func() any { return limit.NewNullCaller() }
			return s, nil
		},
	}
}

type nullStore struct {
	null    *limit.Null
	callers sync.Pool
}

// Lane forgets.
func (s *nullStore) Lane(int) (Lane, error) { return new(nullLane), nil }

// Do goes to the goroutine and back.
func (s *nullStore) Do(int, *limit.Key, *limit.Event) error {
	c := s.callers.Get().(*limit.NullCaller)
	defer s.callers.Put(c)
	return s.null.Do(context.Background(), c)
}

// Each has nothing.
func (s *nullStore) Each(func([]byte, limit.State) error) error { return nil }

// Processes are none.
func (s *nullStore) Processes() []int { return nil }

// Close ends the goroutine.
func (s *nullStore) Close() error {
	s.null.Close()
	return nil
}

// nullLane counts what it forgets.
type nullLane uint64

// Apply forgets.
func (l *nullLane) Apply(batch limit.Stream) error {
	*l += nullLane(len(batch.Keys))
	return nil
}

// Settled is every event.
func (l *nullLane) Settled() uint64 { return uint64(*l) }

// Flush does nothing.
func (l *nullLane) Flush() error { return nil }
