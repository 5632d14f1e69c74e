package bench

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/bench/workload"
)

// timed is a target in a bubble, with one producer, that says itself when each of its
// events is acknowledged.
type timed struct {
	*Memory
	shards int
	window int
	acks   []time.Time // of each event
	open   []time.Time // of those that Settled has not counted
	// sends, if not nil, is told of each event as it is sent.
	sends func(ordinal uint64)
	// when is the time of acknowledgement of an event that is sent now.
	when func(ordinal uint64) time.Time
}

func newTimed(after time.Duration) *timed {
	return &timed{Memory: NewMemory(), shards: 1, when: func(uint64) time.Time { return time.Now().Add(after) }}
}

func (f *timed) Producer(window int) (Producer, error) {
	f.window = window
	return f, nil
}

func (f *timed) Shards() int { return f.shards }

func (f *timed) Send(_ context.Context, e workload.Event) error {
	if f.sends != nil {
		f.sends(e.Ordinal)
	}
	if f.unsettled() >= f.window*3/4 {
		for f.unsettled() > f.window/4 {
			<-time.After(10 * time.Microsecond)
		}
	}
	at := f.when(e.Ordinal)
	f.acks, f.open = append(f.acks, at), append(f.open, at)
	return nil
}

func (f *timed) Push() error { return nil }

func (f *timed) unsettled() int { return len(f.acks) - int(f.Settled()) }

func (f *timed) Settled() uint64 {
	now := time.Now()
	f.open = slices.DeleteFunc(f.open, func(at time.Time) bool { return !now.Before(at) })
	return uint64(len(f.acks) - len(f.open))
}

func (f *timed) Flush(context.Context) error {
	if len(f.acks) > 0 {
		<-time.After(time.Until(slices.MaxFunc(f.acks, time.Time.Compare)))
	}
	return nil
}

func endless(t testing.TB, events uint64) *workload.Generator {
	t.Helper()
	return generated(t, workload.Generated{Keys: 9, Events: events})
}

func TestMarksEncloseWhatWasSent(t *testing.T) {
	var mu sync.Mutex
	may, acked := map[int]uint64{}, map[int]uint64{}
	f := &timed{Memory: NewMemory(), shards: 1, when: func(uint64) time.Time { return time.Time{} }}
	f.sends = func(ordinal uint64) {
		mu.Lock()
		defer mu.Unlock()
		if may[0] <= ordinal {
			t.Errorf("event %d is sent, the mark allows %d", ordinal, may[0])
		}
	}
	l := Load{Source: endless(t, 5000), Producers: 1, Window: 70}
	l.Mark = func(p int, sent, done uint64) error {
		mu.Lock()
		defer mu.Unlock()
		may[p], acked[p] = sent, done
		return nil
	}
	if _, err := Run(t.Context(), f, l); err != nil || acked[0] != 5000 {
		t.Errorf("acked %d, %v", acked[0], err)
	}
}

// Goal: a mark never says more than what is acknowledged, also when shards acknowledge
// in another order than that of Send. Method: one of two shards, that of the odd
// events, is slow; the other at once.
func TestMarksAreAPrefixWhateverTheShardsDo(t *testing.T) {
	for _, shards := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			f := newTimed(0)
			f.shards = shards
			f.when = func(ordinal uint64) time.Time {
				if shards == 1 || ordinal%2 == 1 {
					return time.Now().Add(10 * time.Millisecond)
				}
				return time.Now()
			}
			l := Load{Source: endless(t, 1000), Producers: 1, Window: 100}
			seen := uint64(0)
			l.Mark = func(_ int, _, acked uint64) error {
				for i := range acked {
					if time.Now().Before(f.acks[i]) {
						t.Fatalf("%d shards: event %d is marked as acknowledged, and is not", shards, i)
					}
				}
				seen = acked
				return nil
			}
			if _, err := Run(t.Context(), f, l); err != nil || seen != 1000 {
				t.Errorf("%d shards: %d marked in the end, %v", shards, seen, err)
			}
		})
	}
}

// Goal: the load does not stop to wait for a window. Method: a store that takes 10
// microseconds for each event, one after the other, and must never have nothing to do.
func TestClosedLoopNeverLetsTheStoreRunDry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTimed(0)
		f.when = func(uint64) time.Time {
			at := time.Now()
			if n := len(f.acks); n > 0 && at.Before(f.acks[n-1]) {
				at = f.acks[n-1]
			}
			return at.Add(10 * time.Microsecond)
		}
		f.sends = func(ordinal uint64) {
			if ordinal > 0 && f.unsettled() == 0 {
				t.Errorf("nothing is under way when event %d is sent", ordinal)
			}
		}
		r, err := Run(t.Context(), f, Load{Source: endless(t, 3000), Producers: 1, Window: 256})
		if err != nil || r.Events != 3000 || r.Elapsed > 31*time.Millisecond {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestLatencyRunsFromSendToTheAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTimed(10 * time.Millisecond)
		l := Load{Source: endless(t, 2000), Producers: 1, Window: 1 << 16, Rate: 1000, onlySleep: true}
		r, err := Run(t.Context(), f, l)
		if err != nil || r.Events != 2000 {
			t.Fatalf("%+v, %v", r, err)
		}
		if r.Latency.P50 < int64(10*time.Millisecond) || r.Latency.Max > int64(10500*time.Microsecond) {
			t.Errorf("each takes 10 ms: %+v", r.Latency)
		}
	})
}

func TestWindowIsNeverExceeded(t *testing.T) {
	for _, window := range []int{1, 7, 1000} {
		synctest.Test(t, func(t *testing.T) {
			f := newTimed(time.Millisecond)
			f.sends = func(ordinal uint64) {
				if n := f.unsettled(); n >= window {
					t.Errorf("event %d is sent while %d of a window of %d are under way", ordinal, n, window)
				}
			}
			if _, err := Run(t.Context(), f, Load{Source: endless(t, 2000), Producers: 1, Window: window}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Goal: a store that stalls is not excused from the events that it delays. Method:
// a thousand events a second, of which none is acknowledged in the first 0.9 seconds,
// in a bubble whose clock is exact.
func TestOpenLoopCountsFromWhenAnEventWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTimed(0)
		stalled := time.Now().Add(900 * time.Millisecond)
		f.when = func(uint64) time.Time {
			if now := time.Now(); now.After(stalled) {
				return now
			}
			return stalled
		}
		l := Load{Source: endless(t, 2000), Producers: 1, Window: 100, Rate: 1000, onlySleep: true}
		r, err := Run(t.Context(), f, l)
		if err != nil || r.Events != 2000 || r.Elapsed < 1999*time.Millisecond {
			t.Fatalf("%+v, %v", r, err)
		}
		if r.Latency.Max < int64(890*time.Millisecond) || r.Latency.P90 < int64(600*time.Millisecond) || r.Latency.P50 > int64(time.Millisecond) {
			t.Errorf("900 of 2000 events waited up to 0.9 s: %+v", r.Latency)
		}
		if r.Late.Max < int64(700*time.Millisecond) {
			t.Errorf("the stall made events late: %+v", r.Late)
		}
		// The window of 100 is what the stall delays after it was sent; the others are sent
		// late, and answered at once.
		if r.Service.Max < int64(800*time.Millisecond) || r.Service.P90 > int64(time.Millisecond) {
			t.Errorf("the service of an event runs from when it was sent: %+v", r.Service)
		}
	})
}

func TestOpenLoopNeverSendsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, f := time.Now(), newTimed(0)
		f.sends = func(ordinal uint64) {
			if due := time.Duration(ordinal) * 100 * time.Microsecond; time.Since(start) < due {
				t.Errorf("event %d is sent at %v", ordinal, time.Since(start))
			}
		}
		l := Load{Source: endless(t, 500), Producers: 1, Window: 64, Rate: 10_000, onlySleep: true}
		if _, err := Run(t.Context(), f, l); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDurationAndProgressFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []Progress
		l := Load{Source: endless(t, 0), Producers: 1, Window: 4, Duration: 3500 * time.Millisecond}
		l.Progress = func(p Progress) { seen = append(seen, p) }
		r, err := Run(t.Context(), newTimed(10*time.Millisecond), l)
		if err != nil || len(seen) < 3 {
			t.Fatalf("%d lines, %v", len(seen), err)
		}
		for _, p := range seen[:3] {
			if p.Rate < 200 || p.Rate > 410 || p.Latency.P50 < int64(9*time.Millisecond) {
				t.Errorf("at most 4 events in 10 ms: %+v", p)
			}
		}
		if r.Elapsed < 3500*time.Millisecond || r.Elapsed > 20*time.Second {
			t.Errorf("took %v", r.Elapsed)
		}
	})
}

func TestUnsettledKeepsItsMemory(t *testing.T) {
	var u unsettled
	for sent := uint64(1); sent <= 1_000_000; sent++ {
		u.add(0, 0)
		u.grow(sent, sent)
		if sent > 1000 {
			u.settle(sent-1000, func(r run, events uint64) {
				if events != 1 || r.end != sent-1000 {
					t.Fatalf("%+v settled as %d events at %d", r, events, sent)
				}
			})
		}
	}
	if cap(u.runs) > 4*1000 {
		t.Errorf("room for %d runs, and 1000 are unsettled", cap(u.runs))
	}
}
