package wal

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: behind a Room that returned nil an Append never runs out of space; without
// space nothing changes, and all goes on when there is some.
// Method: fill a small disk with random frames again and again.
func TestAppendNeverRunsOutOfTheSpaceThatRoomPromised(t *testing.T) {
	r := random(t)
	fs := crashfs.New()
	capacity := int64(300 << 10)
	fs.SetCapacity(capacity)
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 40 << 10})
	for range 5 {
		fillUp(t, r, w)
		checkFull(t, w, fs)
		capacity += 300 << 10
		fs.SetCapacity(capacity)
		if err := w.Room(10 << 10); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	result, err := Scan(fs, "g", testID, testGeneration, ScanOptions{}, nil)
	if err != nil || result.End != w.End() {
		t.Fatalf("%+v, %v; want %+v", result, err, w.End())
	}
}

// fillUp appends until Room says that there is no more.
func fillUp(t *testing.T, r *rand.Rand, w *Writer) {
	t.Helper()
	for {
		n := r.IntN(20 << 10)
		if err := w.Room(n); err != nil {
			if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			return
		}
		mustAppend(t, w, frameOf(n))
		if r.IntN(4) == 0 {
			mustSync(t, w)
		}
	}
}

// checkFull makes sure that a refused Room changes nothing.
func checkFull(t *testing.T, w *Writer, fs *crashfs.FS) {
	t.Helper()
	end, used := w.End(), fs.Used()
	for range 3 {
		if err := w.Room(4 << 20); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("Room: %v", err)
		}
	}
	if w.End() != end || fs.Used() != used || w.Err() != nil {
		t.Errorf("end %+v, %d bytes used, %v; before: %+v, %d", w.End(), fs.Used(), w.Err(), end, used)
	}
	mustSync(t, w)
}

func TestRoomAsksTheFileSystemSeldom(t *testing.T) {
	fs := crashfs.New()
	asked := 0
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Reserve || op.Kind == crashfs.Free {
			asked++
		}
		return nil
	})
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 8 << 20})
	asked = 0
	for range 4 << 10 {
		if err := w.Room(1 << 10); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, frameOf(1<<10))
	}
	if asked > 10 { // 4.4 MiB in steps of 1 MiB, with two questions each
		t.Errorf("asked %d times for %d bytes", asked, w.Bytes())
	}
}

// Goal: a full segment does not keep what was reserved behind its end, and neither
// does a closed log.
func TestSealedSegmentsGiveTheirReserveBack(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 2 << 20})
	if fs.Used() > w.Bytes() {
		t.Errorf("an empty log takes %d bytes and holds %d", fs.Used(), w.Bytes())
	}
	for range 5 {
		if err := w.Room(1536 << 10); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, frameOf(1100<<10))
	}
	mustSync(t, w)
	if got := fs.Used() - w.Bytes(); got > 2<<20 {
		t.Errorf("%d bytes are reserved besides the log", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if fs.Used() != w.Bytes() {
		t.Errorf("a closed log takes %d bytes and holds %d", fs.Used(), w.Bytes())
	}
}

func TestCreateOnAFullDiskIsErrNoSpace(t *testing.T) {
	fs := crashfs.New()
	fs.SetCapacity(10)
	_, err := Create("g", testID, Start{Generation: 1}, Options{FS: fs, Device: Direct})
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
}

// fillsAtCreate fills the disk whenever a file is about to be made.
func fillsAtCreate(fs *crashfs.FS) {
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Create {
			fs.SetCapacity(fs.Used())
		}
		return nil
	})
}

// Goal: the frame that fills a segment is written although there is no room to begin the
// next one, and that one is begun when there is. It made the Writer useless before.
func TestASegmentWithoutRoomIsBegunWhenThereIsSome(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 10 << 10})
	for range 3 {
		fs.SetHook(nil)
		fs.SetCapacity(0)
		if err := w.Room(20 << 10); err != nil {
			t.Fatal(err)
		}
		fillsAtCreate(fs)
		mustAppend(t, w, frameOf(11<<10))
		requireNoSegment(t, w)
	}
	end := w.End()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	result, err := Scan(fs.Crash(crashfs.Model{}), "g", testID, testGeneration, ScanOptions{}, nil)
	if err != nil || result.End != end {
		t.Fatalf("a log that ends with a full segment: %+v, %v; want %+v", result, err, end)
	}
}

// requireNoSegment makes sure that without room for a segment nothing changes, and that
// what was written can be synced.
func requireNoSegment(t *testing.T, w *Writer) {
	t.Helper()
	end := w.End()
	for range 3 {
		if err := w.Room(100); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("Room: %v", err)
		}
		if _, err := w.Append(frameOf(100)); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("Append: %v", err)
		}
	}
	if durable := mustSync(t, w); durable != end.Frame || w.End() != end || w.Err() != nil {
		t.Fatalf("durable up to %d, end %+v, %v; want %+v", durable, w.End(), w.Err(), end)
	}
}

// Goal: a segment that was begun and that the Writer cannot open itself makes it useless,
// whatever the disk says is the reason. When that was want of room the log went on in a file
// that no Sync covered.
func TestASegmentThatCannotBeOpenedIsNoLackOfRoom(t *testing.T) {
	for _, kind := range []crashfs.Kind{crashfs.Open, crashfs.Size} {
		fs := crashfs.New()
		w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 10 << 10})
		fs.SetHook(func(op crashfs.Op) error {
			if op.Kind == kind && op.Name == segmentPath("g", 3) {
				return crashfs.ErrFull
			}
			return nil
		})
		if _, err := w.Append(frameOf(11 << 10)); err == nil || errors.Is(err, ErrNoSpace) || w.Err() == nil {
			t.Errorf("%v fails: Append says %v, and Err %v", kind, err, w.Err())
		}
		if _, err := w.Sync(); err == nil {
			t.Errorf("%v fails: Sync goes on", kind)
		}
		_ = w.Close()
	}
}

// Goal: a full segment whose sync fails for want of room makes the Writer useless, as any
// failed sync does: the disk may have dropped the pages, so that the next sync succeeds
// without having written them. It was taken for a lack of room for the next segment.
func TestAFullSegmentThatCannotBeSyncedIsNotSyncedAgain(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 10 << 10})
	mustAppend(t, w, frameOf(100))
	mustSync(t, w)
	mustAppend(t, w, frameOf(11<<10))
	fs.FailNth(crashfs.Sync, 1, crashfs.DropDirty(crashfs.ErrFull))
	if _, err := w.Append(frameOf(11 << 10)); err == nil || errors.Is(err, ErrNoSpace) {
		t.Errorf("Append of the frame that fills the next one: %v", err)
	}
	if durable, err := w.Sync(); err == nil || w.Err() == nil {
		t.Errorf("the next sync says that frame %d is durable, and %v", durable, w.Err())
	}
}

// Goal: a device that fails to reserve for another reason than a full disk is not
// trusted any more.
func TestAFailedReservationSticks(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct})
	fs.FailNth(crashfs.Reserve, 1, crashfs.ErrIO)
	requirePoisoned(t, w, w.Room(100))
}

// thinFS cannot reserve, like many file systems.
type thinFS struct{ fsys.FS }

type thinFile struct{ fsys.File }

func (f thinFS) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return thinFile{file}, err
}

func (thinFile) Reserve(int64) error { return nil }

func TestRoomLooksAtTheFreeSpaceWhereItCannotReserve(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: thinFS{fs}, Device: Direct, SegmentBytes: 4 << 20})
	fs.SetCapacity(fs.Used() + 100<<10)
	if err := w.Room(101 << 10); !errors.Is(err, ErrNoSpace) {
		t.Errorf("more than there is: %v", err)
	}
	if err := w.Room(90 << 10); err != nil {
		t.Errorf("less than there is, though not what is reserved ahead: %v", err)
	}
	mustAppend(t, w, frameOf(90<<10))
}

// Goal: a frame that fills its segment needs room for the next one as well, which
// cannot be reserved.
func TestRoomKeepsSomethingBackForTheNextSegment(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 50 << 10})
	fs.SetCapacity(fs.Used() + 100<<10)
	if err := w.Room(51 << 10); !errors.Is(err, ErrNoSpace) {
		t.Errorf("no room for the next segment: %v", err)
	}
	if err := w.Room(40 << 10); err != nil {
		t.Errorf("a frame that leaves room in its segment: %v", err)
	}
}
