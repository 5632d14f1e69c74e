package shard

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// told makes a rig in which n callers have just been told by one sync that took so long.
func told(t *testing.T, n int, took int64) *rig {
	t.Helper()
	r := newRig(t)
	var calls []*call
	for range n {
		calls = append(calls, r.send(Durable, add("0a")))
	}
	for !r.log.lane.busy {
		r.turn()
	}
	r.time += took
	r.sync()
	r.turn()
	for _, c := range calls {
		c.want("synced", true)
	}
	return r
}

// Goal: callers stay one group. Method: three are told and come back one by one; only
// with the third may the next frame be written and its sync begin.
func TestNextSyncWaitsForThoseWhoWereJustTold(t *testing.T) {
	r := told(t, 3, 1000)
	frames := r.log.appended.Load()
	var back []*call
	for range 3 {
		if r.log.appended.Load() != frames || r.log.lane.busy {
			t.Fatalf("a sync began with %d of 3 callers", len(back))
		}
		back = append(back, r.send(Durable, add("0a")))
		r.turn()
	}
	r.sync()
	r.turn()
	for _, c := range back {
		c.want("synced once more", true)
	}
	if r.counters.syncs != 2 {
		t.Fatalf("%d syncs, want 2", r.counters.syncs)
	}
}

// Goal: a sync that ends with everybody there again is followed by the next at once.
// Method: as many blocks arrive while it is under way as it tells.
func TestNextSyncBeginsAtOnceWhenNobodyIsMissing(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"))
	r.turn()
	r.send(Durable, add("0a"))
	r.turn()
	r.time += 1000
	r.sync()
	if r.pollLanes(); !r.log.lane.busy {
		t.Fatal("the disk has nothing to do")
	}
}

func TestNobodyIsWaitedForLongerThanTheSyncTook(t *testing.T) {
	for took, limit := range map[int64]int64{1000: 1000, 50 * gatherMax: gatherMax} {
		r := told(t, 3, took)
		r.send(Durable, add("0a"))
		r.turn()
		r.time += limit - 1
		if r.turn(); r.log.lane.busy {
			t.Fatalf("after a sync of %d ns the next one began too early", took)
		}
		r.time++
		if r.turn(); !r.log.lane.busy {
			t.Fatalf("after a sync of %d ns a caller waits for more than %d ns", took, limit)
		}
	}
}

// Goal: waiting in vain is not repeated, and tried again later. Method: of four callers
// one comes back; then groups of four and of one take turns.
func TestCallersWhoDoNotComeBackAreNotWaitedForAgain(t *testing.T) {
	r := told(t, 4, 1000)
	next := func(blocks int) {
		for range blocks {
			r.send(Durable, add("0a"))
		}
		r.turn()
		r.time += 1000
		r.sync()
		r.turn()
	}
	next(1)
	for n := range gatherAlone + 1 {
		if next(4 - 3*(n%2)); !r.log.lane.busy {
			t.Fatalf("sync %d of %d waits", n+1, gatherAlone)
		}
	}
	if next(1); r.log.lane.busy {
		t.Fatal("callers are not waited for any more")
	}
}

// Goal: a clock that runs back behind a sync holds no ack up. Method: three are told, one
// comes back, and its shard is kept busy.
func TestClockThatRunsBackMakesNobodyWait(t *testing.T) {
	r := told(t, 3, 1000)
	r.time -= 3600e9
	r.send(Durable, add("0a"))
	if r.turn(); !r.log.lane.busy {
		t.Fatal("it waits until the clock is where it was")
	}
}

func TestLargeGroupIsNotWaitedFor(t *testing.T) {
	for blocks, waits := range map[int]bool{gatherBlocksMax: true, gatherBlocksMax + 1: false} {
		r := told(t, blocks, 1000)
		r.send(Durable, add("0a"))
		if r.turn(); r.log.lane.busy == waits {
			t.Fatalf("after a group of %d the next sync waits: %v", blocks, !waits)
		}
	}
}

func TestWrittenEventWaitsForNoCaller(t *testing.T) {
	r := told(t, 3, 1000)
	c := r.send(Written, add("0a"))
	r.turn()
	c.want("drained", true)
}

// Goal: a shard that has nothing to do waits for nobody. Method: three callers are told,
// one comes back, and the clock stands still, so that the wait would never end.
func TestShardDoesNotSleepWhileItWaitsForCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Int64
		r := newRig(t, func(c *Config) { c.Clock = now.Load })
		r.disk.SetHook(func(op crashfs.Op) error {
			if op.Kind == crashfs.Sync {
				now.Add(1000)
			}
			return nil
		})
		for range 3 {
			r.send(Durable, add("0a"))
		}
		r.Start()
		synctest.Wait()
		c := r.send(Durable, add("0a"))
		synctest.Wait()
		c.want("the only one", true)
		r.Hurry()
		r.Stop()
		synctest.Wait()
	})
}
