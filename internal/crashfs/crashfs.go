// Package crashfs is a file system in memory that forgets what was not synced, so
// that a test can cut the power after every single operation.
//
// A file has durable content, that of its last Sync, and present content. A
// directory has durable entries, those of its last SyncDir, and present ones.
// [FS.Crash] ends a file system and gives a new one that holds what a disk might
// hold then, by one of several models. It may be called many times on one file
// system, for many such disks.
//
// It is as strict as the rules allow: syncing a file does not make its entry
// durable, and syncing a directory neither the files in it nor its own entry. A
// rename within a directory happens as a whole or not at all; of one between two
// directories each of the two keeps or loses its own half.
//
// Faults come from a hook ([FS.SetHook]), from [FS.FailNth], from a capacity
// ([FS.SetCapacity]) and from [FS.StopAfter]. Nothing depends on time or on the
// order of maps: equal calls and seeds give equal disks.
package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/keyfold/keyfold/internal/fsys"
)

// unlimitedBytes is what Free says when there is no capacity.
const unlimitedBytes = 1 << 40

// FS is a file system in memory. Its root is there and durable; a relative path
// begins at the root, too. It is safe for concurrent use. The zero FS is not
// usable; call [New].
type FS struct {
	mu       sync.Mutex // guards everything below, the tree included
	root     *node
	locks    map[*node]string // the holder of each lock file that is locked
	faults   faults
	crashed  bool
	capacity int64 // bytes; 0: no limit
	used     int64
}

var _ fsys.FS = (*FS)(nil)

// New makes an empty file system without a limit and without faults.
func New() *FS { return newFS(newDir(0o700)) }

func newFS(root *node) *FS {
	return &FS{root: root, locks: map[*node]string{}, faults: faults{stop: -1}}
}

// SetCapacity limits the bytes in all files together, with what is reserved; 0
// lifts the limit. More than that may be taken already: then nothing can grow.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// Used is how much of the capacity is taken.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// begin lets the hook and the faults have their say. Without an error the
// operation may go on, under the lock.
func (f *FS) begin(kind Kind, name string) error {
	op, hook, err := f.admit(kind, name)
	if err == nil && hook != nil {
		err = hook(op)
	}
	return err
}

func (f *FS) admit(kind Kind, name string) (op Op, hook func(Op) error, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return Op{}, nil, ErrCrashed
	}
	op, err = f.faults.admit(kind, name)
	return op, f.faults.hook, err
}

// do runs an operation between begin and the error that package os would give.
func (f *FS) do(kind Kind, name string, run func() error) error {
	err := f.begin(kind, name)
	if err == nil {
		err = f.locked(run)
	}
	return wrapped(kind, name, err)
}

// locked runs the body of an operation. One that began before StopAfter's limit
// still ends: the kernel finishes what a killed process has asked for.
func (f *FS) locked(run func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	return run()
}

func wrapped(kind Kind, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: kind.String(), Path: name, Err: err}
}

// OpenFile opens a file as os.OpenFile does. It is one operation also when it
// creates and truncates.
func (f *FS) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	kind := Open
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		kind = Create
	}
	var opened *file
	err := f.do(kind, name, func() (err error) {
		opened, err = f.open(name, flag, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

func (f *FS) open(name string, flag int, perm os.FileMode) (*file, error) {
	p, err := f.root.locate(name)
	if err != nil {
		return nil, err
	}
	switch {
	case p.node == nil && flag&os.O_CREATE == 0:
		return nil, os.ErrNotExist
	case p.node == nil:
		p.node = f.create(p, perm)
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, os.ErrExist
	case p.node.dir != nil:
		return nil, syscall.EISDIR
	}
	if flag&os.O_TRUNC != 0 {
		f.truncate(p.node, 0)
	}
	p.node.file.opens++
	return &file{fs: f, node: p.node, name: name, flag: flag}, nil
}

func (f *FS) create(p place, perm os.FileMode) *node {
	n := newFile(perm.Perm())
	n.file.names = 1
	f.change(p.parent, set{p.name, n})
	return n
}

// change changes entries of a directory and notes when.
func (f *FS) change(parent *node, sets ...set) {
	parent.dir.change(sets...)
	f.touch(parent)
	for _, e := range sets {
		if e.node != nil {
			f.touch(e.node)
		}
	}
}

func (f *FS) touch(n *node) { n.changed = uint64(f.faults.count) }

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm os.FileMode) error {
	return f.do(Mkdir, name, func() error {
		if len(elements(name)) == 0 {
			return os.ErrExist
		}
		p, err := f.root.locate(name)
		if err != nil {
			return err
		}
		if p.node != nil {
			return os.ErrExist
		}
		f.change(p.parent, set{p.name, newDir(perm.Perm())})
		return nil
	})
}

// Remove removes a file, which stays readable for those who have it open, or an
// empty directory.
func (f *FS) Remove(name string) error {
	return f.do(Remove, name, func() error {
		p, err := f.root.locate(name)
		if err != nil {
			return err
		}
		if p.node == nil {
			return os.ErrNotExist
		}
		if p.node.dir != nil && len(p.node.dir.now) > 0 {
			return syscall.ENOTEMPTY
		}
		f.change(p.parent, set{p.name, nil})
		f.unnamed(p.node)
		return nil
	})
}

// unnamed takes a name from a file that has lost one.
func (f *FS) unnamed(n *node) {
	if n.file != nil {
		n.file.names--
		f.release(n)
	}
}

// release gives back the space of a file that nobody can reach any more.
func (f *FS) release(n *node) {
	if n.file.names == 0 && n.file.opens == 0 {
		f.used -= n.file.taken
		n.file.taken = 0
	}
}

// Rename moves a file or a directory, over a file or an empty directory that is
// there.
func (f *FS) Rename(oldName, newName string) error {
	return f.do(Rename, oldName, func() error {
		from, err := f.root.locate(oldName)
		if err != nil {
			return err
		}
		if from.node == nil {
			return os.ErrNotExist
		}
		to, err := f.root.locate(newName)
		if err != nil {
			return err
		}
		if from.node == to.node {
			return nil
		}
		if err := checkRename(from, oldName, to, newName); err != nil {
			return err
		}
		f.rename(from, to)
		return nil
	})
}

func checkRename(from place, oldName string, to place, newName string) error {
	if from.node.dir != nil && below(elements(newName), elements(oldName)) {
		return os.ErrInvalid
	}
	switch {
	case to.node == nil:
		return nil
	case to.node.dir == nil && from.node.dir != nil:
		return syscall.ENOTDIR
	case to.node.dir != nil && from.node.dir == nil:
		return syscall.EISDIR
	case to.node.dir != nil && len(to.node.dir.now) > 0:
		return syscall.ENOTEMPTY
	}
	return nil
}

func below(name, dir []string) bool {
	if len(name) < len(dir) {
		return false
	}
	for i := range dir {
		if name[i] != dir[i] {
			return false
		}
	}
	return true
}

func (f *FS) rename(from, to place) {
	if from.parent == to.parent {
		f.change(from.parent, set{from.name, nil}, set{to.name, from.node})
	} else {
		f.change(to.parent, set{to.name, from.node})
		f.change(from.parent, set{from.name, nil})
	}
	if to.node != nil {
		f.unnamed(to.node)
	}
}

// SyncDir makes the entries durable that were there before it began: a change that
// its hook makes is not among them.
func (f *FS) SyncDir(name string) error {
	n, mark, err := f.markDir(name)
	if failed := f.begin(SyncDir, name); failed != nil {
		return wrapped(SyncDir, name, failed)
	}
	if err == nil {
		err = f.locked(func() error { n.dir.endSync(mark); return nil })
	}
	return wrapped(SyncDir, name, err)
}

func (f *FS) markDir(name string) (*node, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.findDir(name)
	if err != nil {
		return nil, 0, err
	}
	return n, n.dir.next(), nil
}

func (f *FS) findDir(name string) (*node, error) {
	n, err := f.root.find(elements(name))
	if err == nil && n.dir == nil {
		err = syscall.ENOTDIR
	}
	return n, err
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) (entries []os.DirEntry, err error) {
	err = f.do(ReadDir, name, func() error {
		n, err := f.findDir(name)
		if err != nil {
			return err
		}
		for _, name := range n.dir.names() {
			entries = append(entries, fs.FileInfoToDirEntry(n.dir.now[name].info(name)))
		}
		return nil
	})
	return entries, err
}

// Lstat describes a file or a directory. Its time counts operations.
func (f *FS) Lstat(name string) (i os.FileInfo, err error) {
	err = f.do(Lstat, name, func() error {
		n, err := f.root.find(elements(name))
		if err == nil {
			i = n.info(name)
		}
		return err
	})
	return i, err
}

// Free is what is left of the capacity.
func (f *FS) Free(name string) (bytes uint64, err error) {
	err = f.do(Free, name, func() error {
		_, err := f.root.find(elements(name))
		bytes = uint64(f.room())
		return err
	})
	if err != nil {
		return 0, err
	}
	return bytes, nil
}

func (f *FS) room() int64 {
	if f.capacity == 0 {
		return unlimitedBytes
	}
	return max(0, f.capacity-f.used)
}

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
