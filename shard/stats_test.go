package shard

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// A stopped clock is a meter's, and moves when the test says so.
type stoppedClock struct{ now time.Duration }

func (r *rig) stopClock() *stoppedClock {
	c := &stoppedClock{}
	r.meter.clock = func() time.Duration { return c.now }
	return c
}

// measured makes a turn that is measured.
func (r *rig) measured() {
	r.meter.skip = 1
	r.turn()
}

func TestSurveyCountsWhatTheShardDid(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 10)...)
	r.accept(add("0b"), add("3c"))
	r.send(Applied, ev{key: "0a"}, ev{key: "1x"}, ev{key: "3c", verb: verbRefuse})
	r.settle()
	s := r.survey()
	if s.Events != 12 || s.Reads != 2 || s.Refused != 1 || s.Keys != 3 || s.Stats.Partitions != rigPartitions {
		t.Errorf("%+v", s.Stats)
	}
	if s.Tables[0].Operations != 15 || s.Tables[0].Keys != 3 || s.Tables[0].StateBytes != s.StateBytes {
		t.Errorf("tables %+v, all %d bytes", s.Tables, s.StateBytes)
	}
	for id, want := range [rigPartitions]PartitionStats{{Events: 11, Keys: 2}, {Partition: 1}, {Partition: 2}, {Partition: 3, Events: 1, Keys: 1}} {
		have := s.Owned[id]
		if have.StateBytes = 0; have != want {
			t.Errorf("partition %+v, want %+v", have, want)
		}
	}
	if s.Log.Frames == 0 || s.Log.Bytes == 0 || s.Log.ReplayBytes != int64(s.Log.Bytes) || s.Log.SyncTime.Count != s.Log.Syncs {
		t.Errorf("log %+v", s.Log)
	}
}

func TestSurveyKnowsTheLastSnapshot(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 10)...)
	if s := r.stats().Snapshots; !s.At.IsZero() || s.Bytes != 0 {
		t.Errorf("there is no snapshot: %+v", s)
	}
	r.time = 5e9
	r.snapshot()
	s := r.stats()
	if s.Snapshots.At != time.Unix(5, 0) || s.Snapshots.Bytes == 0 || s.Snapshots.Published != 1 || s.Log.ReplayBytes != 0 {
		t.Errorf("%+v, %d bytes to replay", s.Snapshots, s.Log.ReplayBytes)
	}
	next := r.crash(crashfs.Model{})
	info, err := next.disk.Lstat(next.cfg.snapshotPath(2))
	if err != nil {
		t.Fatal(err)
	}
	if again := next.stats().Snapshots; again.At != info.ModTime() || again.Bytes != s.Snapshots.Bytes {
		t.Errorf("after a crash %+v, the file is of %v", again, info.ModTime())
	}
}

func TestReadOnlyIsShownAsLongAsItLasts(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.disk.SetCapacity(r.disk.Used() + 1<<10)
	refused := 0
	for range 1000 {
		c := r.send(Applied, ev{key: "0a", verb: verbAdd, pad: 1 << 10})
		r.settle()
		refused += len(c.refused)
	}
	if refused == 0 || !r.stats().Log.ReadOnly {
		t.Errorf("%d events were refused, read-only: %v", refused, r.stats().Log.ReadOnly)
	}
	r.disk.SetCapacity(0)
	r.accept(add("0a"))
	if r.stats().Log.ReadOnly {
		t.Error("still read-only")
	}
}

// A ticking feed takes a while for each block.
type ticking struct {
	r     *rig
	clock *stoppedClock
	left  int
	takes time.Duration
}

func (f *ticking) Poll() ([]byte, *Rows, FeedState) {
	if f.left == 0 {
		return nil, nil, FeedIdle
	}
	f.left--
	f.clock.now += f.takes
	return f.r.block(Address{}, Applied, []ev{add("0a")}), nil, FeedBusy
}

func (f *ticking) End(error) {}

// Goal: every job is charged with its own time, however they are nested, and the
// estimate for what is only measured in some turns comes out right.
//
// Method: a clock that moves only while a job is done: as long for each block of a source
// as the test says, 10 ms for each write to the log, a minute for each control message.
// Writes happen within the turns that are measured, and in others.
func TestTimeIsChargedToTheJobThatTookIt(t *testing.T) {
	t.Run("short", func(t *testing.T) { testCharges(t, 10*time.Microsecond, 0.05) })
	t.Run("long", func(t *testing.T) { testCharges(t, time.Second, 0.01) })
}

func testCharges(t *testing.T, takes time.Duration, tolerance float64) {
	r := newRig(t, func(c *Config) { c.Log.FrameBytesMax = 200 })
	clock := r.stopClock()
	writes := 0
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Write && strings.Contains(filepath.ToSlash(op.Name), "/log/") {
			writes++
			clock.now += 10 * time.Millisecond
		}
		return nil
	})
	const blocks = 10_000
	feed := &ticking{r: r, clock: clock, left: blocks, takes: takes}
	r.feeds = append(r.feeds, feed)
	for feed.left > 0 {
		r.turn()
		r.sync()
	}
	r.settle()
	for range 3 {
		r.control <- func() { clock.now += time.Minute }
		r.turn()
	}
	busy := r.stats().Busy
	if want := time.Duration(writes) * 10 * time.Millisecond; busy.Log != want {
		t.Errorf("%v on the log, %d writes took %v", busy.Log, writes, want)
	}
	if busy.View != 3*time.Minute || busy.Snapshot != 0 {
		t.Errorf("%v on control messages, %v on snapshots", busy.View, busy.Snapshot)
	}
	if ratio := busy.Apply.Seconds() / blocks / takes.Seconds(); math.Abs(ratio-1) > tolerance {
		t.Errorf("%v on events, that is %.3f of what they took", busy.Apply, ratio)
	}
	if busy.Total() != busy.Apply+busy.Log+busy.View {
		t.Errorf("%v in all of %+v", busy.Total(), busy)
	}
}

// Goal: what a move takes of both shards is charged to it, and not to the control messages
// by which the mover visits them.
func TestMovesAreChargedToBothShards(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		for _, r := range p.shards {
			r.accept(add(fmt.Sprint(2*r.cfg.Index, "a")))
			clock := time.Duration(0)
			r.meter.clock = func() time.Duration { clock += time.Microsecond; return clock }
		}
		p.move(0)
		p.settle()
		for i, want := range []MoveStats{{Out: 1}, {In: 1}} {
			s := p.shards[i].stats()
			if s.Moves != want || s.Busy.Move == 0 || s.Busy.View > 2*s.Busy.Move {
				t.Errorf("shard %d: %+v, %+v", i, s.Moves, s.Busy)
			}
		}
	})
}

func TestSnapshotsAreChargedForCopying(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 10)...)
	clock := time.Duration(0)
	r.meter.clock = func() time.Duration { clock += time.Microsecond; return clock }
	r.snapshot()
	if r.stats().Busy.Snapshot == 0 {
		t.Error("nothing")
	}
}

// Goal: the delay is the time from when the end of the inbox was looked at until the
// shard has come that far.
func TestDelayIsHowLongTheInboxTakes(t *testing.T) {
	r := newRig(t)
	clock := r.stopClock()
	clock.now = time.Hour
	for range 4 {
		r.send(Applied, adds("0a", runOperations)...)
	}
	r.measured()
	for range 2 {
		clock.now += time.Millisecond
		r.turn()
	}
	r.send(Applied, adds("0a", runOperations)...) // behind what is measured
	if d := r.stats().Inbox.Delay; d.Count != 0 {
		t.Fatalf("a delay of %v before the end was reached", d.Quantile(1))
	}
	clock.now += 3 * time.Millisecond
	r.turn()
	d := r.stats().Inbox.Delay
	if d.Count != 1 || d.Sum != 5*time.Millisecond {
		t.Errorf("%d delays of %v in all, want one of 5ms", d.Count, d.Sum)
	}
	r.settle()
	clock.now += time.Hour
	r.measured()
	if r.meter.probe.out || r.stats().Inbox.Delay.Count != 1 {
		t.Error("an empty inbox has no delay to measure")
	}
}

// Goal: a key with a third of the operations is found with about that share, however the
// operations come, and is forgotten when it has not come up for long.
func TestHotKeysAreFoundAndForgotten(t *testing.T) {
	for _, size := range []int{1, 7, 500} {
		r := newRig(t)
		clock := r.stopClock()
		var evs []ev
		for i := range 9_000 {
			if key := fmt.Sprint("2cold", i); i%3 == 0 {
				evs = append(evs, add("1hot"))
			} else {
				evs = append(evs, ev{key: key})
			}
		}
		for from := 0; from < len(evs); from += size {
			r.send(Applied, evs[from:min(from+size, len(evs))]...)
			for r.inbox.Used() > 0 {
				r.measured()
			}
			clock.now += time.Microsecond
		}
		r.settle()
		hot := r.survey().Hot
		if len(hot) == 0 || string(hot[0].Bytes) != "1hot" || math.Abs(hot[0].Share-1./3) > 0.12 || hot[0].Error > 0.1 {
			t.Fatalf("in blocks of %d: %+v", size, hot[:min(2, len(hot))])
		}
		clock.now += 20 * hotHalfLife
		for range 500 {
			r.send(Applied, add("1new"))
			r.measured()
		}
		if hot := r.survey().Hot; !bytes.Equal(hot[0].Bytes, []byte("1new")) || hot[0].Share < 0.9 {
			t.Errorf("%+v", hot[0])
		}
	}
}

// Goal: an operation counts the same whether it comes alone or in a large block.
func TestHotKeysCountAlikeInRunsOfAnySize(t *testing.T) {
	r := newRig(t)
	r.stopClock()
	for range 40 {
		r.send(Applied, adds("0stream", runOperations)...)
		r.measured()
		for range runOperations {
			r.send(Applied, add("1call"))
			r.measured()
		}
		r.settle()
	}
	for _, k := range r.survey().Hot {
		if math.Abs(k.Share-0.5) > 0.02 {
			t.Errorf("%s has a share of %v", k.Bytes, k.Share)
		}
	}
}

// Goal: where every turn is measured because they are long, keys are not counted more
// often than elsewhere: that costs more than the clock.
func TestKeysOfLongTurnsAreCountedNoMoreOften(t *testing.T) {
	r := newRig(t)
	clock := r.stopClock()
	feed := &ticking{r: r, clock: clock, left: 5_000, takes: time.Second}
	r.feeds = append(r.feeds, feed)
	counted := 0
	for feed.left > 0 {
		r.turn()
		if r.meter.measuring = r.meter.stands == 1; r.meter.countsKeys() {
			counted++
		}
		r.meter.measuring = false
		r.sync()
	}
	if r.meter.stands != 1 || counted < 50 || counted > 110 {
		t.Errorf("each measured turn stands for %d; keys of %d turns of 5000 are counted", r.meter.stands, counted)
	}
}

func TestFiguresOfAStoppedShardAreItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		r.send(Durable, add("0a"), add("0b"))
		synctest.Wait()
		r.Stop()
		if err := r.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		s, err := r.Survey(context.Background())
		if err == nil || s.Events != 2 || s.Keys != 2 || len(s.Owned) != rigPartitions {
			t.Errorf("%+v, %v", s.Stats, err)
		}
	})
}

// Goal: the estimate is what the last recovery took, for as much.
func TestRecoveryTimeFollowsTheLastRecovery(t *testing.T) {
	last := &Report{SnapshotBytes: 100 << 20, LogBytes: 50 << 20, Times: Times{Load: time.Second, Replay: 2 * time.Second}}
	if have := ratesOf(last, 2).recovery(50<<20, 100<<20); have != 4500*time.Millisecond {
		t.Errorf("half of the snapshot and twice the log: %v", have)
	}
	few := &Report{SnapshotBytes: 10, LogBytes: 10, Times: Times{Load: time.Hour, Replay: time.Hour}}
	if have := ratesOf(few, 2).recovery(2*loadRate, 2*replayRate); have != 2*time.Second {
		t.Errorf("a recovery of some bytes tells nothing, but is made %v of", have)
	}
}

// Goal: a caller who has gone away shares nothing with the shard that still does what it was
// asked for. Method: both at once, for the race detector.
func TestWhoGivesUpSharesNothingWithTheShard(t *testing.T) {
	r := newRig(t)
	r.displace(r.parts[3]) // so that there is something to say
	sequences := make([]uint64, rigPartitions)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = r.Sequences(ctx, allPartitions(), sequences)
		}()
		for len(r.control) == 0 {
			runtime.Gosched()
		}
		cancel()
		r.serveControl()
		<-gone
	}
}
