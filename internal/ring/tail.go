package ring

// The tail word is what every claim compares and swaps, so that what it holds
// cannot change unnoticed between a producer's decision and its claim:
//
//	bits 48-63  route version
//	bit  47     closed
//	bits 0-46   position, in words, modulo 2^47
//
// The position wraps after a pebibyte. A producer would have to sleep through
// exactly that much between its load and its CAS to mistake one lap for another.
const (
	positionBits = 47
	positionMask = 1<<positionBits - 1
	closedBit    = 1 << positionBits
	routeShift   = positionBits + 1
)

// advance returns tail word t with its position moved by n words.
func advance(t, n uint64) uint64 {
	return t&^positionMask | (t+n)&positionMask
}

// refusal says why tail word t does not match a claim.
func refusal(t uint64) Outcome {
	if t&closedBit != 0 {
		return Closed
	}
	return Stale
}

// SetRoute makes v the route version of the ring: from here on claims with another
// version are [Stale]. It returns the position of the change: every block that was
// claimed before lies below it, every later one at it or above. Once Position has
// reached it, no block routed by an older version can turn up.
//
// Versions are 16 bits wide: a producer must not hold one for longer than 65535
// changes. SetRoute wakes those in WaitRoom.
func (r *Ring) SetRoute(v uint16) (position uint64) {
	return r.change(closedBit, uint64(v)<<routeShift)
}

// Close refuses later claims as [Closed] and returns the position below which all
// blocks lie that were claimed before. Blocks in the ring stay, and are returned by
// Next. Close is idempotent: calling it again returns the same position. It wakes
// those in WaitRoom.
func (r *Ring) Close() (position uint64) {
	return r.change(^uint64(positionMask), closedBit)
}

// change replaces the part of the tail word above the position: it keeps the bits
// in keep and sets those in set. The result is the position at that moment.
func (r *Ring) change(keep, set uint64) uint64 {
	for {
		head := r.head.Load()
		t := r.tail.Load()
		// This CAS publishes the change to the loads of tail in Claim and WaitRoom.
		if r.tail.CompareAndSwap(t, t&(keep|positionMask)|set) {
			r.wakeAll()
			return (head + distance(head, t)) * wordBytes
		}
	}
}

// distance returns how far tail word t is ahead of position head. Head must have
// been loaded before t, so that it cannot be ahead.
func distance(head, t uint64) uint64 { return (t - head) & positionMask }

// End returns the position that Next will have reached when it has returned all that is
// claimed now. It belongs to the consumer.
func (r *Ring) End() uint64 {
	return (r.consumer.released + distance(r.consumer.released, r.tail.Load())) * wordBytes
}

// Used returns how many bytes are claimed and not yet released, padding and size
// words included. While others are at work the answer is out of date.
func (r *Ring) Used() int {
	head := r.head.Load()
	t := r.tail.Load()
	return int(min(distance(head, t), r.size)) * wordBytes
}
