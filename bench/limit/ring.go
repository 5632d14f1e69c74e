package limit

import (
	"runtime"
	"sync/atomic"
)

// ringCells is how many events wait for the owner at most, a power of two.
const ringCells = 4096

// A cell is one event in the ring: a cache line.
type cell struct {
	hash  uint64
	key   Key
	event Event
	_     [64 - 8 - KeyBytes - EventBytes]byte
}

// ring is a bounded queue from one goroutine to one other. Both keep what they know of
// the other's place, and look again only when they have to. The zero ring is empty.
type ring struct {
	cells [ringCells]cell

	tail   atomic.Uint64 // cells that were put: put's Store publishes them to peek's Load
	closed atomic.Bool   // close's Store tells peek that tail is final
	_      [64]byte
	head   atomic.Uint64 // cells that were taken: take's Store gives them back to next's Load
	_      [64]byte

	// The dispatcher's.
	filled   uint64 // cells that were filled, published or not
	headSeen uint64
	_        [64]byte
	// The owner's.
	taken    uint64
	tailSeen uint64
}

// next is the cell to fill next, once it is free.
func (r *ring) next() *cell {
	for polls := 1; r.filled-r.headSeen == ringCells; polls++ {
		r.publish()
		r.headSeen = r.head.Load()
		idle(polls)
	}
	return &r.cells[r.filled%ringCells]
}

// put puts the cell that next returned. A store is dear, so it shows only whole
// batches.
func (r *ring) put() {
	r.filled++
	if r.filled%batch == 0 {
		r.publish()
	}
}

func (r *ring) publish() { r.tail.Store(r.filled) }

// close says that nothing more comes.
func (r *ring) close() {
	r.publish()
	r.closed.Store(true)
}

// peek waits for cells and returns the next, at most a batch; none at the end. They
// stay in the ring until take.
func (r *ring) peek() []cell {
	for polls := 1; r.taken == r.tailSeen; polls++ {
		closed := r.closed.Load() // before tail, which is final then
		r.tailSeen = r.tail.Load()
		if closed && r.taken == r.tailSeen {
			return nil
		}
		idle(polls)
	}
	from := r.taken % ringCells
	return r.cells[from:min(from+batch, from+r.tailSeen-r.taken, ringCells)]
}

// take gives cells back.
func (r *ring) take(n int) {
	r.taken += uint64(n)
	r.head.Store(r.taken)
}

// pollsMax is how often one side looks for the other before it lets others run: they
// may share a CPU.
const pollsMax = 1 << 12

func idle(polls int) {
	if polls%pollsMax == 0 {
		runtime.Gosched()
	}
}
