package fsys

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever opens a named pipe for reading waits for a writer, as a rule for ever.
func TestOpenFileDoesNotHangOnANamedPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR} {
		if f, err := OS().OpenFile(name, flag, 0); err == nil {
			f.Close()
			t.Errorf("flag %#x: a pipe was opened", flag)
		}
	}
}

func TestAFullFileSystemMatchesErrNoSpaceAndTheCause(t *testing.T) {
	for _, cause := range []error{unix.ENOSPC, unix.EDQUOT} {
		err := mapped(&os.PathError{Op: "write", Path: "f", Err: cause})
		if !errors.Is(err, ErrNoSpace) || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if err := mapped(unix.EIO); errors.Is(err, ErrNoSpace) {
		t.Errorf("EIO: %v", err)
	}
}

// Goal: a real full file system gives ErrNoSpace from Reserve and from Write, and
// takes writes again when there is room.
// Method: a tmpfs of 1 MiB, where we may mount one.
func TestAFullTmpfsIsErrNoSpaceUntilThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("may not mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	f := create(t, OS(), filepath.Join(dir, "f"))
	if err := f.Reserve(2 << 20); !errors.Is(err, ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("Reserve: %v", err)
	}
	if _, err := f.Write(make([]byte, 2<<20)); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Write: %v", err)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(1 << 19); err != nil {
		t.Fatalf("Reserve with room: %v", err)
	}
}
