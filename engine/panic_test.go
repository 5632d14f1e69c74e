package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// A trap is an event that makes one function of the table end badly.
type trap struct {
	At  string // "init", "check", "apply", "late": behind a change of the state
	How string // "panic", "nil", "goexit", "error"
	Add int64
}

func (e trap) spring(at string) {
	if e.At != at {
		return
	}
	switch e.How {
	case "panic":
		panic("trapped at " + at)
	case "nil":
		panic(nil)
	case "error":
		panic(errPoor)
	case "goexit":
		runtime.Goexit()
	}
}

// purses are states with a pointer or without, by S.
func purses[S any](add func(s *S, n int64) int64) *engine.Table[string, S, trap, int64] {
	var now trap // Init does not see the event
	return engine.NewTable(engine.Spec[string, S, trap, int64]{
		Name: "purses",
		Init: func(c *engine.Context[string], s *S) {
			if c.Key()[0] == '!' {
				trap{"init", c.Key()[1:], 0}.spring("init")
			}
		},
		Check: func(_ *engine.Context[string], s *S, e trap) error { now = e; now.spring("check"); return nil },
		Apply: func(_ *engine.Context[string], s *S, e trap) int64 {
			e.spring("apply")
			n := add(s, e.Add)
			e.spring("late")
			return n
		},
	})
}

type stringPurse struct{ Sum, Trace string }

func TestPanicAndGoexitAreErrorsOfTheirCallerAlone(t *testing.T) {
	t.Run("pointer-free", func(t *testing.T) {
		springTraps(t, purses(func(s *sum, n int64) int64 { s.Total += n; s.Count++; return s.Total }))
	})
	t.Run("pointers", func(t *testing.T) {
		springTraps(t, purses(func(s *stringPurse, n int64) int64 {
			total := int64(len(s.Sum)) + n
			s.Sum = fmt.Sprintf("%*s", total, "")
			s.Trace += fmt.Sprintln(n)
			return total
		}))
	})
}

func springTraps[S any](t *testing.T, table *engine.Table[string, S, trap, int64]) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx := context.Background()
	store := enginetest.Open(t, table)
	want := map[string]int64{}
	for _, at := range []string{"check", "apply", "late", "init"} {
		for _, how := range []string{"panic", "nil", "error", "goexit"} {
			for _, k := range []string{"new " + at + how, "old", "!" + how} {
				e := trap{At: at, How: how, Add: 1}
				if (at == "init") != (k[0] == '!') {
					continue
				}
				if k == "old" {
					want[k]++
					if n := do(t, table, k, trap{Add: 1}); n != want[k] {
						t.Fatalf("%s %s: the state before was %d, want %d", at, how, n-1, want[k]-1)
					}
				}
				_, err := table.Do(ctx, k, e)
				checkPanic(t, err, how)
				if at == "init" {
					continue
				}
				want[k]++
				if n := do(t, table, k, trap{Add: 1}); n != want[k] {
					t.Errorf("%s %s %s: the next event came to %d, want %d", k, at, how, n, want[k])
				}
			}
		}
	}
	_, err := table.View(ctx, "old", func(*S) { panic("viewed") })
	checkPanic(t, err, "panic")
	_, err = table.View(ctx, "old", func(*S) { runtime.Goexit() })
	checkPanic(t, err, "goexit")
	before := fmt.Sprint(everything(t, table))
	if len(everything(t, table)) != len(want) {
		t.Errorf("%s: %d keys, want %d", before, len(everything(t, table)), len(want))
	}
	store.CrashAndReopen(enginetest.PowerLost)
	if after := fmt.Sprint(everything(t, table)); after != before {
		t.Errorf("the replay came to %s, was %s", after, before)
	}
	must(t, store.Engine().Close())
}

func checkPanic(t *testing.T, err error, how string) {
	t.Helper()
	var panicked *engine.PanicError
	if !errors.Is(err, engine.ErrPanicked) || !errors.As(err, &panicked) || engine.OutcomeOf(err) != engine.NotDone {
		t.Fatalf("%s: %v", how, err)
	}
	if len(panicked.Stack) == 0 || (panicked.Value == nil) != (how == "goexit") {
		t.Errorf("%s: value %v, %d bytes of stack", how, panicked.Value, len(panicked.Stack))
	}
}

// Goal: in a block of many operations a trap takes down its own operation only.
func TestPanicInABatchOrProducerHitsOneEvent(t *testing.T) {
	table := purses(func(s *sum, n int64) int64 { s.Total += n; return s.Total })
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
	ctx := context.Background()
	b := store.Engine().Batch()
	results := make([]engine.Result[int64], 300)
	good := int64(0)
	for i := range results {
		e := trap{Add: 1}
		if i%3 == 0 {
			e.At, e.How = "late", []string{"panic", "goexit"}[i%2]
		} else {
			good++
		}
		table.Put(b, "k", e, &results[i])
	}
	if err := b.Do(ctx); !errors.Is(err, engine.ErrPanicked) {
		t.Errorf("%v", err)
	}
	for i, r := range results {
		if trapped := i%3 == 0; errors.Is(r.Err, engine.ErrPanicked) != trapped || trapped == (r.Err == nil) {
			t.Errorf("operation %d: %v", i, r.Err)
		}
	}
	back := 0
	p, err := table.Producer(engine.ProducerOptions[string, trap]{Refused: func(_ string, e trap, err error) {
		if e.How != "goexit" || !errors.Is(err, engine.ErrPanicked) {
			t.Errorf("%+v: %v", e, err)
		}
		back++
	}})
	must(t, err)
	for i := range 100 {
		e := trap{Add: 1}
		if i%10 == 0 {
			e.At, e.How = "late", "goexit"
		} else {
			good++
		}
		must(t, p.Send(ctx, "k", e))
	}
	must(t, p.Close(ctx))
	if s, _ := get(t, table, "k"); back != 10 || s.Total != good {
		t.Errorf("%d events handed back, the others came to %d, want %d", back, s.Total, good)
	}
}
