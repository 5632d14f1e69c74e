package shard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/ring"
)

// stop ends the shard by hand.
func (r *rig) stop() {
	r.Helper()
	r.Stop()
	r.settle()
	if !r.life.finished {
		r.Fatal("the shard has not ended")
	}
}

// Goal: a clean end acknowledges what was admitted and leaves nothing to replay.
// Method: stop with blocks in the inbox, in the open frame and in a sync.
func TestStopDrainsAcknowledgesAndLeavesNothingToReplay(t *testing.T) {
	for name, mode := range map[string]func(*Config){"always": func(*Config) {}, "interval": atInterval, "never": atNever} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mode)
			calls := []*call{r.send(Durable, add("0a"))}
			r.turn()
			calls = append(calls, r.send(Durable, add("1b")))
			r.turn()
			calls = append(calls, r.send(Written, add("2c")), r.send(Applied, adds("3d", 200)...))
			r.stop()
			for _, c := range calls {
				if c.want("stopped", true); c.slot.err != nil || len(c.refused) > 0 {
					t.Fatal(c.slot.err, c.refused)
				}
			}
			if c := r.send(Durable, add("0a")); c.outcome != ring.Closed {
				t.Fatal("a stopped shard took a block")
			}
			want := contents(r.owned)
			next := r.crash(crashfs.Model{})
			next.same("reopened", want)
			if rep := next.state.Report; !rep.Clean || rep.Events+rep.Skipped != 0 || rep.SnapshotKeys != 4 {
				t.Fatalf("%+v", rep)
			}
		})
	}
}

func TestStopDuringARoundLeavesNothingToReplay(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.ask(func(error) {})
	r.turn()
	r.turn()
	r.send(Durable, add("0a"))
	r.stop()
	want := contents(r.owned)
	next := r.crash(crashfs.Model{})
	next.same("reopened", want)
	if rep := next.state.Report; rep.Events != 0 || !rep.Clean {
		t.Fatalf("%+v", rep)
	}
}

func TestHurryLeavesTheSnapshotOut(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, adds("0a", 3)...)
	r.Hurry()
	r.stop()
	if c.want("stopped", true); len(r.names("snapshot")) != 0 {
		t.Fatal("snapshots: ", r.names("snapshot"))
	}
	want := contents(r.owned)
	next := r.crash(crashfs.Model{})
	next.same("reopened", want)
	if rep := next.state.Report; rep.Events != 3 || rep.Copied != 0 {
		t.Fatalf("%+v", rep)
	}
}

// Goal: somebody in a hurry does not wait for a round that is under way. Method: many
// batches are left of it; the lane may do the one that it has.
func TestHurryCutsARoundShort(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SegmentBytes = 1 << 20 })
	r.fill()
	told := []error{}
	r.ask(func(err error) { told = append(told, err) })
	r.turn()
	r.sync()
	r.turn()
	r.Stop()
	r.Hurry()
	batches := 0
	for range 100 {
		r.turn()
		r.sync()
		if r.write() {
			batches++
		}
	}
	if !r.life.finished || batches > 1 {
		t.Fatalf("finished %v after %d batches", r.life.finished, batches)
	}
	r.startPulse()
	r.disown()
	if len(told) != 1 || !errors.Is(told[0], ErrClosed) || len(r.names("snapshot")) != 0 {
		t.Fatalf("told %v; left over %v", told, r.names("snapshot"))
	}
}

// disown makes the end of a shard that was stepped, whose lanes have no goroutines.
func (r *rig) disown() {
	go r.log.lane.loop()
	go r.round.lane.loop()
	r.end()
}

func TestSealedLogThatIsShorterIsRefused(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 3)...)
	r.Hurry()
	r.stop()
	disk := r.disk.Crash(crashfs.Model{})
	path := r.cfg.generationDir(1) + "/00000000000000000001"
	f, err := disk.OpenFile(path, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	size := r.log.writer.Bytes()
	if err := errors.Join(f.Truncate(size-1), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var damage *CorruptError
	if _, err := r.reopen(disk); !errors.As(err, &damage) {
		t.Fatal("opened with ", err)
	}
}

func TestControlMessagesAreServedBeforeTheInbox(t *testing.T) {
	r := newRig(t)
	r.send(Applied, add("0a"))
	seen := uint64(99)
	r.control <- func() { seen = r.parts[0].Sequence }
	if r.turn(); seen != 0 {
		t.Fatalf("served behind %d events", seen)
	}
}

// Goal: messages that come faster than they are served do not keep the shard from its
// events, and the queue is bounded. Method: each message puts the next one.
func TestControlMessagesDoNotStarveTheInbox(t *testing.T) {
	r := newRig(t)
	served := 0
	var again func()
	again = func() { served++; r.control <- again }
	r.control <- again
	c := r.send(Applied, add("0a"))
	r.turn()
	c.want("one turn", true)
	if served != controlMessages || cap(r.control) != controlMessages {
		t.Fatalf("%d messages were served in one turn", served)
	}
}

func TestTellOfAShardThatHasEndedReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		r.Stop()
		synctest.Wait()
		for range 2 * controlMessages {
			if err := r.Tell(context.Background(), func() { t.Error("served") }); !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
		}
		if err := r.Tell(canceled(), func() {}); err == nil {
			t.Fatal("no error")
		}
	})
}

func TestTellEndsWithItsContext(t *testing.T) {
	r := newRig(t) // nobody serves it
	for range 2 * controlMessages {
		if err := r.Tell(canceled(), func() {}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestStatsAndFreezeSpeakOfAppliedState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		r.send(Durable, add("0a"), add("0b"), add("3c"))
		r.send(Durable, ev{key: "0a"})
		synctest.Wait()
		stats, err := r.Survey(context.Background())
		if err != nil || stats.Keys != 3 || stats.Events != 3 || stats.Reads != 1 || stats.Partitions != 4 {
			t.Fatalf("%+v, %v", stats, err)
		}
		if synctest.Wait(); !r.Idle() {
			t.Fatal("not parked")
		}
		var keys []int
		_, err = r.Freeze(context.Background(), 0, []uint32{0, 1, 3}, func(i Image) { keys = append(keys, i.Len()) })
		if err != nil || !slices.Equal(keys, []int{2, 1}) {
			t.Fatal(keys, err)
		}
		sequences := make([]uint64, rigPartitions)
		if elsewhere, err := r.Sequences(context.Background(), []uint32{0, 3}, sequences); err != nil || len(elsewhere) != 0 || sequences[0] != 2 || sequences[3] != 1 {
			t.Fatal(sequences, elsewhere, err)
		}
		if SnapshotsOf(r.cfg) != 0 {
			t.Fatal("no snapshot was taken")
		}
		if err := r.Snapshot(context.Background()); err != nil || SnapshotsOf(r.cfg) != 1 {
			t.Fatal(err)
		}
	})
}

func TestInsideIsTrueForTheTablesFunctionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		var inside, outside bool
		slot := r.cfg.Slots.New()
		slot.Sink = &nosy{func() { inside = r.Inside() }}
		r.post(r.block(slot.Arm(), Applied, []ev{{key: "0a", verb: verbRefuse}}))
		synctest.Wait()
		outside = r.Inside()
		if !inside || outside {
			t.Fatalf("inside %v, outside %v", inside, outside)
		}
	})
}

// A nosy sink does something when an operation is refused, on the shard goroutine.
type nosy struct{ do func() }

func (n *nosy) Refused(int, uint16, []byte, []byte, error) { n.do() }
func (n *nosy) Released()                                  {}

// Goal: a move that waits for a round goes on when no round will begin any more: Shutdown
// waits for it.
func TestAMoveDoesNotWaitForARoundThatNobodyBegins(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.ask(func(error) {})
	r.Hurry()
	gone := false
	r.moving.next = func() { gone = true }
	r.turn()
	if r.round.phase != roundWanted || !gone {
		t.Fatalf("the round is in phase %d, the move went on: %v", r.round.phase, gone)
	}
	r.stop()
}

// Goal: who told a shard something that it has done is not told that it has not, when it
// stops right behind it. A move would go on from there as if its route was the old one.
func TestWhatAShardHasRunIsNotTakenBackWhenItStops(t *testing.T) {
	r := newRig(t)
	close(r.life.stopped)
	ran := make(chan struct{})
	if err := r.told(context.Background(), ran); !errors.Is(err, ErrClosed) {
		t.Errorf("not run: %v, want ErrClosed", err)
	}
	close(ran)
	for range 100 {
		if err := r.told(context.Background(), ran); err != nil {
			t.Fatal("run, and then stopped: ", err)
		}
	}
}
