package ring

import "context"

// PositionWords is the number of words after which the position in the tail word
// begins again.
const PositionWords = 1 << positionBits

// NewAt returns a Ring whose positions begin at the given number of words.
func NewAt(bytes int, words uint64) *Ring {
	r, err := New(bytes)
	if err != nil {
		panic(err)
	}
	r.tail.Store(words & positionMask)
	r.head.Store(words)
	r.consumer = cursor{next: words, released: words, limit: words + r.size}
	return r
}

// Words copies all words of the ring.
func (r *Ring) Words() []uint64 {
	out := make([]uint64, r.size)
	for i := range r.words {
		out[i] = r.words[i].Load()
	}
	return out
}

// Waiting returns how many producers are parked.
func (r *Ring) Waiting() int { return int(r.room.waiting.Load()) }

// RaceEnabled says whether this build has the race detector, and hence never spins.
const RaceEnabled = !spinAllowed

// ParkForRoom is WaitRoom without looking for room before it queues up.
func (r *Ring) ParkForRoom(ctx context.Context, n int) error {
	return r.parkForRoom(ctx, r.tail.Load()>>positionBits, blockWords(n))
}
