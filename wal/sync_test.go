package wal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: what Sync reports as durable is there after the strictest crash, which
// forgets files and directory entries that nobody synced, and an append between is
// not reported.
func TestWhatSyncReportsSurvivesTheStrictestCrash(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 300})
	for number := uint64(1); number < 30; number++ {
		mustAppend(t, w, frameOf(100))
		if number%4 != 0 {
			continue
		}
		if durable := mustSync(t, w); durable != number || w.Durable() != number {
			t.Fatalf("durable %d and %d, want %d", durable, w.Durable(), number)
		}
	}
	result, err := Scan(fs.Crash(crashfs.Model{}), "g", testID, testGeneration, ScanOptions{}, nil)
	if err != nil || result.End.Frame != 28 || result.Horizon != 24 {
		t.Fatalf("%+v, %v", result, err)
	}
}

func TestNothingIsDurableBeforeTheFirstSync(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct})
	mustAppend(t, w, frameOf(100))
	if w.Durable() != 0 {
		t.Errorf("durable: %d", w.Durable())
	}
	if durable := mustSync(t, w); durable != 1 {
		t.Errorf("durable after Sync: %d", durable)
	}
}

// Goal: directories are synced when they have a new entry, and not otherwise: it is
// a commit of the file system's journal each time.
func TestDirectoriesAreSyncedOnlyWhenTheyHaveANewEntry(t *testing.T) {
	fs := crashfs.New()
	var synced []string
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.SyncDir {
			synced = append(synced, op.Name)
		}
		return nil
	})
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 300})
	mustSync(t, w)
	if !slices.Equal(synced, []string{"g", "."}) {
		t.Errorf("first Sync: %v", synced)
	}
	synced = nil
	mustAppend(t, w, frameOf(10))
	mustSync(t, w)
	mustSync(t, w)
	if len(synced) != 0 {
		t.Errorf("nothing new: %v", synced)
	}
	mustAppend(t, w, frameOf(300))
	mustSync(t, w)
	if !slices.Equal(synced, []string{"g"}) {
		t.Errorf("a new segment: %v", synced)
	}
}

func TestASyncWithNothingNewDoesNothing(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct})
	mustSync(t, w)
	ops := fs.Ops()
	if durable := mustSync(t, w); durable != 0 || fs.Ops() != ops {
		t.Errorf("durable %d after %d operations", durable, fs.Ops()-ops)
	}
}

// A gate holds up every Sync of a file that was opened through it.
type gate struct {
	fsys.FS
	entered, leave chan struct{}
	shut           atomic.Bool // the test's store publishes to Sync's load
}

type gatedFile struct {
	fsys.File
	gate *gate
}

func (g *gate) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	f, err := g.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return gatedFile{f, g}, nil
}

func (f gatedFile) Sync() error {
	if f.gate.shut.Load() {
		f.gate.entered <- struct{}{}
		<-f.gate.leave
	}
	return f.File.Sync()
}

// Goal: Append does not wait for a Sync in flight, and that Sync does not claim what
// was appended while it ran.
func TestAppendDoesNotWaitForASyncInFlight(t *testing.T) {
	for _, device := range devices {
		g := &gate{FS: fsys.OS(), entered: make(chan struct{}), leave: make(chan struct{})}
		dir := filepath.Join(t.TempDir(), "g")
		w, err := Create(dir, testID, Start{Generation: 1}, Options{FS: g, Device: device})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, frameOf(10))
		g.shut.Store(true)
		durable := make(chan uint64)
		go func() {
			n, err := w.Sync()
			if err != nil {
				t.Error(err)
			}
			durable <- n
		}()
		<-g.entered
		for range 100 {
			mustAppend(t, w, frameOf(1000))
		}
		if w.Durable() != 0 {
			t.Errorf("%v: durable %d while the sync runs", device, w.Durable())
		}
		close(g.leave)
		if n := <-durable; n != 1 {
			t.Errorf("%v: the sync claims frame %d", device, n)
		}
		w.Close()
	}
}

// Goal: Append, Sync and Durable may run beside each other, over many segments.
// Method: the race detector, and every horizon must be one that a Sync has reported.
func TestSyncRunsBesideAppend(t *testing.T) {
	for _, device := range devices {
		w, dir := create(t, Options{Device: device, SegmentBytes: 2000})
		const frames = 500
		var written atomic.Uint64 // the appender's store publishes to the syncer's load
		done := make(chan error)
		go func() { done <- syncAll(w, &written, frames) }()
		f := frameOf(0)
		for range frames {
			f.Reset()
			f.Bytes = append(f.Bytes, make([]byte, 100)...)
			if err := w.Room(100); err != nil {
				t.Fatal(err)
			}
			written.Store(mustAppend(t, w, f))
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		result, err := Scan(fsys.OS(), dir, testID, testGeneration, ScanOptions{}, nil)
		if err != nil || result.End != w.End() || result.Horizon > w.Durable() {
			t.Errorf("%v: %+v, %v; want %+v", device, result, err, w.End())
		}
	}
}

func syncAll(w *Writer, written *atomic.Uint64, frames uint64) error {
	for {
		before := written.Load()
		durable, err := w.Sync()
		if err != nil {
			return err
		}
		if durable < before || w.Durable() != durable {
			return errors.New("a sync covers less than was appended before it")
		}
		if durable >= frames {
			return nil
		}
	}
}

// Goal: an append that fails while a sync runs keeps that sync from reporting
// anything.
func TestASyncBesideAFailedAppendReportsNothing(t *testing.T) {
	fs := crashfs.New()
	w, _ := create(t, Options{FS: fs, Device: Direct})
	mustSync(t, w)
	mustAppend(t, w, frameOf(10))
	var appendErr error
	fs.SetHook(func(op crashfs.Op) error {
		switch op.Kind {
		case crashfs.Write:
			return crashfs.ErrIO
		case crashfs.Sync:
			_, appendErr = w.Append(frameOf(10))
		}
		return nil
	})
	durable, err := w.Sync()
	if err == nil || err != appendErr || durable != 0 {
		t.Errorf("Sync: %d, %v; Append: %v", durable, err, appendErr)
	}
	fs.SetHook(nil)
	requirePoisoned(t, w, appendErr)
}

// Goal: a segment that somebody else has changed is not believed to be ours.
func TestASegmentOfAnotherSizeThanWrittenIsAnError(t *testing.T) {
	fs := crashfs.New()
	w, dir := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 300})
	f, err := fs.OpenFile(segmentPath(dir, 1), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, frameOf(300))
	if err := f.Truncate(10); err != nil {
		t.Fatal(err)
	}
	_, err = w.Sync()
	requirePoisoned(t, w, err)
}
