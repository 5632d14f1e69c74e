// Package ring is the inbox of a shard: a bounded ring of bytes that many
// producers fill and one consumer empties, without locks.
//
// A producer claims room for a block, writes the block in place, and publishes
// it. The consumer sees blocks in the order in which they were claimed. The word
// that producers claim from also carries the version of the route table, so a
// producer that looked up the owner in an old table is refused by the claim itself.
//
// Beside the [Ring] are the two parts that its consumer sleeps with: [Waiter]
// decides when to stop looking for work, [Parker] is where the consumer then waits.
package ring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/keyfold/keyfold/internal/mutant"
)

const (
	wordBytes = 8
	lineBytes = 128 // two cache lines: neighbours are fetched in pairs

	// BytesMin is the smallest size of a ring.
	BytesMin = 64
	// BytesMax is the largest size of a ring.
	BytesMax = 1 << 30

	// padFlag marks the first word of a padding block; the other bits count its words.
	padFlag = 1 << 63
)

type linePad [lineBytes]byte

// A Ring is a bounded queue of blocks in one buffer. Every block that was claimed
// before another is returned by Next before it.
//
// Claim, Publish, SetRoute, Close, Used, MaxBlock and WaitRoom are safe for
// concurrent use. Next, Release, Position, End and Drained belong to the consumer, one
// goroutine at a time. The zero Ring is not usable; call [New].
//
// # Who owns which words
//
// Positions count words since the ring was made and never run back; a position's
// place in the buffer is its remainder by the size. Three of them cut the buffer
// into intervals, and an interval has one owner, who alone may touch its words:
//
//	[head, head+size)   one lap: all that exists
//	[head, next)        returned by Next, borrowed by the consumer's caller
//	[next, tail)        claimed: a block belongs to the producer that claimed it
//	                    until the store of its first word gives it to the consumer
//	[tail, head+size)   nobody's, and zero in every word
//
// Ownership changes hands by three atomic operations: the CAS on tail takes words
// from nobody's interval for a producer, the store of a block's first word gives it
// to the consumer, and the store of head gives the consumer's words back. The
// consumer clears words before it stores head. Hence whatever word next stands on
// reads zero until a block that starts there is published, which is all that Next
// has to look at. A fourth, the CAS of SetRoute and Close, moves no words: it
// changes who may claim, and the position in the word that it replaced is the cut.
//
// Invariant: head <= next <= tail <= head+size.
//
// A block is one word that holds its size in bytes, followed by its payload in whole
// words. It never wraps: where the buffer ends too early the same claim takes the
// words up to the end too, as a padding block that Next skips.
//
// # Sources
//
// The claim by one CAS with padding, the size word that publishes, and the consumer
// that clears are those of ManyToOneRingBuffer in Agrona (M. Thompson, for Aeron).
// Reserve and commit through a header word in claim order is also how the ring
// buffer of BPF in Linux works (A. Nakryiko, 2020). Counters on cache lines of their
// own are familiar from the LMAX Disruptor (2011). Route and closed bit in the claim's
// own word are added here.
type Ring struct {
	words    []atomic.Uint64
	size     uint64 // words; a power of two
	mask     uint64 // size-1
	blockMax int    // bytes

	_ linePad
	// tail is the tail word: route, closed bit, position. See tail.go.
	tail atomic.Uint64

	_ linePad
	// head is the position up to which everything was given back. The store in
	// Release publishes cleared words to the load in full. A copy of it beside tail,
	// refreshed only when it says full, made no difference in BenchmarkInbox.
	head atomic.Uint64

	_        linePad
	consumer cursor

	_    linePad
	room roomQueue
}

// New returns an empty ring of the given size, with route version 0. The size must
// be a power of two from [BytesMin] to [BytesMax].
func New(bytes int) (*Ring, error) {
	if bytes < BytesMin || bytes > BytesMax || bytes&(bytes-1) != 0 {
		return nil, fmt.Errorf("ring: size of %d bytes is not a power of two from %d to %d",
			bytes, BytesMin, BytesMax)
	}
	size := uint64(bytes / wordBytes)
	r := &Ring{
		words:    make([]atomic.Uint64, size),
		size:     size,
		mask:     size - 1,
		blockMax: int((size+1)/3-1) * wordBytes,
	}
	r.consumer.limit = size
	return r, nil
}

// MaxBlock returns the largest payload of a block in bytes. It is about a third of
// the ring, so that an empty ring takes two of them wherever its tail stands: of
// two blocks of m words one at most is padded, by at most m-1 words.
func (r *Ring) MaxBlock() int { return r.blockMax }

// An Outcome says what became of a claim.
type Outcome uint8

const (
	// Claimed means that the block is the caller's, to write and to publish.
	Claimed Outcome = iota
	// Full means that there was no room during the call.
	Full
	// Stale means that the ring has another route version than the caller.
	Stale
	// Closed means that the ring was closed. It goes before Stale.
	Closed
	// BadSize means that no block can have that many bytes.
	BadSize
)

// String returns the name of o.
func (o Outcome) String() string {
	names := [...]string{"Claimed", "Full", "Stale", "Closed", "BadSize"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// A Claim is a block that belongs to the producer that claimed it. It must be
// published exactly once and soon: the consumer sees nothing that was claimed later
// until then.
type Claim struct {
	// Bytes is the payload, zero at first and aligned to 8 bytes. It must not be
	// touched after Publish.
	Bytes []byte

	// block is the index of the first word in the upper half, and what to store there
	// in the lower one. A Claim of four words stays in registers; one of five takes a
	// detour through memory that costs as much as the CAS.
	block uint64
}

// Claim takes room for a block of n payload bytes, if the ring has the given route
// version, is open, and has room. It never waits. With any other outcome than
// [Claimed] nothing has changed and the returned Claim must not be used.
func (r *Ring) Claim(route uint16, n int) (Claim, Outcome) {
	if uint(n-1) >= uint(r.blockMax) {
		return Claim{}, BadSize
	}
	need := blockWords(n)
	for {
		t := r.tail.Load()
		if t>>positionBits != uint64(route)<<1 && !(mutant.RouteNotChecked && t&closedBit == 0) {
			return Claim{}, refusal(t)
		}
		at := t & r.mask
		pad := r.padding(at, need)
		if r.full(t, pad+need) {
			return Claim{}, Full
		}
		if r.tail.CompareAndSwap(t, advance(t, pad+need)) {
			return r.block(at, pad, n), Claimed
		}
	}
}

// Publish gives the block to the consumer. c must come from a Claim of this ring
// with outcome [Claimed]. Whoever may be asleep at the other end is to be woken
// after Publish, not before.
func (r *Ring) Publish(c Claim) {
	// This store publishes the payload to the load in Next.
	r.words[c.block>>32].Store(c.block & (1<<32 - 1))
}

// full reports whether need words were not free when it looked at head, after it had
// loaded t. If head has overtaken t, then t is old: the answer is no, and the CAS that
// follows cannot succeed.
func (r *Ring) full(t, need uint64) bool {
	used := (t - r.head.Load()) & positionMask
	return used <= r.size && used+need > r.size
}

// block makes the Claim of n bytes at index at, behind pad words of padding. The
// padding is published at once.
func (r *Ring) block(at, pad uint64, n int) Claim {
	if pad != 0 {
		// This store publishes the padding to the load in Next.
		r.words[at].Store(padFlag | pad)
		at = 0
	}
	return Claim{
		Bytes: unsafe.Slice((*byte)(unsafe.Pointer(&r.words[at+1])), n),
		block: at<<32 | uint64(n),
	}
}

// padding returns how many words to skip so that need words fit in one piece.
func (r *Ring) padding(at, need uint64) uint64 {
	if at+need > r.size {
		return r.size - at
	}
	return 0
}

// blockWords returns how many words a block of n payload bytes takes.
func blockWords(n int) uint64 { return 1 + (uint64(n)+wordBytes-1)/wordBytes }
