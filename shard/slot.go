package shard

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/ring"
)

// A Sink takes what an operation gave. Its methods are called by the shard
// goroutine, before the block is completed.
type Sink interface {
	// Refused is called when operation op of a block was not carried out, or not
	// to its end. The slices are borrowed.
	Refused(op int, table uint16, key, event []byte, err error)
	// Released is called when the block of a caller that did not wait for its end
	// is completed: from here on the slot may be used again.
	Released()
}

// An Address names a slot and the use that is made of it, so that an ack that
// comes late can never reach the next user of the slot. The zero Address is nobody's.
type Address struct {
	slot uint32 // index plus one
	use  uint32
}

// The phases of a slot. The caller moves it from free to waiting, and from waiting
// to parked or abandoned; the shard moves it to done.
const (
	slotFree uint32 = iota
	slotWaiting
	slotParked
	slotAbandoned
	slotDone
)

// A Slot is where an acknowledgement arrives. It is of one of two kinds by how it
// is used: a call arms it, sends one block and waits for it; a stream sends many
// blocks and watches Completed.
//
// Invariant: between Arm and the completion of its block a slot is never armed
// again, also when its caller has gone away.
type Slot struct {
	Sink Sink

	index uint32
	use   uint32 // published with the block by the inbox

	// phase: Complete's swap to done publishes err and the sink's results to the
	// Wait that sees it.
	phase atomic.Uint32
	err   error
	wake  chan struct{} // capacity 1

	// completed: Complete's add publishes the sink's results to a stream's reader.
	completed atomic.Uint64
	failure   atomic.Pointer[error] // the first error of a stream
	watching  atomic.Bool           // a stream's reader sleeps or is about to

	next atomic.Uint32 // free list: index plus one, published by the list's head
}

// Arm makes the slot ready for one block, and returns its address.
func (s *Slot) Arm() Address {
	s.use++
	s.err = nil
	s.phase.Store(slotWaiting)
	return Address{slot: s.index + 1, use: s.use}
}

// Stream returns the address for the blocks of a stream.
func (s *Slot) Stream() Address { return Address{slot: s.index + 1, use: s.use} }

// Reset begins a new stream. Nothing of an older use may be under way.
func (s *Slot) Reset() {
	s.completed.Store(0)
	s.failure.Store(nil)
	s.watching.Store(false)
	select {
	case <-s.wake:
	default:
	}
}

// Disarm takes back Arm, when the block was not sent.
func (s *Slot) Disarm() { s.phase.Store(slotFree) }

// complete tells the caller that its block has come as far as it asked, or failed.
func (s *Slot) complete(use uint32, operations int, ack error) {
	if use != s.use {
		panic(fmt.Sprintf("shard: ack for use %d of slot %d, which is at use %d", use, s.index, s.use))
	}
	if s.phase.Load() == slotFree {
		s.completeStream(operations, ack)
		return
	}
	s.err = ack
	switch s.phase.Swap(slotDone) {
	case slotParked:
		s.wakeUp()
	case slotAbandoned:
		s.phase.Store(slotFree)
		s.Sink.Released()
	}
}

func (s *Slot) completeStream(operations int, ack error) {
	if ack != nil {
		failure := ack // of its own, so that success allocates nothing
		s.failure.CompareAndSwap(nil, &failure)
	}
	s.completed.Add(uint64(operations))
	if s.watching.CompareAndSwap(true, false) {
		s.wakeUp()
	}
}

// wakeUp leaves a token for whoever sleeps. One that is there already does as well:
// nobody takes a token for more than a reason to look again, because one may be left
// over from an earlier use.
func (s *Slot) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// A Patience says how a caller waits for its ack before it parks. The zero Patience
// parks at once.
type Patience struct {
	Polls  int // looks at the slot, some 25 ns apart
	Yields int // then looks with a yield between them
}

// Patience is how to wait for a block of this shard with ack. An ack that waits for
// the disk is not worth looking for. One that does not comes within a turn: of a shard
// that has a CPU to itself while the caller polls, of any other when the caller makes
// room for it.
// Parking beside a pinned shard costs two switches of threads. BenchmarkCall has the
// figures.
func (s *Shard) Patience(ack Ack) Patience {
	switch {
	case ack != Applied:
		return Patience{}
	case s.cfg.Wait.CPU >= 0:
		return Patience{Polls: 64, Yields: 4}
	}
	return Patience{Yields: 4}
}

// Wait waits until the block is completed, and returns the error of the shard. If
// ctx ends before, it returns false: the slot then belongs to the shard until it
// calls Released.
func (s *Slot) Wait(ctx context.Context, patience Patience) (err error, completed bool) {
	if s.look(patience) || !s.phase.CompareAndSwap(slotWaiting, slotParked) {
		return s.finish(), true
	}
	if ctx.Done() == nil {
		for s.phase.Load() != slotDone {
			<-s.wake
		}
		return s.finish(), true
	}
	for s.phase.Load() != slotDone {
		select {
		case <-s.wake:
		case <-ctx.Done():
			if s.phase.CompareAndSwap(slotParked, slotAbandoned) {
				return nil, false
			}
		}
	}
	return s.finish(), true
}

// look says whether the block was completed while patience lasted.
func (s *Slot) look(patience Patience) bool {
	for range patience.Polls {
		if s.phase.Load() == slotDone {
			return true
		}
		ring.Pause()
	}
	for range patience.Yields {
		if s.phase.Load() == slotDone {
			return true
		}
		runtime.Gosched()
	}
	return false
}

func (s *Slot) finish() error {
	s.phase.Store(slotFree)
	return s.err
}

// Completed is how many operations of a stream have been completed, and the first
// error among them.
func (s *Slot) Completed() (uint64, error) {
	n := s.completed.Load()
	if failure := s.failure.Load(); failure != nil {
		return n, *failure
	}
	return n, nil
}

// ClearFailure forgets the error of a stream, once it was reported.
func (s *Slot) ClearFailure() { s.failure.Store(nil) }

// WaitCompleted waits until at least n operations of a stream are completed.
func (s *Slot) WaitCompleted(ctx context.Context, n uint64) error {
	for {
		if s.completed.Load() >= n {
			return nil
		}
		s.watching.Store(true)
		if s.completed.Load() >= n {
			s.watching.Store(false)
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// slotChunk is how many slots are made known at a time.
const slotChunk = 256

// Slots gives slots their addresses. It is safe for concurrent use. The zero Slots
// is empty and ready to use.
type Slots struct {
	mu     sync.Mutex // making a slot
	count  uint32
	chunks [SlotsMax / slotChunk]atomic.Pointer[[slotChunk]*Slot] // New publishes to at
}

// SlotsMax is how many slots can exist: calls under way, plus open producers.
const SlotsMax = 1 << 20

// New makes a slot, or returns nil when there are SlotsMax already.
func (t *Slots) New() *Slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == SlotsMax {
		return nil
	}
	s := &Slot{index: t.count, use: 1, wake: make(chan struct{}, 1)}
	var chunk [slotChunk]*Slot
	if old := t.chunks[t.count/slotChunk].Load(); old != nil {
		chunk = *old
	}
	chunk[t.count%slotChunk] = s
	t.chunks[t.count/slotChunk].Store(&chunk)
	t.count++
	return s
}

// at returns the slot with an index that New has given.
func (t *Slots) at(index uint32) *Slot {
	return t.chunks[index/slotChunk].Load()[index%slotChunk]
}

// A FreeList keeps slots that are not in use. It is safe for concurrent use and
// takes no lock. It is Treiber's stack (R. K. Treiber, "Systems Programming: Coping
// with Parallelism", IBM RJ 5118, 1986), with a count in the head against a slot
// that is popped and pushed in between.
type FreeList struct {
	head atomic.Uint64 // count<<32 | index plus one; Put's swap publishes to Get
}

// Get takes a slot off the list, or returns nil.
func (f *FreeList) Get(slots *Slots) *Slot {
	for {
		head := f.head.Load()
		if uint32(head) == 0 {
			return nil
		}
		s := slots.at(uint32(head) - 1)
		next := uint64(s.next.Load())
		if f.head.CompareAndSwap(head, (head>>32+1)<<32|next) {
			return s
		}
	}
}

// Put puts a slot on the list.
func (f *FreeList) Put(s *Slot) {
	for {
		head := f.head.Load()
		s.next.Store(uint32(head))
		if f.head.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.index+1)) {
			return
		}
	}
}
