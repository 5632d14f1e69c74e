package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// OS returns the file system of the operating system. On Linux Sync is fdatasync, which
// makes the data and the size durable, and Reserve is fallocate; on macOS Sync is
// F_FULLFSYNC. Only regular files can be opened: a link, a pipe or a device in the
// place of one is an error.
func OS() FS { return osFS{} }

type osFS struct {
	queues *queues // that Sync goes through; nil: a call that blocks
}

func (o osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if err := refuseLink(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, flag|openFlags, perm)
	if err != nil {
		return nil, mapped(err)
	}
	if err := requireRegular(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{f: f, queues: o.queues}, nil
}

func requireRegular(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &os.PathError{Op: "open", Path: f.Name(), Err: errNotRegular}
	}
	return nil
}

var errNotRegular = errors.New("fsys: not a regular file")

func (osFS) Mkdir(name string, perm os.FileMode) error {
	return mapped(os.Mkdir(name, perm))
}

func (osFS) Rename(oldName, newName string) error {
	return mapped(os.Rename(oldName, newName))
}

func (osFS) Remove(name string) error { return mapped(os.Remove(name)) }

func (osFS) ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }

func (osFS) Lstat(name string) (os.FileInfo, error) { return os.Lstat(name) }

func (osFS) SyncDir(name string) error { return mapped(syncDir(name)) }

func (osFS) Free(name string) (uint64, error) {
	n, err := free(name)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return n, nil
}

func (osFS) Lock(name, holder string) (io.Closer, error) { return lock(name, holder) }

// osFile hides the rest of os.File, so that nothing gets to the disk by a method
// that the interface does not have.
type osFile struct {
	f      *os.File
	queues *queues
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, mapped(err)
}

func (f *osFile) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	return n, mapped(err)
}

func (f *osFile) Close() error { return mapped(f.f.Close()) }

func (f *osFile) Sync() error { return mapped(dataSync(f.f, f.queues)) }

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Truncate(size int64) error { return mapped(f.f.Truncate(size)) }

func (f *osFile) Reserve(size int64) error {
	if size <= 0 {
		return nil
	}
	return mapped(reserve(f.f, size))
}

func (f *osFile) Evict() error { return mapped(evict(f.f)) }

// mapped makes an error of the operating system that means "full" match
// [ErrNoSpace] as well as what it was.
func mapped(err error) error {
	if err == nil || !isFull(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSpace, err)
}

// IsFull reports whether err says that there is no room: an error of this package, or
// one of the operating system that came past it.
func IsFull(err error) bool { return errors.Is(err, ErrNoSpace) || err != nil && isFull(err) }

// isAny reports whether err matches one of targets.
func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
