package ring_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/ring"
)

// idles counts the calls of Idle until it says to park, up to limit.
func idles(w *ring.Waiter, limit int) (calls int) {
	for calls < limit && !w.Idle() {
		calls++
	}
	return calls
}

func TestZeroWaiterParksAtOnce(t *testing.T) {
	var w ring.Waiter
	if n := idles(&w, 10); n != 0 {
		t.Errorf("parks after %d calls, want at once", n)
	}
}

func TestWaiterYieldsSoOftenAndThenParksUntilBusy(t *testing.T) {
	w := ring.NewWaiter(0, 5)
	want := 5
	if ring.RaceEnabled {
		want = 0
	}
	for range 3 {
		if n := idles(&w, 100); n != want {
			t.Errorf("parks after %d calls, want %d", n, want)
		}
		if !w.Idle() {
			t.Error("does not park after a wake-up for nothing")
		}
		w.Busy()
	}
}

// Goal: spinning ends even where the clock stands still, as it does in a bubble as
// long as somebody runs.
func TestWaiterStopsSpinningWithoutAClock(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := ring.NewWaiter(20*time.Microsecond, 3)
			if n := idles(&w, 1_000_000); n > 10_000 {
				t.Errorf("%d calls of Idle without parking", n)
			}
		})
	})
}

func TestWaiterTakesAnySettings(t *testing.T) {
	w := ring.NewWaiter(-time.Second, -3)
	if n := idles(&w, 10); n != 0 {
		t.Errorf("parks after %d calls, want at once", n)
	}
}

// Goal: a P is left to bring those work who spin, and room that one gives back is
// another's.
func TestOneWaiterLessThanThereArePsSpinsAtOnce(t *testing.T) {
	if ring.RaceEnabled {
		t.Skip("nobody spins under the race detector")
	}
	atProcs(t, func(t *testing.T) {
		allowed := runtime.GOMAXPROCS(0) - 1
		waiters := make([]ring.Waiter, allowed+1)
		for i := range waiters {
			waiters[i] = ring.NewWaiter(time.Hour, 0)
			if park := waiters[i].Idle(); park != (i == allowed) {
				t.Fatalf("with %d that spin: parks is %v", i, park)
			}
		}
		for i := range waiters {
			waiters[i].Busy()
		}
		late := ring.NewWaiter(time.Hour, 0)
		if park := late.Idle(); park != (allowed == 0) {
			t.Fatalf("when all are busy: parks is %v", park)
		}
		late.Busy()
	})
}
