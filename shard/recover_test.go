package shard

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/wal"
)

// refuses fails the test unless what is on disk is refused with damage at a path that
// has the given part, and returns the damage.
func (r *rig) refuses(disk *crashfs.FS, part string) *CorruptError {
	r.Helper()
	before := disk.Ops()
	_, err := Recover(r.onDisk(disk), allPartitions(), nil)
	var damage *CorruptError
	if !errors.As(err, &damage) {
		r.Fatal("recovered with ", err)
	}
	if !strings.Contains(filepath.ToSlash(damage.Path), part) || !strings.Contains(err.Error(), "damaged") {
		r.Fatalf("it names %s: %v", damage.Path, err)
	}
	if disk.Ops() != before {
		r.Fatal("recovery has changed something")
	}
	return damage
}

// Goal: a log that does not reach the stamps of its snapshot has lost what was durable,
// although each of its frames is whole. Method: cut the last frame that a stamp
// depends on; by itself it looks like a tear.
func TestLogThatEndsBeforeTheStampsIsRefused(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.ask(func(error) {})
	r.turn()
	r.send(Durable, add("0a"))
	r.settle()
	disk := r.disk.Crash(crashfs.Model{})
	rot(t, disk, r.cfg.generationDir(2)+"/00000000000000000001", r.log.writer.Bytes()-9)
	damage := r.refuses(disk, "log/00000002")
	if damage.Partition != 0 || damage.Sequence != 2 {
		t.Fatalf("%+v", damage)
	}
}

func TestMissingGenerationIsRefused(t *testing.T) {
	r := threeRounds(t)
	for _, g := range r.log.current.Generations[1:] {
		disk := r.disk.Crash(crashfs.Model{})
		if err := fsys.RemoveTree(disk, r.cfg.generationDir(g.Number)); err != nil {
			t.Fatal(err)
		}
		r.refuses(disk, filepath.Base(r.cfg.generationDir(g.Number)))
	}
}

// Goal: damage in a log that a snapshot has made superfluous, but for the older
// snapshot, is not looked for: opening stays quick. That is what a fall back is for.
func TestLogBeforeTheNewestSnapshotIsNotRead(t *testing.T) {
	r := threeRounds(t)
	want := contents(r.owned)
	disk := r.disk.Crash(crashfs.Model{})
	if err := fsys.RemoveTree(disk, r.cfg.generationDir(3)); err != nil {
		t.Fatal(err)
	}
	next, err := r.reopen(disk)
	if err != nil {
		t.Fatal(err)
	}
	next.same("recovered", want)
}

// Goal: a generation that begins behind another state than the one before it left is
// refused, whichever way. Method: put a generation behind the last one by hand, whose
// header says one event more or less.
func TestGenerationThatDoesNotJoinIsRefused(t *testing.T) {
	for name, shift := range map[string]int{"hole": 1, "overlap": -1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.accept(adds("0a", 3)...)
			disk := r.disk.Crash(crashfs.Model{})
			cfg := r.onDisk(disk)
			current := r.log.current.grown(ending{end: r.log.writer.End()}, 2, true)
			claimed := []*Partition{{ID: 0, Sequence: uint64(3 + shift)}}
			w, err := cfg.createGeneration(2, r.log.writer.End(), 0, startsOf(0, claimed, nil, nil, cfg.eras()).encode())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(current.write(disk, cfg.Dir), w.Close()); err != nil {
				t.Fatal(err)
			}
			if damage := r.refuses(disk, "log/00000002"); !strings.Contains(damage.Err.Error(), "begins behind") {
				t.Fatal(damage)
			}
		})
	}
}

func TestPartitionOfAnotherShardIsRefused(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		r := newRig(t)
		r.accept(add("0a"), add("3d"))
		if snapshot {
			r.snapshot()
			r.snapshot() // the log alone does not give it away any more
		}
		cfg := r.onDisk(r.disk.Crash(crashfs.Model{}))
		if _, err := Recover(cfg, []uint32{0, 1, 2}, nil); err == nil {
			t.Fatalf("with a snapshot %v: recovered without partition 3", snapshot)
		}
	}
}

func TestUnknownTableIsRefused(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	cfg := r.onDisk(r.disk.Crash(crashfs.Model{}))
	cfg.Tables = nil
	if _, err := Recover(cfg, allPartitions(), nil); err == nil || !strings.Contains(err.Error(), "table 0") {
		t.Fatal("recovered with ", err)
	}
}

// Goal: a table function that decides otherwise on replay is found out and is no
// damage of the disk. Method: events that refuse or panic on their replay.
func TestReplayThatDiffersIsRefusedAndNotCalledDamage(t *testing.T) {
	for _, verb := range []byte{verbRefuseReplay, verbPanicReplay} {
		r := newRig(t)
		r.accept(add("0a"), ev{key: "0a", verb: verb})
		_, err := Recover(r.onDisk(r.disk.Crash(crashfs.Model{})), allPartitions(), nil)
		var damage *CorruptError
		if !errors.Is(err, errReplay) || errors.As(err, &damage) {
			t.Fatalf("%c: %v", verb, err)
		}
	}
}

func TestCurrentOfAnotherShardIsRefused(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	disk := r.disk.Crash(crashfs.Model{})
	cfg := r.onDisk(disk)
	cfg.ID.Shard++
	var damage *CorruptError
	if _, err := Recover(cfg, allPartitions(), nil); !errors.As(err, &damage) || filepath.Base(damage.Path) != "CURRENT" {
		t.Fatal("recovered with ", err)
	}
	rot(t, disk, rigDir+"/CURRENT", 40)
	if _, err := Recover(r.onDisk(disk), allPartitions(), nil); !errors.Is(err, fsys.ErrDamaged) {
		t.Fatal("recovered with ", err)
	}
}

// Goal: rot at or below the horizon is never taken for a tear. Method: change each byte
// of the log, one at a time: up to the end of the frame that the last one vouches for,
// recovery must refuse; behind that it may drop the last frame and nothing else.
func TestRotBelowTheHorizonIsRefusedWhereverItIs(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 2)...)
	r.accept(adds("1b", 2)...)
	vouched := r.log.writer.Bytes()
	r.accept(add("2c"))
	want := contents(r.owned)
	want[2] = nil
	path := r.cfg.generationDir(1) + "/00000000000000000001"
	for at := range r.log.writer.Bytes() {
		disk := r.disk.Crash(crashfs.Model{})
		rot(t, disk, path, at)
		if at < vouched {
			r.refuses(disk, "log/00000001")
			continue
		}
		next, err := r.reopen(disk)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if next.same("torn", want); next.state.Report.TornBytes == 0 {
			t.Fatal("a tear was not counted")
		}
	}
}

func TestProgressReachesItsTotal(t *testing.T) {
	r := newRig(t)
	for range 10 {
		r.accept(adds("0a", 100)...)
	}
	var last, sum int64
	_, err := Recover(r.onDisk(r.disk.Crash(crashfs.Model{})), allPartitions(), func(_ int, done, total int64) {
		if done < last || done > total {
			t.Fatalf("%d behind %d of %d", done, last, total)
		}
		last, sum = done, total
	})
	if err != nil || last == 0 || last < sum/2 {
		t.Fatal(last, sum, err)
	}
}

// Goal: a Progress that panics is told of as that, and the table is not said to fold in two
// ways.
func TestAProgressThatPanicsIsNotTakenForApply(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	_, err := Recover(r.onDisk(r.disk.Crash(crashfs.Model{})), allPartitions(), func(int, int64, int64) { panic("no terminal") })
	var panicked *PanicError
	if !errors.As(err, &panicked) || panicked.Value != "no terminal" || errors.Is(err, errReplay) {
		t.Fatal(err)
	}
}

// Goal: a store that is opened again and again does not gather generations without
// bound: CURRENT has a limit, and each open reads them all. Method: many opens that end
// in a crash, without events, and with one event each and time for a snapshot.
func TestGenerationsAreBoundedOverManyOpens(t *testing.T) {
	r := newRig(t)
	for range 3 * generationsMax {
		r = r.crash(crashfs.Model{Data: crashfs.Kept})
	}
	if n := len(r.names("log")); n != 1 {
		t.Fatalf("%d generations without an event", n)
	}
	for range 3 * generationsMax {
		r.accept(add("0a"))
		r.accept(add("0a"))
		r = r.crash(crashfs.Model{})
	}
	if n := len(r.names("log")); n < 10 || n > generationsMax+2 || len(r.log.current.Generations) != n {
		t.Fatalf("%d generations", n)
	}
	if n := len(history(r.parts[0])); n != 6*generationsMax {
		t.Fatalf("%d events", n)
	}
}

// Goal: bad luck with a snapshot that may be whole is not taken for damage: falling
// back would give it up for good. Method: the newest one cannot be opened.
func TestSnapshotThatCannotBeReadNowIsNotLeftOut(t *testing.T) {
	r := threeRounds(t)
	disk := r.disk.Crash(crashfs.Model{})
	disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Open && strings.HasSuffix(op.Name, "4.snap") {
			return syscall.EMFILE
		}
		return nil
	})
	_, err := Recover(r.onDisk(disk), allPartitions(), nil)
	var damage *CorruptError
	if !errors.Is(err, syscall.EMFILE) || errors.As(err, &damage) {
		t.Fatal("recovered with ", err)
	}
}

func TestEndThatReplaysIsNotCalledClean(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.Hurry()
	r.stop()
	if r = r.crash(crashfs.Model{}); r.state.Report.Clean || r.state.Report.Events != 1 {
		t.Fatalf("%+v", r.state.Report)
	}
	r.stop()
	if r = r.crash(crashfs.Model{}); !r.state.Report.Clean {
		t.Fatalf("%+v", r.state.Report)
	}
}

// Goal: frames of the tail survive an open whose frames are to be smaller: the options
// of the next open are not those of the last one.
func TestTailOfLargerFramesIsCopiedByAnOpenWithSmallerOnes(t *testing.T) {
	r := newRig(t)
	r.accept(ev{key: "0a", verb: verbAdd, pad: 10_000})
	want := contents(r.owned)
	r.cfg.Log.FrameBytesMax = 4 << 10
	r.crash(crashfs.Model{}).same("reopened", want)
}

func TestPartitionsAreTakenOverIntoANewLayout(t *testing.T) {
	r := threeRounds(t)
	want := contents(r.owned)
	old, err := Recover(r.onDisk(r.disk.Crash(crashfs.Model{})), allPartitions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	from := map[uint32]*Partition{}
	for _, p := range old.Partitions {
		from[p.ID] = p
	}
	next := &rig{TB: t, disk: crashfs.New(), next: r.next}
	cfg := rigConfig(next)
	cfg.ID.Layout, cfg.ID.Shard = 2, 1
	state, err := Create(cfg, []uint32{0, 2}, from, Clock{})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.assume(cfg, state); err != nil {
		t.Fatal(err)
	}
	want[1], want[3] = nil, nil
	next.same("taken over", want)
	next.accept(add("2d"))
	want = contents(next.owned)
	again, err := Recover(next.onDisk(next.disk.Crash(crashfs.Model{})), []uint32{0, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next.owned = again.Partitions
	next.same("power cut", want)
	damaged := next.disk.Crash(crashfs.Model{})
	rot(t, damaged, cfg.snapshotPath(1), 70)
	if _, err := Recover(next.onDisk(damaged), []uint32{0, 2}, nil); err == nil {
		t.Fatal("there is no log behind a snapshot that was taken over")
	}
}

func TestRecordsThatDoNotFillTheirFrameAreRefused(t *testing.T) {
	whole := appendRecord(nil, 3, []byte("key"), []byte("event"))
	var rec record
	if rest, err := takeRecord(whole, &rec); err != nil || len(rest) != 0 || string(rec.key()) != "key" || string(rec.bytes[rec.keyEnd:]) != "event" || rec.table != 3 {
		t.Fatal(rest, err, rec)
	}
	for n := range len(whole) {
		if _, err := takeRecord(whole[:n], &rec); !errors.Is(err, errRecord) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	mark := appendTimeMark(nil, 77)
	if _, err := takeRecord(mark, &rec); err != nil || rec.table != timeMarkTable || rec.time() != 77 {
		t.Fatal(err, rec)
	}
	long := appendRecord(nil, timeMarkTable, []byte("k"), make([]byte, 8))
	if _, err := takeRecord(long, &rec); !errors.Is(err, errRecord) {
		t.Fatal(err)
	}
}

func TestHeaderThatIsCutIsRefused(t *testing.T) {
	whole := startsOf(2, []*Partition{{ID: 1, Sequence: 5}, {ID: 2}, {ID: 3, Sequence: 7, Epoch: 2}}, nil, map[uint32]uint64{4: 1}, []era{{2, schemas{7, 1}}, {eraOpen, schemas{7, 2}}}).encode()
	starts, err := decodeStarts(whole)
	if err != nil || starts.copied != 2 || len(starts.held) != 2 || starts.held[1] != (holding{0, 5}) || starts.held[3] != (holding{2, 7}) || starts.gone[4] != 1 ||
		len(starts.eras) != 2 || !slices.Equal(eraOf(starts.eras, 2), schemas{7, 1}) || !slices.Equal(eraOf(starts.eras, 3), schemas{7, 2}) {
		t.Fatal(starts, err)
	}
	for n := range len(whole) {
		if _, err := decodeStarts(whole[:n]); err == nil {
			t.Fatalf("%d bytes of %d were enough", n, len(whole))
		}
	}
	if _, err := decodeStarts(append(whole, 0)); err == nil {
		t.Fatal("a byte too many was taken")
	}
}

// The payload is that of a CURRENT file which the program before version 2 wrote.
func TestCurrentOfVersionOneIsRead(t *testing.T) {
	old := []byte{15: 0xcd}
	for _, v := range []uint32{2, 3, 2} { // layout, shard, two generations
		old = binary.LittleEndian.AppendUint32(old, v)
	}
	for _, v := range []uint64{4, 1, 7, 9, 6, 0, 0, 0} {
		old = binary.LittleEndian.AppendUint64(old, v)
	}
	old = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(old, 1), 4)
	c, err := decodeCurrent(old, 1)
	if err != nil || len(c.Generations) != 2 || c.Generations[0].End != (wal.End{Generation: 4, Frame: 7, Chain: 9}) ||
		c.Generations[1] != (Generation{Number: 6}) || len(c.Snapshots) != 1 || c.Snapshots[0] != 4 || c.Kept != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := decodeCurrent(old, currentVersion); err == nil {
		t.Fatal("it was taken for one of this version")
	}
}

func TestCurrentThatIsCutIsRefused(t *testing.T) {
	c := Current{Generations: []Generation{{Number: 4, Sealed: true, End: wal.End{Generation: 4, Frame: 7, Chain: 9}}, {Number: 5}}, Snapshots: []uint64{4, 5}, Kept: []Generation{{Number: 3}}}
	whole := c.encode()
	if again, err := decodeCurrent(whole, currentVersion); err != nil || again.Generations[0] != c.Generations[0] || len(again.Snapshots) != 2 {
		t.Fatal(again, err)
	}
	for n := range len(whole) {
		if _, err := decodeCurrent(whole[:n], currentVersion); err == nil {
			t.Fatalf("%d bytes of %d were enough", n, len(whole))
		}
	}
	none := Current{}
	if _, err := decodeCurrent(none.encode(), currentVersion); err == nil {
		t.Fatal("no generation was enough")
	}
}
