package crashfs

import (
	"errors"
	"io"
	"syscall"

	"github.com/keyfold/keyfold/internal/fsys"
)

// Lock takes a lock file. The lock ends with the file system.
func (f *FS) Lock(name, holder string) (io.Closer, error) {
	var taken *lock
	err := f.do(Lock, name, func() (err error) {
		taken, err = f.lock(name, holder)
		return err
	})
	if err == nil {
		return taken, nil
	}
	var locked *fsys.LockedError
	if errors.As(err, &locked) {
		return nil, locked
	}
	return nil, err
}

func (f *FS) lock(name, holder string) (*lock, error) {
	p, err := f.root.locate(name)
	if err != nil {
		return nil, err
	}
	if p.node == nil {
		p.node = f.create(p, 0o600)
	}
	if p.node.dir != nil {
		return nil, syscall.EISDIR
	}
	if by, taken := f.locks[p.node]; taken {
		return nil, &fsys.LockedError{Path: name, Holder: by}
	}
	f.locks[p.node] = holder
	f.truncate(p.node, 0)
	f.write(p.node, []byte(holder+"\n"), 0)
	return &lock{fs: f, node: p.node}, nil
}

type lock struct {
	fs   *FS
	node *node // nil once it is given back; guarded by fs.mu
}

func (l *lock) Close() error {
	return l.fs.locked(func() error {
		if l.node != nil {
			delete(l.fs.locks, l.node)
			l.node = nil
		}
		return nil
	})
}
