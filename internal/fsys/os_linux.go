package fsys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// holderOffset is where the text of a lock file begins.
const holderOffset = 0

func reserve(f *os.File, size int64) error {
	err := control(f, "fallocate", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size)
	})
	if isAny(err, unix.EOPNOTSUPP, unix.ENOSYS) {
		return nil
	}
	return err
}

// evict drops clean pages only: what has not been synced stays in the cache. It is a
// hint, so a file system that knows no such thing is no error.
func evict(f *os.File) error {
	err := control(f, "fadvise", func(fd int) error {
		return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	})
	if isAny(err, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOSYS) {
		return nil
	}
	return err
}

// control runs call with the descriptor of f, which cannot be closed and used
// again for another file in the meantime, and repeats it while a signal ends it.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for failed = call(int(fd)); errors.Is(failed, unix.EINTR); {
			failed = call(int(fd))
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}
