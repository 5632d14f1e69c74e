package shard

import "sort"

// A waiting is a block that was carried out and waits for its frame.
type waiting struct {
	slot       *Slot
	use        uint32
	operations uint32
	ordinal    uint64 // of the frame that must be written or durable
}

// A queue holds waiting blocks in the order of their frames.
//
// Invariant: ordinals never fall from front to back.
type queue struct {
	items []waiting
	head  int
}

func (q *queue) push(w waiting) {
	if n := len(q.items); n > q.head {
		last := &q.items[n-1]
		if last.slot == w.slot && last.ordinal == w.ordinal && last.use == w.use && w.slot.phase.Load() == slotFree {
			last.operations += w.operations // a stream is told once per frame
			return
		}
	}
	q.items = append(q.items, w)
}

// len is how many blocks wait, the events of a stream in one frame counted as one.
func (q *queue) len() int { return len(q.items) - q.head }

// upTo is how many of them wait for ordinal or an earlier one.
func (q *queue) upTo(ordinal uint64) int {
	return sort.Search(q.len(), func(i int) bool { return q.items[q.head+i].ordinal > ordinal })
}

func (q *queue) empty() bool { return q.head == len(q.items) }

// release completes everything up to ordinal, and returns how many blocks that was.
func (q *queue) release(ordinal uint64, ack error) int {
	from := q.head
	for q.head < len(q.items) && q.items[q.head].ordinal <= ordinal {
		w := &q.items[q.head]
		w.slot.complete(w.use, int(w.operations), ack)
		w.slot = nil
		q.head++
	}
	released := q.head - from
	if q.empty() {
		q.items, q.head = q.items[:0], 0
	} else if q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return released
}
