package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// eachWay runs a test for every way of syncing that works here.
func eachWay(t *testing.T, test func(t *testing.T, fs FS, way SyncWay)) {
	ways := SyncWays()
	if ways[len(ways)-1] != Blocking {
		t.Fatalf("ways: %v; the last must be the one that works everywhere", ways)
	}
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			fs := OSBy(way)
			if got := SyncWayOf(fs); got != way {
				t.Fatalf("the way is %v", got)
			}
			test(t, fs, way)
		})
	}
}

func TestQueuedOSSyncsByTheFirstWay(t *testing.T) {
	if got, want := SyncWayOf(QueuedOS()), SyncWays()[0]; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := SyncWayOf(OS()); got != Blocking {
		t.Errorf("without being told: %v", got)
	}
}

// Goal: syncs of many files at a time are not mixed up: each one ends, and with its
// own result. There are more at a time than there are queues.
func TestManySyncsAtATimeAllEnd(t *testing.T) {
	eachWay(t, func(t *testing.T, fs FS, way SyncWay) {
		const files, rounds = queuesMax + 16, 20
		var group sync.WaitGroup
		for i := range files {
			f := create(t, fs, filepath.Join(t.TempDir(), fmt.Sprint(i)))
			if i%8 == 7 {
				f.Close()
			}
			group.Go(func() {
				for range rounds {
					if i%8 == 7 {
						if err := f.Sync(); err == nil {
							t.Errorf("closed file %d was synced", i)
						}
						continue
					}
					_, err := f.Write([]byte("x"))
					if err := errors.Join(err, f.Sync()); err != nil {
						t.Errorf("file %d: %v", i, err)
					}
				}
			})
		}
		group.Wait()
		if way != Blocking && queuesOf(way).made > queuesMax {
			t.Errorf("%d queues, want %d at most", queuesOf(way).made, queuesMax)
		}
	})
}

// Goal: a store that opens and closes files for ever keeps no descriptor of them.
func TestSyncedFilesLeaveNoDescriptor(t *testing.T) {
	eachWay(t, func(t *testing.T, fs FS, _ SyncWay) {
		name := filepath.Join(t.TempDir(), "f")
		open := func() {
			f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		open()
		before := descriptors(t)
		for range 1000 {
			open()
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors, then %d", before, after)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// Goal: an error of the disk is the error of the sync that met it, and nobody tries
// that sync again.
// Method: a queue whose kernel says what the test wants.
func TestTheResultOfTheKernelIsTheErrorOfSync(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		f, q := scripted(t, errno)
		err := f.Sync()
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), filepath.Base(f.f.Name())) {
			t.Errorf("%v: %v", errno, err)
		}
		if full := errno == unix.ENOSPC || errno == unix.EDQUOT; errors.Is(err, ErrNoSpace) != full {
			t.Errorf("%v: %v", errno, err)
		}
		if q.begun != 1 {
			t.Errorf("%v: begun %d times: a sync that failed must not be tried again", errno, q.begun)
		}
	}
}

// Goal: a sync that the kernel refused, or cancelled before it ran, is done by the
// call that blocks, whose answer counts.
func TestASyncThatWasNotRunIsDoneByTheCallThatBlocks(t *testing.T) {
	for _, errno := range []unix.Errno{0, unix.ECANCELED, unix.EINVAL, unix.EOPNOTSUPP} {
		f, q := scripted(t, errno)
		if errno == 0 {
			q.refused = unix.EAGAIN
		}
		if err := f.Sync(); err != nil {
			t.Errorf("%v: %v", errno, err)
		}
		f.f.Close()
		if err := f.Sync(); err == nil {
			t.Errorf("%v: a closed file was synced", errno)
		}
	}
}

// A scriptedQueue is a kernel that says what a test wants.
type scriptedQueue struct {
	res, refused error
	begun        int
}

func (q *scriptedQueue) submit(int) error { q.begun++; return q.refused }
func (q *scriptedQueue) done() bool       { return true }
func (q *scriptedQueue) result() error    { return q.res }
func (q *scriptedQueue) close() error     { return nil }

func scripted(t *testing.T, res unix.Errno) (*osFile, *scriptedQueue) {
	t.Helper()
	q := &scriptedQueue{}
	if res != 0 {
		q.res = res
	}
	f := create(t, OSBy(Blocking), filepath.Join(t.TempDir(), "file")).(*osFile)
	f.queues = &queues{open: func() (*queue, error) { return &queue{kernelQueue: q}, nil }}
	return f, q
}

// Goal: a bad descriptor is refused when it is submitted or is the result, and never
// a success.
func TestABadDescriptorIsAnError(t *testing.T) {
	eachWay(t, func(t *testing.T, _ FS, way SyncWay) {
		if way == Blocking {
			return
		}
		q := queuesOf(way).take()
		defer queuesOf(way).give(q)
		err := q.submit(1 << 20)
		if err == nil {
			if err := q.wait(); err != nil {
				t.Fatal(err)
			}
			err = q.result()
		}
		if !errors.Is(err, unix.EBADF) {
			t.Errorf("%v", err)
		}
	})
}

// Goal: while a sync waits, the goroutine holds no P, so that others run with
// GOMAXPROCS of 1.
// Method: a queue whose sync ends when another goroutine says so.
func TestAWaitingSyncLeavesItsProcessorToOthers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	event, fd, err := newEvent()
	if err != nil {
		t.Skip(err)
	}
	defer event.Close()
	k := &heldQueue{}
	s := &queues{open: func() (*queue, error) { return &queue{kernelQueue: k, event: event}, nil }}
	f := create(t, OSBy(Blocking), filepath.Join(t.TempDir(), "file")).(*osFile)
	f.queues = s
	result := make(chan error)
	go func() { result <- f.Sync() }()
	for !k.begun.Load() {
		runtime.Gosched()
	}
	k.ended.Store(true)
	if _, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// A heldQueue is a kernel that is done when the test says so.
type heldQueue struct {
	begun atomic.Bool // submit's store publishes to the test's load
	ended atomic.Bool // the test's store publishes to done's load
}

func (q *heldQueue) submit(int) error { q.begun.Store(true); return nil }
func (q *heldQueue) done() bool       { return q.ended.Load() }
func (q *heldQueue) result() error    { return io.ErrUnexpectedEOF }
func (q *heldQueue) close() error     { return nil }
