package crashfs

import (
	"cmp"
	"errors"
	"io"
	"os"
	"syscall"
)

// file is an open file.
type file struct {
	fs   *FS
	node *node
	name string
	flag int

	pos    int64 // of the next Write; guarded by fs.mu, as is closed
	closed bool
	heard  int // of the node's failures to write back, those that this file knows of
}

// do runs an operation on an open file.
func (f *file) do(kind Kind, run func() error) error {
	return f.fs.do(kind, f.name, func() error {
		if f.closed {
			return os.ErrClosed
		}
		return run()
	})
}

func (f *file) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(Read, func() error {
		switch {
		case f.flag&os.O_WRONLY != 0:
			return syscall.EBADF
		case off < 0:
			return os.ErrInvalid
		}
		n = f.node.file.readAt(p, off)
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

var errAppendOnly = errors.New("WriteAt on a file that was opened with os.O_APPEND")

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(part []byte) (int, error) {
		switch {
		case f.flag&os.O_APPEND != 0:
			return 0, errAppendOnly
		case off < 0:
			return 0, os.ErrInvalid
		}
		return f.fs.write(f.node, part, off)
	})
}

func (f *file) Write(p []byte) (int, error) {
	return f.write(p, func(part []byte) (int, error) {
		if f.flag&os.O_APPEND != 0 {
			f.pos = f.node.file.size
		}
		n, err := f.fs.write(f.node, part, f.pos)
		f.pos += int64(n)
		return n, err
	})
}

// write has store do what a fault lets through of p.
func (f *file) write(p []byte, store func(part []byte) (int, error)) (n int, err error) {
	failed := f.fs.begin(Write, f.name)
	if failed != nil {
		p = p[:shortened(failed, len(p))]
	}
	if failed == nil || len(p) > 0 {
		err = f.fs.locked(func() (err error) {
			if err = f.checkWrite(); err == nil {
				n, err = store(p)
			}
			return err
		})
	}
	return n, wrapped(Write, f.name, cmp.Or(failed, err))
}

// shortened is how many of n bytes a fault wants written.
func shortened(failed error, n int) int {
	var short *fault
	if errors.As(failed, &short) {
		return min(short.short, n)
	}
	return 0
}

func (f *file) checkWrite() error {
	switch {
	case f.closed:
		return os.ErrClosed
	case !f.writable():
		return syscall.EBADF
	}
	return nil
}

// write stores what there is room for.
func (f *FS) write(n *node, p []byte, off int64) (int, error) {
	r := n.file
	fits := min(int64(len(p)), max(0, r.taken+f.room()-off))
	if fits > 0 {
		r.write(p[:fits], off)
		f.take(r, off+fits)
		f.touch(n)
	}
	if fits < int64(len(p)) {
		return int(fits), ErrFull
	}
	return int(fits), nil
}

// take counts the space up to end as taken by r.
func (f *FS) take(r *regular, end int64) {
	if end > r.taken {
		f.used += end - r.taken
		r.taken = end
	}
}

func (f *FS) truncate(n *node, size int64) {
	r := n.file
	r.truncate(size)
	if size < r.taken {
		f.used -= r.taken - size
		r.taken = size
	}
	f.touch(n)
}

func (f *file) Close() error {
	return f.do(Close, func() error {
		f.closed = true
		f.node.file.opens--
		f.fs.release(f.node)
		return nil
	})
}

// Sync covers the writes that returned before it began: one that its hook makes is
// not among them. That the system has dropped what was not durable is told to each open
// file once, as Linux does, whichever of them asks first.
func (f *file) Sync() error {
	mark := f.mark()
	failed := f.fs.begin(Sync, f.name)
	var dropping *fault
	if errors.As(failed, &dropping) && !dropping.drop {
		dropping = nil
	}
	if failed != nil && dropping == nil {
		return wrapped(Sync, f.name, failed)
	}
	err := f.fs.locked(func() error {
		switch {
		case f.closed:
			return os.ErrClosed
		case dropping != nil:
			f.node.file.drop()
			f.node.file.failures++
			f.node.file.failure = failed
		default:
			f.node.file.endSync(mark)
		}
		return f.hear()
	})
	return wrapped(Sync, f.name, err)
}

// hear is the last failure to write back that the file does not know of.
func (f *file) hear() error {
	r := f.node.file
	if f.heard == r.failures {
		return nil
	}
	f.heard = r.failures
	return r.failure
}

func (f *file) mark() uint64 {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return 0 // the content belongs to other file systems now
	}
	return f.node.file.beginSync()
}

func (f *file) Size() (size int64, err error) {
	err = f.do(Size, func() error {
		size = f.node.file.size
		return nil
	})
	return size, err
}

func (f *file) Truncate(size int64) error {
	return f.do(Truncate, func() error {
		switch {
		case !f.writable():
			return syscall.EBADF
		case size < 0:
			return os.ErrInvalid
		}
		f.fs.truncate(f.node, size)
		return nil
	})
}

func (f *file) Reserve(size int64) error {
	return f.do(Reserve, func() error {
		if !f.writable() {
			return syscall.EBADF
		}
		r := f.node.file
		if size-r.taken > f.fs.room() {
			return ErrFull
		}
		f.fs.take(r, size)
		return nil
	})
}

func (f *file) Evict() error { return f.do(Evict, func() error { return nil }) }
