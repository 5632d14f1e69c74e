package crashfs

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/keyfold/keyfold/internal/fsys"
)

// ErrCrashed is matched by the error of every call on a file system, and on its
// files, after Crash or after the last operation that StopAfter allowed.
var ErrCrashed = errors.New("crashfs: the file system has crashed")

// Errors for hooks, as a disk gives them.
var (
	// ErrIO is EIO.
	ErrIO = fmt.Errorf("crashfs: %w", syscall.EIO)
	// ErrFull is ENOSPC and matches fsys.ErrNoSpace.
	ErrFull = fmt.Errorf("%w: %w", fsys.ErrNoSpace, syscall.ENOSPC)
)

// Kind says what an operation does.
type Kind uint8

// The kinds of operations. Those up to Lock may change what a crash leaves behind
// and are counted; those behind it only look.
const (
	Any    Kind = iota // matches every counted operation, for FailNth
	Create             // OpenFile with os.O_CREATE or os.O_TRUNC
	Mkdir
	Rename // Op.Name is the old name
	Remove
	SyncDir
	Write // Write and WriteAt
	Sync
	Truncate
	Reserve
	Lock
	Open // OpenFile of a file that is there
	Read
	Size
	ReadDir
	Lstat
	Free
	Evict
	Close
)

var kindNames = [...]string{"any", "create", "mkdir", "rename", "remove", "syncdir", "write", "sync", "truncate",
	"reserve", "lock", "open", "read", "size", "readdir", "lstat", "free", "evict", "close"}

// String is the name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return strconv.Itoa(int(k))
}

func (k Kind) counted() bool { return k != Any && k <= Lock }

// Op is an operation that is about to run.
type Op struct {
	Kind Kind
	Name string // as the caller gave it
	// N counts the operations that may change something, from 1. A kind that only
	// looks has the N of the last one before it.
	N int
}

// String is the operation in one line.
func (o Op) String() string { return fmt.Sprintf("%d: %s %s", o.N, o.Kind, o.Name) }

// fault is an error that does something besides.
type fault struct {
	err   error
	short int  // bytes that a write does first
	drop  bool // a sync drops what is not durable
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// ShortWrite makes a write store its first n bytes and then fail with err. For any
// other operation it is err.
func ShortWrite(n int, err error) error { return &fault{err: err, short: max(0, n)} }

// DropDirty makes a sync fail with err and forget what it should have written, as
// kernels do: the file is back to its durable content, and the next sync succeeds.
// For any other operation it is err.
func DropDirty(err error) error { return &fault{err: err, drop: true} }

// trigger is one call of FailNth.
type trigger struct {
	kind Kind
	left int
	err  error
}

// faults decides what happens to an operation before it runs. It is guarded by the
// lock of its FS.
type faults struct {
	hook     func(Op) error
	triggers []trigger
	count    int
	stop     int // operations allowed; -1: no limit
	stopped  bool
}

// SetHook has hook called before every operation, nil for none. An error is the
// result of the operation, which then does nothing, unless it is made by
// [ShortWrite] or [DropDirty]. The hook runs on the caller's goroutine without a
// lock: it may block, and it may use the file system.
func (f *FS) SetHook(hook func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.hook = hook
}

// FailNth makes the nth operation of kind from now on fail with err, once; n is 1
// for the next one. Calls add up.
func (f *FS) FailNth(kind Kind, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.triggers = append(f.faults.triggers, trigger{kind, max(1, n), err})
}

// StopAfter lets n operations that may change something run, counted from the
// beginning as in [FS.Ops]; then every call fails with [ErrCrashed], as if the
// process had been killed there. A negative n lifts the limit.
func (f *FS) StopAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.stop, f.faults.stopped = n, false
}

// Ops is how many operations that may change something have begun.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults.count
}

// admit counts an operation and says what FailNth wants of it.
func (s *faults) admit(kind Kind, name string) (Op, error) {
	if s.stopped || kind.counted() && s.stop >= 0 && s.count >= s.stop {
		s.stopped = true
		return Op{}, ErrCrashed
	}
	if kind.counted() {
		s.count++
	}
	return Op{kind, name, s.count}, s.trigger(kind)
}

func (s *faults) trigger(kind Kind) (err error) {
	kept := s.triggers[:0]
	for _, t := range s.triggers {
		if t.kind == kind || t.kind == Any && kind.counted() {
			t.left--
		}
		switch {
		case t.left > 0:
			kept = append(kept, t)
		case err == nil:
			err = t.err
		}
	}
	s.triggers = kept
	return err
}
