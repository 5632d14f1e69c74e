package shard

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: the order in which a snapshot takes the place of what it replaces. A crash
// between any two steps must find either the old state or the new one. Method: record
// what the disk is asked to do during the third round of a shard, the first one that
// has something to remove.
func TestSnapshotIsNamedBeforeAnythingIsRemoved(t *testing.T) {
	r := newRig(t)
	for range 2 {
		r.accept(add("0a"))
		r.snapshot()
	}
	r.accept(add("0a"))
	r.trace()
	r.snapshot()
	steps := []struct {
		what string
		kind crashfs.Kind
		name string
	}{
		{"new generation", crashfs.Mkdir, "log/00000004"},
		{"new generation named", crashfs.Rename, "CURRENT"},
		{"file synced", crashfs.Sync, "snapshot/00000004.snap.tmp"},
		{"renamed", crashfs.Rename, "snapshot/00000004.snap.tmp"},
		{"directory synced", crashfs.SyncDir, "snapshot"},
		{"page cache forgets it", crashfs.Evict, "00000004.snap"},
		{"read again", crashfs.Read, "00000004.snap"},
		{"CURRENT written", crashfs.Sync, "CURRENT"},
		{"CURRENT replaced", crashfs.Rename, "CURRENT"},
		{"directory of CURRENT synced", crashfs.SyncDir, "shard-000"},
		{"old generation removed", crashfs.Remove, "log/00000002"},
		{"old snapshot removed", crashfs.Remove, "snapshot/00000002.snap"},
	}
	at := -1
	for _, step := range steps {
		if at = r.where(at+1, step.kind, step.name); at < 0 {
			t.Fatalf("no %q (%v of %s) in its place:\n%v", step.what, step.kind, step.name, r.ops)
		}
	}
	for _, op := range r.ops[:r.where(0, crashfs.Evict, "")] {
		if op.Kind == crashfs.Remove && !strings.HasSuffix(op.Name, ".tmp") {
			t.Fatal("removed too early: ", op)
		}
	}
}

func TestTwoSnapshotsAreKeptWithTheLogBehindTheOlder(t *testing.T) {
	r := newRig(t)
	for range 4 {
		r.accept(add("0a"), add("1b"))
		r.snapshot()
	}
	if have := r.names("snapshot"); !slices.Equal(have, []string{"00000004.snap", "00000005.snap"}) {
		t.Fatal("snapshots: ", have)
	}
	if have := r.names("log"); !slices.Equal(have, []string{"00000004", "00000005"}) {
		t.Fatal("generations: ", have)
	}
}

// Goal: a damaged snapshot costs nothing but time, and is not passed over in silence.
// Method: damage the newest at several places; the older one and its log must give
// the same state.
func TestDamagedSnapshotFallsBackToTheOneBefore(t *testing.T) {
	for _, offset := range []int64{0, 70, -170, -1} {
		r := threeRounds(t)
		want := contents(r.owned)
		disk := r.disk.Crash(crashfs.Model{})
		rot(t, disk, r.cfg.snapshotPath(4), offset)
		next, err := r.reopen(disk)
		if err != nil {
			t.Fatal(err)
		}
		next.same("fallen back", want)
		if w := next.state.Report.Warnings; len(w) != 1 || !strings.Contains(w[0], "snapshot 4") {
			t.Fatalf("warnings: %q", w)
		}
	}
}

// threeRounds is a shard with events before, between and behind three snapshots.
func threeRounds(t *testing.T) *rig {
	r := newRig(t)
	for range 3 {
		r.accept(add("0a"), add("1b"), add("0c"))
		r.snapshot()
	}
	r.accept(add("2d"), add("0a"))
	return r
}

func TestMissingSnapshotFallsBackToTheOneBefore(t *testing.T) {
	r := threeRounds(t)
	want := contents(r.owned)
	disk := r.disk.Crash(crashfs.Model{})
	if err := disk.Remove(r.cfg.snapshotPath(4)); err != nil {
		t.Fatal(err)
	}
	next, err := r.reopen(disk)
	if err != nil {
		t.Fatal(err)
	}
	next.same("fallen back", want)
}

func TestFirstSnapshotFallsBackToTheWholeLog(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 10)...)
	r.snapshot()
	want := contents(r.owned)
	disk := r.disk.Crash(crashfs.Model{})
	rot(t, disk, r.cfg.snapshotPath(2), 70)
	next, err := r.reopen(disk)
	if err != nil {
		t.Fatal(err)
	}
	next.same("without any snapshot", want)
}

func TestTwoDamagedSnapshotsAreRefused(t *testing.T) {
	r := threeRounds(t)
	disk := r.disk.Crash(crashfs.Model{})
	rot(t, disk, r.cfg.snapshotPath(4), 70)
	rot(t, disk, r.cfg.snapshotPath(3), 70)
	var damage *CorruptError
	if _, err := r.reopen(disk); !errors.As(err, &damage) || filepath.Base(damage.Path) != "00000003.snap" {
		t.Fatal("opened with ", err)
	}
}

// Goal: a snapshot that was left out does not count as one of the two: else the next
// round would remove the good one and leave a single good one. Method: fall back, take
// another snapshot, damage that too.
func TestDamagedSnapshotDoesNotOutliveTheGoodOne(t *testing.T) {
	r := threeRounds(t)
	disk := r.disk.Crash(crashfs.Model{})
	rot(t, disk, r.cfg.snapshotPath(4), 70)
	r, err := r.reopen(disk)
	if err != nil {
		t.Fatal(err)
	}
	r.accept(add("3e"))
	r.snapshot()
	r.accept(add("3e"))
	want, number := contents(r.owned), r.round.number
	disk = r.disk.Crash(crashfs.Model{})
	rot(t, disk, r.cfg.snapshotPath(number), 70)
	if r, err = r.reopen(disk); err != nil {
		t.Fatal(err)
	}
	r.same("fallen back again", want)
}

// Goal: a snapshot is published only when the log is durable up to every stamp. Method:
// in each mode, stamp an event of the new generation whose sync does not run; the
// round must not go on before it has.
func TestSnapshotWaitsForTheLogOfItsStamps(t *testing.T) {
	modes := map[string]func(*Config){"always": func(*Config) {}, "interval": atInterval, "never": atNever}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mode)
			r.acceptWritten(add("0a"))
			r.ask(func(error) {})
			r.turn()
			r.sync() // the generation is valid
			r.send(Applied, add("0a"))
			r.turn() // freezes, too
			r.write()
			for range 10 {
				r.turn()
				if r.write() {
					t.Fatal("the round went on before the log was durable")
				}
			}
			if r.round.phase != roundSealing {
				t.Fatalf("phase %d", r.round.phase)
			}
			stamp := r.round.job.frozen[0].at.sequence
			r.settle()
			if stamp != 2 || r.counters.snapshots != 1 {
				t.Fatalf("stamp %d, %d snapshots", stamp, r.counters.snapshots)
			}
			want := contents(r.owned)
			r.crash(crashfs.Model{}).same("power cut", want)
		})
	}
}

// acceptWritten is accept for a mode in which nothing may be synced.
func (r *rig) acceptWritten(evs ...ev) {
	r.Helper()
	c := r.send(Written, evs...)
	r.settle()
	c.want("settled", true)
}

// fill gives each partition so much state that it is a batch of its own.
func (r *rig) fill() {
	r.Helper()
	for p := range rigPartitions {
		for key := 0; key < 2000; key += 50 {
			var evs []ev
			for k := range 50 {
				evs = append(evs, adds(fmt.Sprintf("%d%d", p, key+k), 6)...)
			}
			r.accept(evs...)
		}
	}
}

// Goal: partitions are copied at different times, each with the events it holds by
// then; events that come during the round are in the log of the round's generation.
// Method: events for all partitions between any two steps of the round, then recover.
func TestSnapshotOfAMovingStateRecovers(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SegmentBytes = 1 << 20 })
	evs := func() []ev { return []ev{add("0a"), add("1b"), add("2c"), add("3d")} }
	r.fill()
	over := false
	r.ask(func(err error) { over = err == nil })
	for step := 0; !over && step < 100; step++ {
		r.send(Durable, evs()...)
		r.turn()
		switch step % 3 {
		case 0:
			r.sync()
		case 1:
			r.write()
		}
	}
	r.settle()
	want := contents(r.owned)
	next := r.crash(crashfs.Model{})
	next.same("recovered", want)
	if n := next.state.Report.Skipped; n == 0 {
		t.Fatal("no event lay between the start of the round and its stamp")
	}
}

// Goal: a round begins although the shard always has a frame to sync. Method: one event
// for each turn, and a sync lane that always has a job under way when the turn ends.
func TestRoundBeginsUnderSteadyLoad(t *testing.T) {
	r := newRig(t)
	over := false
	r.ask(func(err error) { over = err == nil })
	for range 50 {
		r.send(Durable, add("0a"))
		r.turn()
		r.sync()
		r.write()
	}
	if !over {
		t.Fatalf("no snapshot after 50 syncs: phase %d", r.round.phase)
	}
}

func TestRoundStartsByItselfWhenTheLogHasGrown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SnapshotBytes = 1000 })
	r.accept(adds("0a", 20)...)
	if r.counters.snapshots != 0 {
		t.Fatal("too early")
	}
	r.accept(adds("0a", 60)...)
	if r.counters.snapshots != 1 || r.log.bytes > 1000 {
		t.Fatalf("%d snapshots, %d bytes to replay", r.counters.snapshots, r.log.bytes)
	}
}

func TestRoundWaitsUntilTheLogIsAsLargeAsTheLastSnapshot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SnapshotBytes = 1000 })
	for range 5 {
		r.accept(adds("0a", 200)...)
	}
	r.snapshot()
	taken := r.counters.snapshots
	r.accept(adds("0a", 200)...)
	if r.counters.snapshots != taken || r.log.bytes < 1000 {
		t.Fatalf("%d snapshots, then %d; %d bytes to replay", taken, r.counters.snapshots, r.log.bytes)
	}
}

func TestSnapshotAskedForDuringARoundIsTakenAfterIt(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	order := []int{}
	r.ask(func(error) { order = append(order, 1) })
	r.turn()
	r.turn()
	r.send(Durable, add("0a"))
	r.ask(func(error) { order = append(order, 2) })
	r.settle()
	if !slices.Equal(order, []int{1, 2}) || r.counters.snapshots != 2 {
		t.Fatalf("answers %v, %d snapshots", order, r.counters.snapshots)
	}
}

// Goal: trouble with a snapshot is not trouble with the shard. Method: make every kind
// of step of a round fail; events are taken and acknowledged, the asker hears of it,
// nothing is left over, and a later round works.
func TestFailedRoundLeavesTheShardAndTheDiskAsTheyWere(t *testing.T) {
	faults := []struct {
		what string
		kind crashfs.Kind
		name string
		err  error
	}{
		{"create", crashfs.Create, ".snap.tmp", crashfs.ErrIO},
		{"write", crashfs.Write, ".snap.tmp", crashfs.ErrFull},
		{"sync", crashfs.Sync, ".snap.tmp", crashfs.ErrIO},
		{"rename", crashfs.Rename, ".snap.tmp", crashfs.ErrIO},
		{"directory", crashfs.SyncDir, "snapshot", crashfs.ErrIO},
		{"verify", crashfs.Read, "3.snap", crashfs.ErrIO},
	}
	for _, f := range faults {
		t.Run(f.what, func(t *testing.T) {
			r := newRig(t)
			r.accept(add("0a"))
			r.snapshot()
			r.disk.SetHook(func(op crashfs.Op) error {
				name := filepath.ToSlash(op.Name)
				if op.Kind == f.kind && (strings.HasSuffix(name, f.name)) {
					return f.err
				}
				return nil
			})
			var told error
			r.ask(func(err error) { told = err })
			r.settle()
			if told == nil || r.Err() != nil {
				t.Fatalf("told %v; the shard failed with %v", told, r.Err())
			}
			if have := r.names("snapshot"); !slices.Equal(have, []string{"00000002.snap"}) {
				t.Fatal("left over: ", have)
			}
			r.accept(add("0a"))
			r.disk.SetHook(nil)
			want := contents(r.owned)
			r.snapshot()
			r.crash(crashfs.Model{}).same("recovered", want)
		})
	}
}

func TestFailedRoundIsTriedAgainWhenTheLogHasGrownMore(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.SnapshotBytes = 1000 })
	creates := 0
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Create && strings.HasSuffix(op.Name, ".snap.tmp") {
			creates++
			return crashfs.ErrFull
		}
		return nil
	})
	for range 200 {
		r.accept(adds("0a", 2)...)
	}
	bytes := int(r.log.bytes)
	if creates < 2 || creates > bytes/1000 {
		t.Fatalf("%d tries in %d bytes", creates, bytes)
	}
	r.disk.SetHook(nil)
	for range 40 {
		r.accept(adds("0a", 2)...)
	}
	if r.counters.snapshots == 0 {
		t.Fatal("not tried again")
	}
}

// Goal: the lane rests between the batches of a busy shard, and writes at full speed for
// one that has nothing else to do. Method: ask what it would do.
func TestTheLaneRestsOnlyWhileTheShardIsBusy(t *testing.T) {
	r := round{job: roundJob{took: time.Millisecond}}
	for i, step := range []struct {
		runs uint64
		want time.Duration
	}{{1, roundPace * time.Millisecond}, {1, 0}, {9, roundPace * time.Millisecond}, {9, 0}} {
		if have := r.pause(step.runs); have != step.want {
			t.Errorf("step %d: %v, want %v", i, have, step.want)
		}
	}
}
