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
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/keyfold/keyfold/internal/fsys"
)

const (
	// unlimitedBytes is what Free says when there is no capacity.
	unlimitedBytes = 1 << 40
	// nameBytes must be free for a file or a directory to be made. They are not taken.
	nameBytes = 64
)

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
// lifts the limit. More than that may be taken already: then nothing can grow. Nothing
// can be made either when no more than a few bytes are left, as on disks that are full.
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
	case p.node == nil && f.room() < nameBytes:
		return nil, ErrFull
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
	return &file{fs: f, node: p.node, name: name, flag: flag, heard: p.node.file.failures}, nil
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
