package shard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/ring"
)

func TestInboxTakesTwoOfTheLargestBlocks(t *testing.T) {
	for _, bytes := range []int{1 << 10, 1 << 16} {
		r := newRig(t, func(c *Config) { c.Inbox = bytes })
		for start := range 20 { // wherever the tail stands
			for range start {
				r.send(Applied, add("0a"))
				r.settle()
			}
			largest := ev{key: "0a", verb: verbAdd, pad: r.inbox.MaxBlock() - BlockHeaderBytes - OpBytes(2, 9)}
			for range 2 {
				if c := r.send(Durable, largest); c.outcome != ring.Claimed {
					t.Fatalf("start %d: %v", start, c.outcome)
				}
			}
			r.settle()
		}
	}
}

// Goal: a block that is published between the shard's last look at its inbox and its
// sleep is found. Method: the frame that is written on the way to sleep is where the
// test has its hands; the publisher finds the shard awake and so wakes nobody.
func TestBlockPublishedOnTheWayToSleepIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, atNever)
		late := r.cfg.Slots.New()
		block := r.block(late.Arm(), Applied, adds("0a", 1))
		first := true
		r.disk.SetHook(func(op crashfs.Op) error {
			if op.Kind == crashfs.Write && first {
				first = false
				r.post(block)
			}
			return nil
		})
		r.send(Applied, add("0a"))
		r.Start()
		synctest.Wait()
		if late.phase.Load() != slotDone {
			t.Error("the shard sleeps, and a block waits")
		}
		r.Stop()
		synctest.Wait()
	})
}

// Goal: no block waits for ever because the shard went to sleep just when it was
// published, and no caller because it parked just when it was told. Method: callers
// with one block at a time, so that the shard parks again and again, and once a single
// one whom nobody helps out; a lost wake-up leaves the test hanging.
func TestNoWakeUpIsLost(t *testing.T) {
	spinning := func(c *Config) { c.Wait.Spin = 20 * time.Microsecond }
	parking := func(*Config) {}
	for _, callers := range []int{1, 3} {
		for _, change := range []func(*Config){parking, spinning, atNever} {
			r := newRig(t, change, func(c *Config) { c.Log.SegmentBytes = 1 << 20 })
			r.Start()
			var group sync.WaitGroup
			for caller := range callers {
				group.Go(func() { calls(r, uint64(caller), 6000/callers) })
			}
			group.Wait()
			r.Stop()
			if err := r.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := len(history(r.parts[0])); n != 6000 {
				t.Fatalf("%d events", n)
			}
		}
	}
}

// calls makes calls one after the other, now and then cancelled or with a word to the
// shard in between.
func calls(r *rig, seed uint64, count int) {
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range count {
		key := fmt.Sprint("0", seed, i/50)
		slot := r.cfg.Slots.New()
		sink := &releases{done: make(chan struct{}, 1)}
		slot.Sink = sink
		ack := Ack(random.IntN(2)) // not Durable: that is slow without telling more
		if i%16 == 0 && r.cfg.Log.Sync != SyncNever {
			ack = Durable
		}
		block := r.block(slot.Arm(), ack, []ev{{key: key, verb: verbAdd, id: uint64(i + 1)}})
		for r.post(block) != ring.Claimed {
			_ = r.inbox.WaitRoom(context.Background(), len(block))
		}
		ctx := context.Background()
		if random.IntN(8) == 0 {
			ctx = canceled()
		}
		if err, completed := slot.Wait(ctx, Patience{}); !completed {
			<-sink.done
		} else if err != nil {
			r.Error(err)
			return
		}
		if i%64 == 0 {
			_ = r.Tell(context.Background(), func() {})
		}
	}
}

// releases is a sink that hears of the release of its slot.
type releases struct{ done chan struct{} }

func (s *releases) Refused(int, uint16, []byte, []byte, error) {}
func (s *releases) Released()                                  { s.done <- struct{}{} }

// Goal: everything a shard does beside the inbox goes on under load, with real
// goroutines: rounds, rotations, control messages, streams; and the end finds all of
// it done. Method: all at once, then a power cut, and every event must be there.
func TestShardUnderLoadKeepsEverything(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SnapshotBytes = 32 << 10; c.Log.SegmentBytes = 16 << 10 })
	r.Start()
	var group sync.WaitGroup
	group.Go(func() { calls(r, 0, 2000) })
	group.Go(func() {
		slot := r.cfg.Slots.New()
		slot.Reset()
		for i := range uint64(2000) {
			block := r.block(slot.Stream(), Durable, []ev{{key: fmt.Sprint("1s", i/50), verb: verbAdd, id: 2*i + 1}, {key: fmt.Sprint("2s", i/50), verb: verbAdd, id: 2*i + 2}})
			for r.post(block) != ring.Claimed {
				_ = r.inbox.WaitRoom(context.Background(), len(block))
			}
			if i%100 == 99 {
				if err := slot.WaitCompleted(context.Background(), 2*i); err != nil {
					r.Error(err)
				}
			}
		}
	})
	group.Go(func() {
		for range 5 {
			if err := r.Snapshot(context.Background()); err != nil {
				r.Error(err)
			}
		}
	})
	group.Wait()
	r.Stop()
	if err := r.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := contents(r.owned)
	next := r.crash(crashfs.Model{})
	next.same("power cut after the end", want)
	if len(want[0]) != 2000 || len(want[1]) != 2000 || len(want[2]) != 2000 || next.state.Report.Events != 0 {
		t.Fatalf("%d, %d and %d events; %+v", len(want[0]), len(want[1]), len(want[2]), next.state.Report)
	}
}
