package fsys

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const blockingName = "fdatasync"

// dataSync is fdatasync: it leaves out the times of the file, which nobody here
// reads, and with them a journal commit when the size has not changed.
func dataSync(f *os.File, by *queues) error {
	if by != nil {
		if err := by.sync(f); err != errNotBegun {
			return err
		}
	}
	return control(f, "fdatasync", unix.Fdatasync)
}

// notRun says that the kernel took a sync and did not run it: it was cancelled because
// the thread that asked for it has ended, or the file system knows no such request.
func notRun(err error) bool {
	return isAny(err, unix.ECANCELED, unix.EINTR, unix.EINVAL, unix.EOPNOTSUPP)
}

// newEvent makes the event of a queue.
func newEvent() (*os.File, int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), "eventfd"), fd, nil
}

// The queues of a process: there is one set for each way, because what they take is
// limited for a process and not for a store.
var (
	uringQueues = &queues{way: URing, open: openURing}
	aioQueues   = &queues{way: AIO, open: openAIO}
)

func queuesOf(way SyncWay) *queues {
	if way == URing {
		return uringQueues
	}
	return aioQueues
}

// probed are the ways besides Blocking that have been seen to work.
var probed = sync.OnceValue(func() (ways []SyncWay) {
	for _, way := range []SyncWay{URing, AIO} {
		if queuesOf(way).probe() == nil {
			ways = append(ways, way)
		}
	}
	return ways
})

// probeTimeout is how long a sync of a file in memory may take before a sandbox is
// believed to take requests and forget them.
const probeTimeout = time.Second

// probe syncs a file in memory, as sync does, but does not wait for ever.
func (s *queues) probe() error {
	fd, err := unix.MemfdCreate("keyfold-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	q := s.take()
	if q == nil {
		return errors.ErrUnsupported
	}
	if err := q.submit(fd); err != nil {
		return err
	}
	if err := q.event.SetReadDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	if err := q.wait(); err != nil {
		return err
	}
	if err := q.event.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := q.result(); err != nil {
		return err
	}
	s.give(q)
	return nil
}
