package shard

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// mustPanic runs f, and fails the test if it returns.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatal(what)
		}
	}()
	f()
}

// Goal: the slot of a call that went away belongs to the shard until its block is
// completed. Method: cancel a wait before the sync; the owner must hear of the release
// once, with the ack and not before.
func TestSlotOfACancelledCallIsReleasedWithItsAck(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, add("0a"))
	if _, completed := c.slot.Wait(canceled(), Patience{}); completed {
		t.Fatal("the wait ended with an ack")
	}
	r.turn()
	r.sync()
	if c.released != 0 {
		t.Fatal("released before the shard was done with it")
	}
	r.turn()
	if c.released != 1 || c.slot.phase.Load() != slotFree {
		t.Fatalf("released %d times, phase %d", c.released, c.slot.phase.Load())
	}
	if n := len(history(r.parts[0])); n != 1 {
		t.Fatal("cancelling undid the event")
	}
}

func TestReleasedSlotServesItsNextCall(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, add("0a"))
	c.slot.Wait(canceled(), Patience{})
	r.settle()
	r.post(r.block(c.slot.Arm(), Durable, adds("0a", 1)))
	r.turn()
	c.want("second use, before its sync", false)
	r.settle()
	c.want("second use, after its sync", true)
	if c.released != 1 {
		t.Fatalf("released %d times", c.released)
	}
}

func TestAckOfAnOlderUseNeverReachesTheNextOne(t *testing.T) {
	slot := new(Slots).New()
	old := slot.Arm()
	slot.complete(old.use, 1, nil)
	slot.Wait(context.Background(), Patience{})
	slot.Arm()
	mustPanic(t, "the ack of an older use was taken", func() { slot.complete(old.use, 1, nil) })
	if slot.phase.Load() != slotWaiting {
		t.Fatal("the ack of an older use reached the next one")
	}
}

func TestAddressesOfSlotsAndUsesDiffer(t *testing.T) {
	var slots Slots
	seen := map[Address]bool{{}: true} // nobody's
	for range slotChunk + 3 {
		slot := slots.New()
		for range 3 {
			a := slot.Arm()
			if seen[a] {
				t.Fatal("given twice: ", a)
			}
			if seen[a] = true; slots.at(a.slot-1) != slot {
				t.Fatal("leads to another slot: ", a)
			}
			slot.Disarm()
		}
	}
}

// Goal: a wake-up that was meant for an earlier use of a slot does not end the wait of
// the next one: that would acknowledge what is not durable. Method: a stream's reader
// gives up while it watches, the completion that comes then leaves its wake-up behind,
// and the slot is given to a call.
func TestWakeUpOfAStreamDoesNotEndTheNextCall(t *testing.T) {
	r := newRig(t)
	slot := r.cfg.Slots.New()
	slot.Reset()
	r.post(r.block(slot.Stream(), Durable, adds("0a", 1)))
	if err := slot.WaitCompleted(canceled(), 1); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.settle()
	r.post(r.block(slot.Arm(), Durable, adds("0a", 1)))
	if _, completed := slot.Wait(canceled(), Patience{}); completed {
		t.Fatal("the call was told before the shard has seen its block")
	}
}

// The same with the wake-up that arrives when the next call is parked already, and
// with the right one on its heels: the shard must not block on a second one.
func TestLateWakeUpIsLookedThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slot := new(Slots).New()
		to := slot.Arm()
		told := false
		go func() {
			_, told = slot.Wait(context.Background(), Patience{})
		}()
		synctest.Wait()
		slot.wake <- struct{}{}
		synctest.Wait()
		if told {
			t.Fatal("a wake-up without an ack ended the call")
		}
		slot.wake <- struct{}{}
		slot.complete(to.use, 1, nil)
		synctest.Wait()
		if !told {
			t.Fatal("the ack did not end the call")
		}
	})
}

func TestWaitEndsWithTheErrorOfItsAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slot, want := new(Slots).New(), errors.New("why not")
		to := slot.Arm()
		var got error
		go func() { got, _ = slot.Wait(context.Background(), Patience{}) }()
		synctest.Wait()
		slot.complete(to.use, 1, want)
		synctest.Wait()
		if got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestStreamKeepsItsFirstError(t *testing.T) {
	slot := new(Slots).New()
	slot.Reset()
	first := errors.New("first")
	slot.complete(slot.Stream().use, 2, first)
	slot.complete(slot.Stream().use, 3, errors.New("second"))
	if n, err := slot.Completed(); n != 5 || err != first {
		t.Fatal(n, err)
	}
	slot.ClearFailure()
	if _, err := slot.Completed(); err != nil {
		t.Fatal("not forgotten: ", err)
	}
}

func TestWaitCompletedEndsWithTheLastOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slot := new(Slots).New()
		slot.Reset()
		over := false
		go func() { over = slot.WaitCompleted(context.Background(), 5) == nil }()
		synctest.Wait()
		slot.complete(slot.Stream().use, 4, nil)
		synctest.Wait()
		if over {
			t.Fatal("4 of 5 were enough")
		}
		slot.complete(slot.Stream().use, 1, nil)
		synctest.Wait()
		if !over {
			t.Fatal("5 of 5 were not enough")
		}
	})
}

// Goal: a free list never gives a slot to two at once. Method: many goroutines take
// and put; each marks what it holds.
func TestFreeListGivesASlotToOneAtATime(t *testing.T) {
	var slots Slots
	var free FreeList
	for range 4 {
		free.Put(slots.New())
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50_000 {
				s := free.Get(&slots)
				if s == nil {
					continue
				}
				if !s.phase.CompareAndSwap(slotFree, slotWaiting) {
					t.Error("held by two")
					return
				}
				s.phase.Store(slotFree)
				free.Put(s)
			}
		})
	}
	group.Wait()
	for n := 0; ; n++ {
		if free.Get(&slots) == nil {
			if n != 4 {
				t.Fatalf("%d slots are left of 4", n)
			}
			return
		}
	}
}

func TestSlotsEndAtTheirLimit(t *testing.T) {
	slots := Slots{count: SlotsMax - 1}
	if slots.New() == nil || slots.New() != nil {
		t.Fatal("the limit is elsewhere")
	}
}
