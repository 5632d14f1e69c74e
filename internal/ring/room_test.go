package ring_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/ring"
)

// fill claims and publishes blocks of 8 bytes until the ring is full.
func fill(t testing.TB, r *ring.Ring) {
	t.Helper()
	for put(r, 8, 1) == ring.Claimed {
	}
	if outcome := put(r, 8, 1); outcome != ring.Full {
		t.Fatalf("claim in a full ring is %v", outcome)
	}
}

// take consumes and releases so many blocks.
func take(t testing.TB, r *ring.Ring, blocks int) {
	t.Helper()
	for range blocks {
		mustTake(t, r, 8, 1)
	}
	r.Release()
}

// waitingFor starts a WaitRoom and returns where its result will be, after it has
// parked. It must be called in a bubble.
func waitingFor(ctx context.Context, r *ring.Ring, n int) chan error {
	done := make(chan error, 1)
	go func() { done <- r.WaitRoom(ctx, n) }()
	synctest.Wait()
	return done
}

// mustHaveReturned fails unless the wait is over with the given error.
func mustHaveReturned(t *testing.T, what string, done chan error, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("%s: WaitRoom returns %v, want %v", what, err, want)
		}
	default:
		t.Fatalf("%s: WaitRoom still waits", what)
	}
}

// mustWait fails if the wait is over.
func mustWait(t *testing.T, what string, done chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("%s: WaitRoom returned %v", what, err)
	default:
	}
}

func TestWaitRoomReturnsAtOnceWhereThereIsNothingToWaitFor(t *testing.T) {
	r := newRing(t, 64)
	if err := r.WaitRoom(t.Context(), r.MaxBlock()); err != nil {
		t.Errorf("with room: %v", err)
	}
	fill(t, r)
	r.Close()
	if err := r.WaitRoom(t.Context(), 8); err != nil {
		t.Errorf("closed: %v", err)
	}
}

func TestWaitRoomEndsWithRoomWithCloseWithRouteAndWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 64)
		fill(t, r)

		done := waitingFor(t.Context(), r, 8)
		mustWait(t, "full ring", done)
		take(t, r, 1)
		mustHaveReturned(t, "after Release", done, nil)
		fill(t, r)

		done = waitingFor(t.Context(), r, 8)
		r.SetRoute(1)
		mustHaveReturned(t, "after SetRoute", done, nil)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done = waitingFor(ctx, r, 8)
		mustHaveReturned(t, "after a second", waitOut(done), context.DeadlineExceeded)

		first, second := waitingFor(t.Context(), r, 8), waitingFor(t.Context(), r, 16)
		r.Close()
		mustHaveReturned(t, "after Close", first, nil)
		mustHaveReturned(t, "after Close", second, nil)
		if r.Waiting() != 0 {
			t.Errorf("%d still wait", r.Waiting())
		}
	})
}

// waitOut lets the bubble's clock run for two seconds.
func waitOut(done chan error) chan error {
	<-time.After(2 * time.Second)
	return done
}

func TestParkedProducersAreServedInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 64)
		fill(t, r)
		large, small := waitingFor(t.Context(), r, 16), waitingFor(t.Context(), r, 8)
		take(t, r, 1)
		mustWait(t, "room for the second only", small)
		mustWait(t, "room for the second only", large)
		take(t, r, 1) // 4 words; the large one needs 3
		mustHaveReturned(t, "room for the first", large, nil)
		mustWait(t, "room for the first", small)
		take(t, r, 1)
		mustHaveReturned(t, "room for both", small, nil)
	})
}

// Goal: one Release is enough for all whom its room serves, though the consumer
// wakes only one of them.
func TestOneReleaseServesAllWhoFitInBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 128)
		fill(t, r) // 8 blocks
		var waits []chan error
		for range 5 {
			waits = append(waits, waitingFor(t.Context(), r, 8))
		}
		take(t, r, 4)
		for _, done := range waits[:4] {
			mustHaveReturned(t, "within the room", done, nil)
		}
		if r.Waiting() > 1 {
			t.Errorf("%d still wait", r.Waiting())
		}
	})
}

// Goal: a producer that was woken and then does not claim takes nothing away from
// those behind it, even if no Release will ever follow.
func TestWakeUpsThatAreNotUsedAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 64)
		fill(t, r)
		var waits []chan error
		for range 10 { // more than the ring can hold at once
			waits = append(waits, waitingFor(t.Context(), r, 16))
		}
		take(t, r, 4)
		for _, done := range waits {
			mustHaveReturned(t, "empty ring", done, nil)
		}
	})
}

// Goal: a producer that queues up just after the last Release sees its room.
func TestProducersLookForRoomOnceMoreBeforeTheyPark(t *testing.T) {
	r := newRing(t, 64)
	if err := r.ParkForRoom(t.Context(), r.MaxBlock()); err != nil || r.Waiting() != 0 {
		t.Errorf("parking beside an empty ring: %v, %d wait", err, r.Waiting())
	}
	fill(t, r)
	r.Close()
	if err := r.ParkForRoom(t.Context(), 8); err != nil {
		t.Errorf("parking beside a closed ring: %v", err)
	}
}

func TestQueueingForRoomDoesNotAllocate(t *testing.T) {
	const rounds, allowed = 100_000, 20
	r := newRing(t, 64)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		if err := r.ParkForRoom(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > allowed {
		t.Errorf("%d allocations in %d rounds", n, rounds)
	}
}

// Goal: a wake-up that meets a producer which has just been cancelled goes to the
// next, even if no Release will ever follow. Method: with one P the cancelled one
// cannot leave the queue before Release finds it there.
func TestWakeUpsOfTheCancelledGoToTheNext(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		for range scaled(2000) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, 64)
				fill(t, r)
				ctx, cancel := context.WithCancel(t.Context())
				first := waitingFor(ctx, r, 8)
				second := waitingFor(t.Context(), r, 8)
				cancel()
				take(t, r, 4)
				synctest.Wait()
				if err := <-first; err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled: %v", err)
				}
				mustHaveReturned(t, "behind the cancelled one", second, nil)
			})
		}
	})
}

func TestSmallReleasesDoNotWakeParkedProducersOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 1024) // 64 blocks of 2 words; an eighth are 8
		fill(t, r)
		done := waitingFor(t.Context(), r, 8)
		take(t, r, 7)
		mustWait(t, "room for 7 blocks", done)
		take(t, r, 1)
		mustHaveReturned(t, "an eighth of the ring", done, nil)
	})
}

func TestProducersWhoLeaveTheQueueLeaveItWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 64)
		fill(t, r)
		var waits []chan error
		var cancels []context.CancelFunc
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			waits = append(waits, waitingFor(ctx, r, 8))
		}
		for _, i := range []int{2, 0, 4} { // middle, first, last
			cancels[i]()
			mustHaveReturned(t, "cancelled", waits[i], context.Canceled)
		}
		if r.Waiting() != 2 {
			t.Fatalf("%d wait, want 2", r.Waiting())
		}
		take(t, r, 4)
		mustHaveReturned(t, "left over", waits[1], nil)
		mustHaveReturned(t, "left over", waits[3], nil)
		cancels[1]()
		cancels[3]()
	})
}

// Goal: no wake-up is lost while producers fill a small ring, wait, and give up at
// random. A lost one would leave the test hanging. Method: a producer goes on after
// a cancelled wait; contexts are cancelled by a bystander all the time.
func TestManyProducersGetThroughASmallRing(t *testing.T) {
	rnd := newRand(t)
	atProcs(t, func(t *testing.T) {
		const producers = 8
		each := scaled(20_000)
		for _, size := range []int{64, 512} {
			r := newRing(t, size)
			var cancelled atomic.Int64
			var group sync.WaitGroup
			for i := range producers {
				own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
				group.Go(func() { cancelled.Add(sendImpatiently(t, r, own, uint32(i), each)) })
			}
			expect := make([]uint32, producers)
			for taken := 0; taken < producers*each; {
				taken += borrow(t, r, 1+rnd.IntN(8), expect)
			}
			group.Wait()
			mustBeDrainedAndClear(t, r)
			t.Logf("%d bytes: %d waits were cancelled", size, cancelled.Load())
		}
	})
}

// sendImpatiently sends blocks of random sizes, waiting for room under a context
// that ends at a random moment.
func sendImpatiently(t *testing.T, r *ring.Ring, rnd *rand.Rand, producer uint32, count int) (cancelled int64) {
	for number := uint32(0); int(number) < count; {
		n := 8 + rnd.IntN(r.MaxBlock()-7)
		c, outcome := r.Claim(0, n)
		if outcome == ring.Claimed {
			stamp(c.Bytes, producer, number)
			r.Publish(c)
			number++
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		switch rnd.IntN(8) {
		case 0:
			cancel()
		case 1:
			go cancel()
		}
		if err := r.WaitRoom(ctx, n); err != nil {
			cancelled++
		}
		cancel()
		runtime.Gosched()
	}
	return cancelled
}
