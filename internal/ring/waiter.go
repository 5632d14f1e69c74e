package ring

import (
	"runtime"
	"time"
)

const (
	// relaxRounds make one pause of about 25 ns: long enough to leave the memory bus
	// alone, short beside the 100 ns of a reply from another core.
	relaxRounds = 16

	pollsPerClock = 64 // the clock is read once in so many polls

	// pollFloor is less than one poll takes anywhere. It bounds the polls where the
	// clock stands still, as it does in a testing/synctest bubble.
	pollFloor = 8 * time.Nanosecond
)

// A Waiter decides how a consumer that finds nothing to do waits: first by looking
// again at once, for a bounded time, then by yielding its thread between looks, a
// bounded number of times, and then by parking.
//
// A Waiter must be used by one goroutine at a time. The zero Waiter parks at once.
type Waiter struct {
	spin     time.Duration
	pollsMax int
	yields   int

	polls   int // since Busy
	yielded int // since Busy
	since   time.Time
}

// NewWaiter returns a Waiter that spins for about the given time and then yields so
// many times before it parks. It only parks in a program built with the race
// detector, whose users want to see other goroutines run. It does not spin if the
// program has one P, on which nobody else could bring work meanwhile.
func NewWaiter(spin time.Duration, yields int) Waiter {
	if !spinAllowed {
		return Waiter{}
	}
	if spin < 0 || runtime.GOMAXPROCS(0) == 1 {
		spin = 0
	}
	return Waiter{
		spin:     spin,
		pollsMax: int(min(spin/pollFloor, 1<<30)),
		yields:   max(yields, 0),
	}
}

// Idle is to be called each time a turn has found nothing to do. It pauses or yields
// as is due, and reports whether the consumer should park now. It goes on to report
// true until Busy is called.
func (w *Waiter) Idle() (park bool) {
	if w.spins() {
		//lint:ignore SA4017 the time that it takes is what it is for
		relax(relaxRounds)
		return false
	}
	if w.yielded < w.yields {
		w.yielded++
		runtime.Gosched()
		return false
	}
	return true
}

// Busy is to be called when a turn has found something to do.
func (w *Waiter) Busy() { w.polls, w.yielded = 0, 0 }

// spins reports whether one more poll is due, and counts it.
func (w *Waiter) spins() bool {
	if w.polls >= w.pollsMax {
		return false
	}
	switch {
	case w.polls == 0:
		w.since = time.Now()
	case w.polls%pollsPerClock == 0 && time.Since(w.since) >= w.spin:
		w.polls = w.pollsMax
		return false
	}
	w.polls++
	return true
}

// relax passes a little time without touching memory. The multiplications depend on
// each other, so that no processor does them at once.
//
//go:noinline
func relax(rounds int) (x uint64) {
	for range rounds {
		x = x*0x9E3779B97F4A7C15 + 1
	}
	return x
}
