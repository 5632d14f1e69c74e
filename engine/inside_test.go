package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// nested calls f from functions of a table, below so many frames of the stack.
type nested struct {
	table *engine.Table[string, int64, int64, int64]
	store *enginetest.Store
	call  func()
	depth int
}

func newNested(t *testing.T) *nested {
	n := &nested{}
	run := func() { deeper(n.depth, n.call) }
	n.table = engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "nested",
		Init: func(c *engine.Context[string], _ *int64) {
			if c.Key() == "init" {
				run()
			}
		},
		Check: func(c *engine.Context[string], _ *int64, _ int64) error {
			if c.Key() == "check" {
				run()
			}
			return nil
		},
		Apply: func(c *engine.Context[string], s *int64, e int64) int64 {
			if c.Key() == "apply" {
				run()
			}
			if c.Key() == "init" {
				c.Delete() // so that the next event begins with Init again
			}
			*s += e
			return *s
		},
	})
	n.store = enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 16}, n.table)
	return n
}

// deeper calls f with the stack grown by about depth KiB.
//
//go:noinline
func deeper(depth int, f func()) {
	var pad [1024]byte
	if depth == 0 {
		f()
		return
	}
	deeper(depth-1, f)
	pad[depth%1024]++
}

// Goal: a call into the engine from within a function of one of its tables is
// refused instead of waiting for itself, whatever it is, in functions that need no more stack than most.
func TestCallsFromInsideAreRefused(t *testing.T) {
	n := newNested(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // where all is well it never ends
	defer cancel()
	p, err := n.table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	calls := map[string]func() error{
		"Do":    func() error { _, err := n.table.Do(ctx, "other", 1); return err },
		"TryDo": func() error { _, err := n.table.TryDo(ctx, "other", 1); return err },
		"Get":   func() error { _, _, err := n.table.Get(ctx, "other"); return err },
		"View":  func() error { _, err := n.table.View(ctx, "other", func(*int64) {}); return err },
		"All": func() (last error) {
			for _, err := range n.table.All(ctx) {
				last = err
			}
			return last
		},
		"Batch": func() error {
			b := n.store.Engine().Batch()
			n.table.Put(b, "other", 1, nil)
			return b.Do(ctx)
		},
		"Flush": func() error {
			if err := p.Send(ctx, "later", 0); err != nil {
				return err
			}
			return p.Flush(ctx)
		},
		"Snapshot": func() error { return n.store.Engine().Snapshot(ctx) },
		"Stats":    func() error { _, err := n.store.Engine().Stats(ctx); return err },
		"Close":    func() error { return n.store.Engine().Close() },
		"Shutdown": func() error { return n.store.Engine().Shutdown(ctx) },
	}
	for name, call := range calls {
		for _, where := range []string{"init", "check", "apply", "view"} {
			for _, depth := range []int{0, 4, 12} {
				inner := errors.New("nobody called")
				n.call, n.depth = func() { inner = call() }, depth
				if where == "view" {
					do(t, n.table, "view", 1)
					_, err = n.table.View(ctx, "view", func(*int64) { deeper(depth, n.call) })
				} else {
					_, err = n.table.Do(ctx, where, 1)
				}
				if err != nil || !errors.Is(inner, engine.ErrInside) {
					t.Fatalf("%s in %s below %d KiB of stack: %v, outside %v", name, where, depth, inner, err)
				}
				n.call = func() {}
			}
		}
	}
	if _, found := get(t, n.table, "other"); found {
		t.Error("a call from inside was done")
	}
	must(t, p.Close(ctx))
}

// Goal: a function of one engine's table may use another engine.
func TestAnotherEngineMayBeCalledFromInside(t *testing.T) {
	n := newNested(t)
	other := counters("other")
	enginetest.Open(t, other)
	var inner error
	n.call = func() { _, inner = other.Do(context.Background(), "k", 1) }
	do(t, n.table, "apply", 1)
	if inner != nil {
		t.Error(inner)
	}
	if v, _ := get(t, other, "k"); v != 1 {
		t.Errorf("%d", v)
	}
}

// Goal: callers whose stacks lie wherever are not taken for functions of a table.
func TestCallsFromOutsideAreNeverTakenForInside(t *testing.T) {
	n := newNested(t)
	n.call = func() {}
	errs := make(chan error)
	for i := range 64 {
		go func() {
			var err error
			deeper(i, func() { _, err = n.table.Do(context.Background(), fmt.Sprint(i), 1, engine.Applied) })
			errs <- err
		}()
	}
	for range 64 {
		must(t, <-errs)
	}
}
