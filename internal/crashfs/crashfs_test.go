package crashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/keyfold/keyfold/internal/fsys"
)

func mustOpen(t rapid.TB, fs fsys.FS, name string, flag int) fsys.File {
	t.Helper()
	f, err := fs.OpenFile(name, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustWrite(t rapid.TB, f fsys.File, s string) {
	t.Helper()
	if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
}

func mustSync(t rapid.TB, f fsys.File) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func mustSyncDir(t rapid.TB, fs fsys.FS, name string) {
	t.Helper()
	if err := fs.SyncDir(name); err != nil {
		t.Fatal(err)
	}
}

func requireIs(t rapid.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// create makes a file that is durable with its entry.
func create(t testing.TB, fs *FS, name, text string) fsys.File {
	t.Helper()
	f := mustOpen(t, fs, name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	mustWrite(t, f, text)
	mustSync(t, f)
	mustSyncDir(t, fs, "/")
	return f
}

func requireText(t testing.TB, fs *FS, name, want string) {
	t.Helper()
	if got := contents(t, fs, name); string(got) != want {
		t.Fatalf("%s is %q, want %q", name, got, want)
	}
}

func TestSyncOfAFileDoesNotMakeItsEntryDurable(t *testing.T) {
	fs := New()
	f := mustOpen(t, fs, "f", os.O_RDWR|os.O_CREATE)
	mustWrite(t, f, "text")
	mustSync(t, f)
	_, err := fs.Crash(Model{}).Lstat("f")
	requireIs(t, err, os.ErrNotExist)
}

func TestSyncDirMakesNeitherContentsNorItsOwnEntryDurable(t *testing.T) {
	fs := New()
	if err := fs.Mkdir("d", 0o700); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, fs, "d/f", os.O_RDWR|os.O_CREATE)
	mustWrite(t, f, "text")
	mustSyncDir(t, fs, "d")
	_, err := fs.Crash(Model{}).Lstat("d")
	requireIs(t, err, os.ErrNotExist)

	fs = fs.Crash(Model{Data: Kept})
	mustSyncDir(t, fs, "/")
	requireText(t, fs.Crash(Model{}), "d/f", "")
}

// A process is killed, its successor reads what is in the page cache, and then the
// power goes.
func TestWhatAKillLeavesIsStillNotDurable(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "old")
	mustWrite(t, f, " new")
	fs = fs.Crash(Model{Data: Kept})
	requireText(t, fs, "f", "old new")
	requireText(t, fs.Crash(Model{}), "f", "old")
}

func TestRenameIsWholeOrNotAtAll(t *testing.T) {
	fs := New()
	create(t, fs, "new", "new")
	create(t, fs, "name", "old")
	if err := fs.Rename("new", "name"); err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for seed := range uint64(50) {
		disk := fs.Crash(Model{Entries: true, Seed: seed})
		entries, err := disk.ReadDir("/")
		if err != nil {
			t.Fatal(err)
		}
		seen[len(entries)]++
		requireText(t, disk, "name", map[int]string{1: "new", 2: "old"}[len(entries)])
	}
	if seen[1] == 0 || seen[2] == 0 {
		t.Fatalf("50 seeds always chose alike: %v", seen)
	}
}

func TestRenameBetweenDirectoriesNeedsBothSynced(t *testing.T) {
	fs := New()
	create(t, fs, "f", "text")
	if err := errors.Join(fs.Mkdir("d", 0o700), fs.SyncDir("/"), fs.Rename("f", "d/f"), fs.SyncDir("d")); err != nil {
		t.Fatal(err)
	}
	disk := fs.Crash(Model{})
	requireText(t, disk, "f", "text")
	requireText(t, disk, "d/f", "text")
	if disk.Used() != 4 {
		t.Errorf("one file under two names takes %d bytes", disk.Used())
	}
}

func TestAfterACrashTheOldFileSystemIsDead(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "text")
	l, err := fs.Lock("LOCK", "me")
	if err != nil {
		t.Fatal(err)
	}
	fs.Crash(Model{})
	for name, call := range everyCall(fs, f) {
		if err := call(); !errors.Is(err, ErrCrashed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	requireIs(t, l.Close(), ErrCrashed)
}

func everyCall(fs *FS, f fsys.File) map[string]func() error {
	return map[string]func() error{
		"OpenFile": func() error { _, err := fs.OpenFile("f", os.O_RDONLY, 0); return err },
		"Create":   func() error { _, err := fs.OpenFile("g", os.O_CREATE|os.O_RDWR, 0); return err },
		"Mkdir":    func() error { return fs.Mkdir("d", 0o700) },
		"Rename":   func() error { return fs.Rename("f", "g") },
		"Remove":   func() error { return fs.Remove("f") },
		"ReadDir":  func() error { _, err := fs.ReadDir("/"); return err },
		"Lstat":    func() error { _, err := fs.Lstat("/"); return err },
		"SyncDir":  func() error { return fs.SyncDir("/") },
		"Free":     func() error { _, err := fs.Free("/"); return err },
		"Lock":     func() error { _, err := fs.Lock("L", "x"); return err },
		"ReadAt":   func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"WriteAt":  func() error { _, err := f.WriteAt([]byte{1}, 0); return err },
		"Write":    func() error { _, err := f.Write([]byte{1}); return err },
		"Sync":     f.Sync,
		"Size":     func() error { _, err := f.Size(); return err },
		"Truncate": func() error { return f.Truncate(1) },
		"Reserve":  func() error { return f.Reserve(1) },
		"Evict":    f.Evict,
		"Close":    f.Close,
	}
}

func TestDisksOfOneCrashDoNotShareWhatIsWrittenToThem(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "0123456789")
	if err := f.Truncate(5); err != nil {
		t.Fatal(err)
	}
	disks := []*FS{fs.Crash(Model{}), fs.Crash(Model{Data: Kept}), fs.Crash(Model{})}
	for i, disk := range disks {
		g := mustOpen(t, disk, "f", os.O_WRONLY|os.O_APPEND)
		mustWrite(t, g, fmt.Sprint(i))
		mustSync(t, g)
	}
	requireText(t, disks[0], "f", "01234567890")
	requireText(t, disks[1], "f", "012341")
	requireText(t, disks[2], "f", "01234567892")
}

func TestWhatIsLeftDoesNotShareWhatIsWrittenAfterwards(t *testing.T) {
	for _, model := range Models(7) {
		fs := New()
		f := create(t, fs, "f", "abc")
		mustSyncDir(t, fs, "/")
		left := fs.Left(model)
		mustWrite(t, f, "def")
		mustSync(t, f)
		if _, err := f.WriteAt([]byte("X"), 0); err != nil {
			t.Fatal(err)
		}
		requireText(t, left, "f", "abc")
		requireText(t, fs, "f", "Xbcdef")
	}
}

func TestEqualSeedsGiveEqualDisks(t *testing.T) {
	build := func(m Model) string {
		fs := New()
		for i := range 20 {
			f := mustOpen(t, fs, fmt.Sprint("f", i), os.O_RDWR|os.O_CREATE)
			mustWrite(t, f, string(bytes.Repeat([]byte{byte(i)}, 3000)))
		}
		disk, out := fs.Crash(m), ""
		entries, err := disk.ReadDir("/")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out += fmt.Sprintf("%s %q\n", e.Name(), contents(t, disk, e.Name()))
		}
		return out
	}
	for _, s := range []Survival{Torn, Reordered} {
		first := build(Model{s, true, 1})
		if first != build(Model{s, true, 1}) {
			t.Errorf("%s: the same seed gave another disk", s)
		}
		if first == build(Model{s, true, 2}) {
			t.Errorf("%s: another seed gave the same disk", s)
		}
	}
}

func TestLockIsRefusedUntilItIsGivenBackOrTheProcessIsGone(t *testing.T) {
	fs := New()
	first, err := fs.Lock("LOCK", "holder one")
	if err != nil {
		t.Fatal(err)
	}
	_, err = fs.Lock("LOCK", "two")
	requireIs(t, err, fsys.ErrLocked)
	var locked *fsys.LockedError
	if !errors.As(err, &locked) || locked.Holder != "holder one" {
		t.Errorf("the error does not name the holder: %v", err)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lock("LOCK", "three"); err != nil {
		t.Fatal(err)
	}
	first.Close()
	_, err = fs.Lock("LOCK", "four")
	requireIs(t, err, fsys.ErrLocked)
	if _, err := fs.Crash(Model{Data: Kept}).Lock("LOCK", "five"); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsAreThoseOfPackageOS(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "text")
	if err := errors.Join(fs.Mkdir("d", 0o700), fs.Mkdir("d/e", 0o700)); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flag int) error { _, err := fs.OpenFile(name, flag, 0); return err }
	reader := mustOpen(t, fs, "f", os.O_RDONLY)
	appender := mustOpen(t, fs, "f", os.O_WRONLY|os.O_APPEND)
	write := func(f fsys.File, off int64) error { _, err := f.WriteAt([]byte("x"), off); return err }
	read := func(f fsys.File, off int64) error { _, err := f.ReadAt(make([]byte, 9), off); return err }
	closed := mustOpen(t, fs, "f", os.O_RDWR)
	closed.Close()
	for i, c := range []struct{ err, want error }{
		{open("none", os.O_RDWR), os.ErrNotExist},
		{open("none/f", os.O_RDWR|os.O_CREATE), os.ErrNotExist},
		{open("f/f", os.O_RDWR|os.O_CREATE), syscall.ENOTDIR},
		{open("f", os.O_RDWR|os.O_CREATE|os.O_EXCL), os.ErrExist},
		{open("d", os.O_RDONLY), syscall.EISDIR},
		{open("/", os.O_RDONLY), os.ErrInvalid},
		{fs.Mkdir("d", 0o700), os.ErrExist},
		{fs.Mkdir("/", 0o700), os.ErrExist},
		{fs.Mkdir("none/d", 0o700), os.ErrNotExist},
		{fs.Remove("none"), os.ErrNotExist},
		{fs.Remove("d"), syscall.ENOTEMPTY},
		{fs.Rename("none", "f"), os.ErrNotExist},
		{fs.Rename("d", "d/e/x"), os.ErrInvalid},
		{fs.Rename("f", "d"), syscall.EISDIR},
		{fs.Rename("d", "f"), syscall.ENOTDIR},
		{fs.SyncDir("f"), syscall.ENOTDIR},
		{fs.SyncDir("none"), os.ErrNotExist},
		{write(reader, 0), syscall.EBADF},
		{write(appender, 0), errAppendOnly},
		{write(f, -1), os.ErrInvalid},
		{read(f, -1), os.ErrInvalid},
		{read(f, 0), io.EOF},
		{read(f, 100), io.EOF},
		{read(appender, 0), syscall.EBADF},
		{reader.Truncate(0), syscall.EBADF},
		{f.Truncate(-1), os.ErrInvalid},
		{closed.Sync(), os.ErrClosed},
		{closed.Close(), os.ErrClosed},
		{write(closed, 0), os.ErrClosed},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("case %d: got %v, want %v", i, c.err, c.want)
		}
	}
}

func TestPathsHaveOneRoot(t *testing.T) {
	fs := New()
	if err := fsys.MkdirAll(fs, "/a/b", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsys.ReplaceFile(fs, "a/./b/../b/f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	requireText(t, fs.Crash(Model{}), "/a/b/f", "x")
	if err := fsys.RemoveTree(fs.Crash(Model{}), "a"); err != nil {
		t.Fatal(err)
	}
}

func TestNothingCanBeMadeOnAFullDisk(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "12345678")
	fs.SetCapacity(fs.Used() + 1)
	_, err := fs.OpenFile("g", os.O_CREATE|os.O_WRONLY, 0o600)
	if err := errors.Join(err, fs.Mkdir("h", 0o700)); !errors.Is(err, fsys.ErrNoSpace) {
		t.Error(err)
	}
	if again, err := fs.OpenFile("f", os.O_CREATE|os.O_WRONLY, 0o600); err != nil || again == nil {
		t.Error("a file that is there:", err)
	}
	mustWrite(t, f, "9")
}

func TestARemovedFileCanBeUsedByThoseWhoHaveItOpen(t *testing.T) {
	fs := New()
	f := create(t, fs, "f", "12345678")
	fs.SetCapacity(10)
	if err := fs.Remove("f"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "90")
	if fs.Used() != 10 {
		t.Errorf("%d bytes taken while it is open", fs.Used())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if fs.Used() != 0 {
		t.Errorf("%d bytes taken after Close", fs.Used())
	}
}

func TestAFileWithoutANameGivesItsSpaceBack(t *testing.T) {
	fs := New()
	for _, name := range []string{"a", "b", "c"} {
		if err := create(t, fs, name, "1234").Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(fs.Remove("a"), fs.Rename("b", "c")); err != nil {
		t.Fatal(err)
	}
	if fs.Used() != 4 {
		t.Fatalf("%d bytes taken by one file of 4", fs.Used())
	}
}

func TestASectorSurvivesAsAWhole(t *testing.T) {
	old := string(bytes.Repeat([]byte("a"), sectorBytes))
	for name, c := range map[string]struct {
		change func(f fsys.File) error
		want   string
	}{
		"two writes": {func(f fsys.File) error {
			_, first := f.WriteAt([]byte("bb"), 0)
			_, second := f.WriteAt([]byte("cc"), 100)
			return errors.Join(first, second)
		}, "bb" + old[2:100] + "cc" + old[102:]},
		"a cut and a write": {func(f fsys.File) error {
			err := f.Truncate(100)
			_, second := f.WriteAt(bytes.Repeat([]byte("b"), 100), 0)
			return errors.Join(err, second)
		}, string(bytes.Repeat([]byte("b"), 100)) + string(make([]byte, sectorBytes-100))},
	} {
		fs := New()
		if err := c.change(create(t, fs, "f", old)); err != nil {
			t.Fatal(err)
		}
		seen := map[bool]int{}
		for seed := range uint64(100) {
			got := contents(t, fs.Crash(Model{Data: Reordered, Seed: seed}), "f")
			isOld, isNew := string(got) == old[:len(got)], string(got) == c.want[:len(got)]
			if isOld == isNew {
				t.Fatalf("%s, seed %d: a mixture, or neither: %q", name, seed, got)
			}
			seen[isOld]++
		}
		if len(seen) != 2 {
			t.Errorf("%s: all seeds chose alike", name)
		}
	}
}

func TestConcurrentUseKeepsEveryFileWhole(t *testing.T) {
	fs := New()
	const writers, rounds = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		f := mustOpen(t, fs, fmt.Sprint(w), os.O_RDWR|os.O_CREATE)
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			for i := range rounds {
				if _, err := f.Write(bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				if err := errors.Join(f.Sync(), fs.SyncDir("/")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	disk := fs.Crash(Model{})
	for w := range writers {
		got := contents(t, disk, fmt.Sprint(w))
		if len(got) != rounds*1000 || got[len(got)-1] != rounds-1 {
			t.Errorf("file %d: %d bytes", w, len(got))
		}
	}
}

func BenchmarkAppendAndSync(b *testing.B) {
	for _, bytes := range []int{256, 64 << 10} {
		b.Run(fmt.Sprint("bytes=", bytes), func(b *testing.B) {
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			f, p := mustOpen(b, New(), "f", os.O_RDWR|os.O_CREATE), make([]byte, bytes)
			for i := range b.N {
				if i%1000 == 0 && f.Truncate(0) != nil {
					b.Fatal("truncate")
				}
				if _, err := f.WriteAt(p, int64(i%1000*bytes)); err != nil {
					b.Fatal(err)
				}
				if i%16 == 0 && f.Sync() != nil {
					b.Fatal("sync")
				}
			}
		})
	}
}
