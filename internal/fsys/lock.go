package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gofrs/flock"
)

// holderBytesMax bounds the text in a lock file, written and read.
const holderBytesMax = 1024

// LockedError is returned by Lock when the lock is taken. It matches [ErrLocked].
type LockedError struct {
	Path   string // of the lock file
	Holder string // what the holder wrote into it; empty if it has not yet
}

// Error names the holder and says what to do.
func (e *LockedError) Error() string {
	holder := "by somebody who has not written a name yet"
	if e.Holder != "" {
		holder = fmt.Sprintf("by %q", e.Holder)
	}
	return fmt.Sprintf("fsys: %s is locked %s: close that one first, or use another directory; "+
		"the lock ends with its process, removing the file does not help", e.Path, holder)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

var errLockReplaced = errors.New("the lock file was removed or replaced while it was being locked: try again")

func lock(name, holder string) (io.Closer, error) {
	if err := refuseLink(name); err != nil {
		return nil, fmt.Errorf("fsys: lock: %w", err)
	}
	l := flock.New(name, flock.SetFlag(os.O_RDWR|os.O_CREATE|openFlags), flock.SetPermissions(0o600))
	taken, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("fsys: lock %s: %w", name, mapped(err))
	}
	if !taken {
		return nil, &LockedError{Path: name, Holder: readHolder(name)}
	}
	err = errors.Join(checkLock(l, name), writeHolder(name, holder))
	if err != nil {
		return nil, fmt.Errorf("fsys: lock %s: %w", name, errors.Join(err, l.Close()))
	}
	return l, nil
}

// checkLock makes sure that the file that is locked is the one that others will
// find under its name.
func checkLock(l *flock.Flock, name string) error {
	locked, err := l.Stat()
	if err != nil {
		return err
	}
	found, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !found.Mode().IsRegular() {
		return errNotRegular
	}
	if !os.SameFile(locked, found) {
		return errLockReplaced
	}
	return nil
}

// writeHolder must not need space: a store on a full disk can still be opened.
func writeHolder(name, holder string) error {
	f, err := osFS{}.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	text := holderLine(holder)
	_, err = f.WriteAt([]byte(text), holderOffset)
	if errors.Is(err, ErrNoSpace) {
		err = nil
	}
	if err == nil {
		err = f.Truncate(holderOffset + int64(len(text)))
	}
	return errors.Join(err, f.Close())
}

func holderLine(holder string) string {
	line := strings.ReplaceAll(strings.TrimSpace(holder), "\n", " ")
	return line[:min(len(line), holderBytesMax-1)] + "\n"
}

func readHolder(name string) string {
	f, err := osFS{}.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, holderBytesMax)
	n, _ := f.ReadAt(text, holderOffset)
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	return line
}
