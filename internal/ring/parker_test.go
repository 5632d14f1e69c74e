package ring_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/ring"
)

// Goal: no wake-up is lost. Method: consumer and producer take turns, so each round
// stands or falls with one wake-up; a lost one leaves the test hanging. A bystander
// wakes at random.
func TestParkerLosesNoWakeUp(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		rounds := int64(scaled(200_000))
		var there, back ring.Parker
		var work, answer atomic.Int64
		var stop atomic.Bool
		var group sync.WaitGroup
		group.Go(func() {
			for n := int64(1); n <= rounds; n++ {
				await(&there, &work, n)
				answer.Store(n)
				back.Wake()
			}
		})
		group.Go(func() {
			for !stop.Load() {
				there.Wake()
				runtime.Gosched()
			}
		})
		for n := int64(1); n <= rounds; n++ {
			work.Store(n)
			there.Wake()
			await(&back, &answer, n)
		}
		stop.Store(true)
		group.Wait()
		if there.Parked() || back.Parked() {
			t.Error("somebody is left parked")
		}
	})
}

// await sleeps until source has reached n.
func await(p *ring.Parker, source *atomic.Int64, n int64) {
	for source.Load() < n {
		p.Prepare()
		if source.Load() >= n {
			p.Cancel()
			return
		}
		p.Wait()
	}
}

func TestParkerWaitsUntilWokenAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p ring.Parker
		p.Wake() // nobody is parked: no trace
		woken := make(chan struct{})
		go func() {
			p.Prepare()
			p.Wait()
			close(woken)
		}()
		<-time.After(time.Hour)
		select {
		case <-woken:
			t.Fatal("Wait returned before Wake")
		default:
		}
		if !p.Parked() {
			t.Error("not parked while waiting")
		}
		p.Wake()
		<-woken
		if p.Parked() {
			t.Error("parked after Wake")
		}
	})
}

func TestWakeBetweenPrepareAndWaitOrCancelCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p ring.Parker
		for range 3 {
			p.Prepare()
			p.Wake()
			p.Wake()
			p.Wait()
			p.Prepare()
			p.Wake()
			p.Cancel()
			p.Prepare()
			p.Cancel()
		}
		waits := make(chan struct{})
		go func() {
			p.Prepare()
			p.Wait()
			close(waits)
		}()
		synctest.Wait()
		select {
		case <-waits:
			t.Fatal("Wait returned for a Wake before Prepare")
		default:
		}
		p.Wake()
		<-waits
	})
}

// Goal: the row Publish, Wake and Prepare, Next of the outcome table. Method: each
// block is sent only after the consumer has answered the one before, so that a
// consumer which sleeps beside a published block leaves the test hanging.
func TestConsumerNeverSleepsBesideAPublishedBlock(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		blocks := int64(scaled(200_000))
		r := newRing(t, 1024)
		var consumer, producer ring.Parker
		var answer atomic.Int64
		var group sync.WaitGroup
		group.Go(func() {
			for n := int64(1); n <= blocks; n++ {
				if put(r, 8, byte(n)) != ring.Claimed {
					t.Error("the ring is full")
				}
				consumer.Wake()
				await(&producer, &answer, n)
			}
		})
		waiter := ring.NewWaiter(time.Microsecond, 1)
		for n := int64(1); n <= blocks; n++ {
			if p := nextOrSleep(r, &consumer, &waiter); p[0] != byte(n) {
				t.Fatalf("block %d holds %d", n, p[0])
			}
			r.Release()
			answer.Store(n)
			producer.Wake()
		}
		group.Wait()
	})
}

// nextOrSleep returns the next block, as a consumer would that has nothing else.
func nextOrSleep(r *ring.Ring, parker *ring.Parker, w *ring.Waiter) []byte {
	for {
		if p, ok := r.Next(); ok {
			w.Busy()
			return p
		}
		if !w.Idle() {
			continue
		}
		parker.Prepare()
		if p, ok := r.Next(); ok {
			parker.Cancel()
			return p
		}
		parker.Wait()
	}
}
