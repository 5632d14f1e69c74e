package ring

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// relaxRounds make one pause of about 25 ns: long enough to leave the memory bus
	// alone, short beside the 100 ns of a reply from another core.
	relaxRounds = 16

	pollsPerClock = 64 // the clock is read once in so many polls
	pollsPerYield = 32 // a Waiter that yields does so once in so many polls, under 1 us

	// pollFloor is less than one poll takes anywhere. It bounds the polls where the
	// clock stands still, as it does in a testing/synctest bubble.
	pollFloor = 8 * time.Nanosecond
)

// spinning counts the goroutines of the process that spin in a Waiter. It limits
// itself: no load depends on another store.
var spinning atomic.Int32

// A Waiter decides how a consumer that finds nothing to do waits: first by yielding
// its thread between looks, a bounded number of times, because whoever brings the next
// work may be waiting for just that; then by looking again at once, for a bounded
// time; and then by parking.
//
// A Waiter must be used by one goroutine at a time. The zero Waiter parks at once.
type Waiter struct {
	spin     time.Duration
	pollsMax int
	yields   int
	spinners int32 // how many may spin at once, this one included

	polls   int  // since Busy
	yielded int  // since Busy
	counted bool // in spinning
	since   time.Time
}

// NewWaiter returns a Waiter that yields so many times and then spins for about the
// given time before it parks. With no yields it does not yield while it spins either:
// for a goroutine that is locked to its thread a yield costs two switches of threads.
//
// It only parks in a program built with the race detector, whose users want to see
// other goroutines run. At most GOMAXPROCS-1 Waiters of the process spin at once, so
// that there is a P left to bring them work; the others park instead.
func NewWaiter(spin time.Duration, yields int) Waiter {
	if !spinAllowed {
		return Waiter{}
	}
	spin = max(spin, 0)
	return Waiter{
		spin:     spin,
		pollsMax: int(min(spin/pollFloor, 1<<30)),
		yields:   max(yields, 0),
		spinners: int32(runtime.GOMAXPROCS(0)) - 1,
	}
}

// Idle is to be called each time a turn has found nothing to do. It pauses or yields
// as is due, and reports whether the consumer should park now. It goes on to report
// true until Busy is called.
func (w *Waiter) Idle() (park bool) {
	if w.yielded < w.yields {
		w.yielded++
		runtime.Gosched()
		return false
	}
	if !w.spins() {
		w.leave()
		return true
	}
	if w.yields > 0 && w.polls%pollsPerYield == 0 {
		runtime.Gosched()
		return false
	}
	Pause()
	return false
}

// Busy is to be called when a turn has found something to do, and before the consumer
// goes away.
func (w *Waiter) Busy() {
	w.polls, w.yielded = 0, 0
	w.leave()
}

// spins reports whether one more poll is due, and counts it.
func (w *Waiter) spins() bool {
	if w.polls >= w.pollsMax {
		return false
	}
	switch {
	case w.polls == 0:
		if !w.enter() {
			w.polls = w.pollsMax
			return false
		}
		w.since = time.Now()
	case w.polls%pollsPerClock == 0 && time.Since(w.since) >= w.spin:
		w.polls = w.pollsMax
		return false
	}
	w.polls++
	return true
}

// enter counts this one among those that spin, if there is room for it.
func (w *Waiter) enter() bool {
	if spinning.Add(1) > w.spinners {
		spinning.Add(-1)
		return false
	}
	w.counted = true
	return true
}

func (w *Waiter) leave() {
	if w.counted {
		w.counted = false
		spinning.Add(-1)
	}
}

// Pause passes about 25 ns without touching memory. The multiplications depend on
// each other, so that no processor does them at once.
func Pause() {
	//lint:ignore SA4017 the time that it takes is what it is for
	relax(relaxRounds)
}

//go:noinline
func relax(rounds int) (x uint64) {
	for range rounds {
		x = x*0x9E3779B97F4A7C15 + 1
	}
	return x
}
