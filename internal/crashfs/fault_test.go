package crashfs

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/fsys"
)

func TestHookSeesEveryOperationBeforeItRuns(t *testing.T) {
	fs := New()
	var seen []string
	fs.SetHook(func(op Op) error { seen = append(seen, op.String()); return nil })
	if err := fsys.ReplaceFile(fs, "f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	requireText(t, fs, "f", "x")
	want := []string{"0: lstat f.tmp", "1: remove f.tmp", "2: create f.tmp", "3: write f.tmp", "4: sync f.tmp", "4: close f.tmp",
		"5: rename f.tmp", "6: syncdir .", "6: open f", "6: size f", "6: read f", "6: close f"}
	if !slices.Equal(seen, want) {
		t.Fatalf("got %q", seen)
	}
	if fs.Ops() != 6 {
		t.Errorf("Ops: %d", fs.Ops())
	}
}

func TestAnErrorOfTheHookIsTheResultAndNothingElseHappens(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "text")
	fs.SetHook(func(Op) error { return ErrIO })
	for name, call := range everyCall(fs, f) {
		if err := call(); !errors.Is(err, ErrIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fs.SetHook(nil)
	entries, err := fs.ReadDir("/")
	if err != nil || len(entries) != 1 {
		t.Errorf("entries %v, %v", entries, err)
	}
	requireText(t, fs, "f", "text")
}

func TestFailNthFailsThatOneOnly(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "")
	fs.FailNth(Write, 2, ErrIO)
	fs.FailNth(Any, 4, ErrFull)
	for i, want := range []error{nil, ErrIO, nil, ErrFull, nil} {
		if _, err := f.Write([]byte("x")); !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i+1, err, want)
		}
	}
	requireText(t, fs, "f", "xxx")
}

func TestShortWriteLeavesItsPart(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "")
	fs.FailNth(Write, 1, ShortWrite(2, ErrFull))
	if n, err := f.Write([]byte("text")); n != 2 || !errors.Is(err, fsys.ErrNoSpace) {
		t.Fatalf("Write: %d, %v", n, err)
	}
	mustWrite(t, f, "!")
	requireText(t, fs, "f", "te!")
}

func TestAFailedSyncDropsTheDataAndTheNextOneSucceeds(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "old")
	mustWrite(t, f, "new")
	fs.FailNth(Sync, 1, DropDirty(ErrIO))
	requireIs(t, f.Sync(), ErrIO)
	mustSync(t, f)
	requireText(t, fs, "f", "old")
	requireText(t, fs.Crash(Model{}), "f", "old")
}

func TestAFailedSyncMakesNothingDurable(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "old")
	mustWrite(t, f, "new")
	fs.FailNth(Sync, 1, ErrIO)
	requireIs(t, f.Sync(), ErrIO)
	requireText(t, fs, "f", "oldnew")
	requireText(t, fs.Crash(Model{}), "f", "old")
}

// Goal: a sync covers only the writes that returned before it began.
// Method: the hook of the sync writes, on the goroutine that syncs.
func TestSyncDoesNotCoverAWriteThatRunsBesideIt(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "")
	mustWrite(t, f, "before ")
	fs.SetHook(func(op Op) error {
		if op.Kind == Sync || op.Kind == SyncDir {
			mustWrite(t, f, "beside")
			mustOpen(t, fs, "g"+op.Kind.String(), os.O_RDWR|os.O_CREATE)
		}
		return nil
	})
	mustSync(t, f)
	mustSyncDir(t, fs, "/")
	disk := fs.Crash(Model{})
	requireText(t, disk, "f", "before ")
	requireText(t, disk, "gsync", "")
	_, err := disk.Lstat("gsyncdir")
	requireIs(t, err, os.ErrNotExist)
}

// Goal: of two syncs at a time, one that drops and one that began before it, the
// earlier one covers nothing of what is written after the drop.
// Method: the hook of the first sync writes, syncs, and writes again.
func TestASyncThatIsOvertakenCoversNothingNew(t *testing.T) {
	for _, result := range []error{nil, DropDirty(ErrIO)} {
		fs := New()
		f := create(t, fs, "f", "")
		mustWrite(t, f, "one ")
		nested := false
		fs.SetHook(func(op Op) error {
			if op.Kind != Sync {
				return nil
			}
			if nested {
				return result
			}
			nested = true
			mustWrite(t, f, "two ")
			requireIs(t, f.Sync(), errors.Unwrap(result))
			mustWrite(t, f, "three")
			return nil
		})
		mustSync(t, f)
		want := "one two "
		if result != nil {
			want = ""
		}
		requireText(t, fs.Crash(Model{}), "f", want)
	}
}

// Goal: with a stop after every operation in turn, a replacement always leaves the
// old or the new file, in every model. This is what the package is for.
func TestReplaceFileStoppedAfterEveryOperationLeavesOldOrNew(t *testing.T) {
	const steps = 6
	outcomes := map[string]int{}
	for stop := range steps + 1 {
		for seed := range uint64(20) {
			for _, m := range Models(seed) {
				fs := New()
				create(t, fs, "f", "old")
				fs.StopAfter(fs.Ops() + stop)
				err := fsys.ReplaceFile(fs, "f", []byte("new"))
				if stop < steps != errors.Is(err, ErrCrashed) {
					t.Fatalf("stop after %d: %v", stop, err)
				}
				got := string(contents(t, fs.Crash(m), "f"))
				outcomes[got]++
				if got != "old" && got != "new" || stop == steps && got != "new" {
					t.Fatalf("stop after %d, %s: %q", stop, m, got)
				}
			}
		}
	}
	if outcomes["old"] == 0 || outcomes["new"] == 0 {
		t.Fatalf("outcomes %v", outcomes)
	}
}

// The same without the sync of the file must be found out: a test of the test.
func TestAReplacementWithoutASyncIsCaught(t *testing.T) {
	caught := 0
	for seed := range uint64(20) {
		for _, m := range Models(seed) {
			fs := New()
			create(t, fs, "f", "old")
			mustWrite(t, mustOpen(t, fs, "f.tmp", os.O_RDWR|os.O_CREATE), "new")
			if err := errors.Join(fs.Rename("f.tmp", "f"), fs.SyncDir("/")); err != nil {
				t.Fatal(err)
			}
			if got := string(contents(t, fs.Crash(m), "f")); got != "new" {
				caught++
			}
		}
	}
	if caught == 0 {
		t.Fatal("no disk showed it")
	}
}

func TestStopAfterEndsEveryCall(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "text")
	fs.StopAfter(fs.Ops())
	requireText(t, fs, "f", "text") // to look is not to change
	_, err := f.Write([]byte("x"))
	requireIs(t, err, ErrCrashed)
	for name, call := range everyCall(fs, f) {
		if err := call(); !errors.Is(err, ErrCrashed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCapacityIsSharedByWritesAndReservations(t *testing.T) {
	fs := New()
	fs.SetCapacity(100)
	f, g := create(t, fs, "f", "1234567890"), create(t, fs, "g", "")
	if err := g.Reserve(60); err != nil {
		t.Fatal(err)
	}
	if n, err := fs.Free("/"); n != 30 || err != nil {
		t.Fatalf("Free: %d, %v", n, err)
	}
	requireIs(t, f.Reserve(41), fsys.ErrNoSpace)
	if n, err := f.Write(make([]byte, 50)); n != 30 || !errors.Is(err, fsys.ErrNoSpace) {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if _, err := g.Write(make([]byte, 60)); err != nil {
		t.Fatalf("Write of what was reserved: %v", err)
	}
	fs.SetCapacity(120)
	if _, err := f.Write(make([]byte, 20)); err != nil {
		t.Fatalf("Write after more room: %v", err)
	}
	if err := errors.Join(g.Truncate(0), f.Reserve(120)); err != nil {
		t.Fatalf("Truncate gave nothing back: %v", err)
	}
	if disk := fs.Crash(Model{Data: Kept}); disk.Used() != 120 {
		t.Errorf("after a kill %d bytes are taken", disk.Used())
	}
}

// Goal: what a failed sync has dropped is told to every file that was open then, once,
// as Linux tells it: a log whose segment is synced through two of them may not go on.
func TestASyncThatDropsPagesIsToldToEveryOpenFileOnce(t *testing.T) {
	fs := New()
	open := func() fsys.File {
		f, err := fs.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	if _, err := first.Write([]byte("dropped")); err != nil {
		t.Fatal(err)
	}
	fs.FailNth(Sync, 1, DropDirty(ErrIO))
	if err := first.Sync(); !errors.Is(err, ErrIO) {
		t.Fatalf("the first sync: %v", err)
	}
	for i, want := range []error{ErrIO, nil} {
		if err := second.Sync(); !errors.Is(err, want) {
			t.Fatalf("sync %d of the other file: %v, want %v", i, err, want)
		}
	}
	if err := errors.Join(first.Sync(), open().Sync()); err != nil {
		t.Fatalf("it is told again: %v", err)
	}
}
