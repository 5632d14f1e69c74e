package ring

import "unsafe"

// cursor is how far the consumer has got, in words. Only the consumer touches it.
//
// Invariant: released <= next <= limit, and limit is released plus the ring's size.
type cursor struct {
	next     uint64 // where the next block begins
	released uint64 // what head holds
	limit    uint64 // where the words still borrowed begin again, one lap later
}

// Next returns the payload of the next block in claim order, or false if that block
// is not published yet or there is none. The bytes are borrowed until Release: they
// may be read and written, but not kept.
func (r *Ring) Next() ([]byte, bool) {
	c := &r.consumer
	// At the limit the whole ring is borrowed, and the words that follow are those
	// of the oldest borrowed block, not yet cleared.
	for c.next != c.limit {
		at := c.next & r.mask
		// This load sees the store in Publish or block, and with it the payload.
		word := r.words[at].Load()
		if word == 0 {
			break
		}
		if word&padFlag != 0 {
			c.next += word &^ padFlag
			continue
		}
		c.next += blockWords(int(word))
		return unsafe.Slice((*byte)(unsafe.Pointer(&r.words[at+1])), int(word)), true
	}
	return nil, false
}

// Release gives back the room of everything that Next has returned, and wakes a
// producer that waits for it. The more blocks a Release covers, the less each costs.
func (r *Ring) Release() {
	c := &r.consumer
	n := c.next - c.released
	if n == 0 {
		return
	}
	from := c.released & r.mask
	if end := from + n; end <= r.size {
		clear(r.words[from:end])
	} else {
		clear(r.words[from:])
		clear(r.words[:end-r.size])
	}
	c.released = c.next
	c.limit = c.next + r.size
	// This store publishes the cleared words to the load of head in Claim. It is in
	// one order with the load of waiting below; see roomQueue.
	r.head.Store(c.next)
	if r.room.waiting.Load() != 0 {
		r.releasedTo(c.next)
	}
}

// Position returns the position that Next has reached: all blocks below it have been
// returned. It compares with those of SetRoute and Close by <, and never runs back.
func (r *Ring) Position() uint64 { return r.consumer.next * wordBytes }

// Closed reports whether the ring was closed. It is safe for concurrent use.
func (r *Ring) Closed() bool { return r.tail.Load()&closedBit != 0 }

// Drained reports whether the ring is closed, and everything that was claimed has
// been consumed and released: nothing will ever come out of it again.
func (r *Ring) Drained() bool {
	t := r.tail.Load()
	return t&closedBit != 0 && distance(r.consumer.released, t) == 0
}
