package fsys

import (
	"errors"
	"os"
	"sync"
)

// A kernelQueue takes syncs from us and gives results back, through memory that it
// shares with the kernel. One sync at a time is in it.
type kernelQueue interface {
	// submit begins a data sync of a descriptor. After an error nothing was begun.
	submit(fd int) error
	// done says that the sync has ended. It only loads, and may be called by any
	// goroutine between submit and result.
	done() bool
	// result is that of the sync that is done, and makes room for the next one.
	result() error
	// close gives the queue back to the kernel. No sync may be in it.
	close() error
}

// A queue is a kernelQueue with the event that the kernel raises when a sync is done.
// It belongs to one goroutine at a time.
type queue struct {
	kernelQueue
	event  *os.File // an eventfd that does not block: reading it parks the goroutine
	buffer [8]byte  // what is read from event
}

// wait parks until the sync is done. An event may be left from a sync before.
func (q *queue) wait() error {
	for !q.done() {
		if _, err := q.event.Read(q.buffer[:]); err != nil {
			return err
		}
	}
	return nil
}

// queuesMax bounds the queues of a way, and with them its descriptors. They are kept
// for the next sync until the process ends, because the kernel takes milliseconds to
// close one. More syncs than that at a time are done as by [Blocking].
const queuesMax = 64

// queues are those of one way. They are safe for concurrent use.
type queues struct {
	way  SyncWay
	open func() (*queue, error)

	mu   sync.Mutex
	idle []*queue
	made int
}

// take hands out a queue; nil if there are no more.
func (s *queues) take() *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.idle); n > 0 {
		q := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return q
	}
	if s.made == queuesMax {
		return nil
	}
	q, err := s.open()
	if err != nil {
		return nil // a limit of the system; the next sync tries again
	}
	s.made++
	return q
}

func (s *queues) give(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, q)
}

// errNotBegun says that nothing was done: the caller syncs in another way, and only
// what that says counts.
var errNotBegun = errors.New("fsys: the sync was not begun")

// sync syncs f by way of a queue.
func (s *queues) sync(f *os.File) error {
	q := s.take()
	if q == nil {
		return errNotBegun
	}
	if err := control(f, "submit", q.submit); err != nil {
		s.give(q)
		return errNotBegun
	}
	if err := q.wait(); err != nil {
		// The sync may still be under way, so nobody may use the queue again.
		return &os.PathError{Op: "wait for the sync of", Path: f.Name(), Err: err}
	}
	err := q.result()
	s.give(q)
	switch {
	case err == nil:
		return nil
	case notRun(err):
		return errNotBegun
	}
	return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
}
