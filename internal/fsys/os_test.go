package fsys

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func create(t testing.TB, fs FS, name string) File {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFileKeepsWhatIsWrittenToIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f := create(t, OS(), name)
	for _, s := range []string{"one", "two"} {
		if n, err := f.Write([]byte(s)); n != 3 || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if _, err := f.WriteAt([]byte("T"), 3); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Evict()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	n, err := f.ReadAt(got, 0)
	if err != io.EOF || string(got[:n]) != "oneTwo" {
		t.Fatalf("ReadAt: %q, %v", got[:n], err)
	}
	if err := f.Truncate(2); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 2 || err != nil {
		t.Fatalf("Size after Truncate: %d, %v", size, err)
	}
}

func TestReserveLeavesTheSize(t *testing.T) {
	f := create(t, OS(), filepath.Join(t.TempDir(), "f"))
	for _, size := range []int64{-1, 0, 1 << 16, 1} {
		if err := f.Reserve(size); err != nil {
			t.Fatal(err)
		}
		if n, err := f.Size(); n != 0 || err != nil {
			t.Fatalf("size after Reserve(%d): %d, %v", size, n, err)
		}
	}
}

// A link planted under the name of a segment must not lead a write, or worse a
// truncation, to the file it points to.
func TestOpenFileNeverFollowsALink(t *testing.T) {
	dir := t.TempDir()
	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	flags := []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_CREATE | os.O_TRUNC,
		os.O_WRONLY | os.O_CREATE | os.O_EXCL}
	for _, flag := range flags {
		if f, err := OS().OpenFile(link, flag, 0o600); err == nil {
			f.Close()
			t.Errorf("flag %#x: opened through a link", flag)
		}
	}
	if _, err := OS().Lock(link, "me"); err == nil {
		t.Error("locked through a link")
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Fatalf("the file behind the link: %q, %v", got, err)
	}
}

func TestOpenFileOpensRegularFilesOnly(t *testing.T) {
	if _, err := OS().OpenFile(t.TempDir(), os.O_RDONLY, 0); !errors.Is(err, errNotRegular) {
		t.Fatalf("a directory: %v", err)
	}
}

func TestErrorsAreThoseOfPackageOS(t *testing.T) {
	dir := t.TempDir()
	create(t, OS(), filepath.Join(dir, "f"))
	_, missing := OS().OpenFile(filepath.Join(dir, "none"), os.O_RDONLY, 0)
	_, exists := OS().OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(missing, os.ErrNotExist) || !errors.Is(exists, os.ErrExist) {
		t.Fatalf("open: %v; create: %v", missing, exists)
	}
	if err := OS().SyncDir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("SyncDir: %v", err)
	}
	if err := OS().SyncDir(dir); err != nil {
		t.Fatal(err)
	}
}

func TestFreeKnowsTheFileSystem(t *testing.T) {
	if n, err := OS().Free(t.TempDir()); n == 0 || err != nil {
		t.Fatalf("Free: %d, %v", n, err)
	}
	if _, err := OS().Free(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Free of nothing: %v", err)
	}
}

func TestLockIsRefusedToASecondHolderAndNamesTheFirst(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	first, err := OS().Lock(name, "pid 17\non host a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = OS().Lock(name, "second")
	var locked *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("second lock: %v", err)
	}
	if locked.Holder != "pid 17 on host a" || locked.Path != name {
		t.Errorf("holder %q of %s", locked.Holder, locked.Path)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := OS().Lock(name, "me")
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	defer third.Close()
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got[holderOffset:], []byte("me\n")) {
		t.Errorf("lock file: %q, %v", got, err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := OS().Lock(name, "x"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second Close of an old lock gave the new one away: %v", err)
	}
}

func TestLockFileIsPrivate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	l, err := OS().Lock(name, "me")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}
