package ring

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	roomYields     = 8  // rounds of looking for room before a producer parks
	idleWaitersMax = 64 // waiters kept for reuse
	wakeShare      = 8  // 1/wakeShare of the ring must be free to wake a parked producer
)

// roomQueue holds the producers that are parked until there is room, oldest first.
//
// No wake-up is lost. A producer first counts itself in waiting and then looks at
// tail and head once more; the consumer first stores head and then loads waiting
// (SetRoute and Close: tail, then waiting). Go's atomics have one total order, so
// either the producer sees the room or the other side sees the producer: this is
// Dekker's argument. Whoever finds a waiter and no room for it leaves it to a later
// Release, and there will be one: an empty ring has room for any two blocks, so this
// one is not empty.
//
// No herd runs. A Release wakes one producer; one that was woken wakes the next, if
// that one fits in beside it, and so does one that leaves without having used the
// wake-up. So the consumer pays for one wake-up however many wait.
type roomQueue struct {
	// waiting counts the queue. Its changes in enqueue and dequeue are seen by the
	// loads in Release and wakeAll.
	waiting atomic.Int64

	mu          sync.Mutex // guards what follows, and the fields of waiters
	first, last *roomWaiter
	idle        *roomWaiter // for reuse, linked by next
	idleCount   int
}

// roomWaiter is one parked producer.
type roomWaiter struct {
	wake       chan struct{} // of capacity 1; gets one token when the waiter is taken off the queue to be woken
	need       uint64        // words, without padding
	queued     bool
	prev, next *roomWaiter
}

// WaitRoom waits until a claim of n bytes may succeed after one was [Full]. It
// returns nil when there is room, when the route version changes, and when the ring
// is closed: the caller claims again, and may find the ring full again. It returns
// an error that matches ctx.Err() if ctx ends first, and another one at once if no
// block can have n bytes. Parked callers are served in the order they came.
func (r *Ring) WaitRoom(ctx context.Context, n int) error {
	if uint(n-1) >= uint(r.blockMax) {
		return fmt.Errorf("ring: block of %d bytes is not in 1..%d", n, r.blockMax)
	}
	state := r.tail.Load() >> positionBits
	need := blockWords(n)
	if r.pollRoom(state, need) {
		return nil
	}
	return r.parkForRoom(ctx, state, need)
}

// parkForRoom is WaitRoom without the patience of pollRoom.
func (r *Ring) parkForRoom(ctx context.Context, state, need uint64) error {
	w := r.room.enqueue(need)
	if r.mayClaim(state, need) {
		r.leave(w)
		return nil
	}
	select {
	case <-w.wake:
		r.passOn(w)
		return nil
	case <-ctx.Done():
		r.leave(w)
		return fmt.Errorf("ring: waiting for room: %w", ctx.Err())
	}
}

// pollRoom looks for room for a short while without parking. It yields between
// rounds of looks, because the consumer may be waiting for this very P.
func (r *Ring) pollRoom(state, need uint64) bool {
	for range roomYields {
		for range roomPolls {
			if r.mayClaim(state, need) {
				return true
			}
			//lint:ignore SA4017 the time that it takes is what it is for
			relax(relaxRounds)
		}
		runtime.Gosched()
	}
	return false
}

// mayClaim reports whether a claim of need words is worth trying: there is room, or
// what tail holds above the position is no longer state, or is closed.
func (r *Ring) mayClaim(state, need uint64) bool {
	t := r.tail.Load()
	if t>>positionBits != state || t&closedBit != 0 {
		return true
	}
	return !r.full(t, r.padding(t&r.mask, need)+need)
}

// leave takes w off the queue. If it was taken off already it was woken, and its
// wake-up goes to the next.
func (r *Ring) leave(w *roomWaiter) {
	q := &r.room
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.queued {
		q.dequeue(w)
	} else {
		<-w.wake // sent under the lock by whoever took w off
		r.wakeFirst(0)
	}
	q.recycle(w)
}

// passOn wakes the next waiter, if it fits in beside w, which has been woken.
func (r *Ring) passOn(w *roomWaiter) {
	q := &r.room
	q.mu.Lock()
	defer q.mu.Unlock()
	r.wakeFirst(w.need)
	q.recycle(w)
}

// releasedTo wakes the oldest waiter if enough of the ring is free by now, with head
// just stored, to be worth a wake-up. If not, a later Release will find more.
func (r *Ring) releasedTo(head uint64) {
	used := distance(head, r.tail.Load())
	if used+r.size/wakeShare > r.size {
		return
	}
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	r.wakeFirst(0)
}

// wakeFirst wakes the oldest waiter, if there is one and it has room beside so many
// words of another block. In an empty ring it has. The lock is held.
func (r *Ring) wakeFirst(beside uint64) {
	w := r.room.first
	if w == nil {
		return
	}
	head := r.head.Load()
	t := r.tail.Load()
	used := distance(head, t)
	if used+beside+r.padding(t&r.mask, w.need)+w.need > r.size {
		return
	}
	r.room.wakeUp(w)
}

// wakeAll wakes every waiter, after a change of the tail word.
func (r *Ring) wakeAll() {
	q := &r.room
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil {
		q.wakeUp(q.first)
	}
}

// enqueue puts a waiter for need words at the end of the queue.
func (q *roomQueue) enqueue(need uint64) *roomWaiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.idle
	if w == nil {
		w = &roomWaiter{wake: make(chan struct{}, 1)}
	} else {
		q.idle = w.next
		q.idleCount--
	}
	*w = roomWaiter{wake: w.wake, need: need, queued: true, prev: q.last}
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	// This store announces the waiter to the loads in Release and wakeAll.
	q.waiting.Add(1)
	return w
}

// dequeue takes w off the queue. The lock is held.
func (q *roomQueue) dequeue(w *roomWaiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.waiting.Add(-1)
}

// wakeUp takes w off the queue and wakes it. The lock is held.
func (q *roomQueue) wakeUp(w *roomWaiter) {
	q.dequeue(w)
	w.wake <- struct{}{} // has room: one token for each time in the queue
}

// recycle keeps w for the next to wait. The lock is held.
func (q *roomQueue) recycle(w *roomWaiter) {
	if q.idleCount == idleWaitersMax {
		return
	}
	w.next = q.idle
	q.idle = w
	q.idleCount++
}
