package engine

import (
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A Context is what the functions of a table may know beyond their arguments. All of it
// is in the log, so that a replay sees the same. It is valid until the function
// returns, and belongs to its goroutine.
type Context[K comparable] struct {
	occasion
	key K
}

// An occasion is what functions of a table are called for, and what they have asked for.
type occasion struct {
	op    *shard.Operation
	now   int64
	clock int64  // the same by the table's clock
	keys  *codec // of the table
	keyed bool   // the key of op was decoded

	deleted bool
	draws   uint64

	timers  bool // the table has some
	request request
}

func (o *occasion) begin(op *shard.Operation) {
	o.op, o.keyed, o.deleted, o.draws = op, false, false, 0
}

// renew takes back what a function has asked for.
func (o *occasion) renew() { o.deleted, o.draws, o.request = false, 0, request{} }

// Key returns the key of the event, decoded from its bytes: a string key is copied
// at the first call for each event.
func (c *Context[K]) Key() K {
	if !c.keyed {
		var zero K
		c.key = zero // a codec may decode into memory that it finds
		c.keyed = c.keys.decodeValue(c.op.Key(), unsafe.Pointer(&c.key)) == nil
	}
	return c.key
}

// KeyBytes returns the encoded key. It is borrowed: it must not be kept or changed.
func (c *Context[K]) KeyBytes() []byte { return c.op.Key() }

// Now returns the time of the event as it is logged, in UTC: the hour of an event must not
// depend on the machine that replays it. It resolves a millisecond, and never runs back
// within a partition.
func (c *Context[K]) Now() time.Time { return time.Unix(0, c.now).UTC() }

// Sequence returns the number of the event in its partition: 1, 2, 3, without gaps.
// In Check it is the number that the event gets if it is accepted.
func (c *Context[K]) Sequence() uint64 { return c.op.Part.Sequence + 1 }

// Rand returns the next of a row of random numbers that depends only on the key, the
// partition and the sequence of the event. Each function that is called for the event
// begins the row anew: Init and Apply draw the same numbers. It is SplitMix64 (Steele, Lea, Flood,
// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). It is not fit for
// secrets.
func (c *Context[K]) Rand() uint64 {
	c.draws++
	x := c.op.Hash ^ c.Sequence()*0x9e3779b97f4a7c15 + c.draws*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Delete removes the key with its state and its timer when Apply or OnTimer returns. The
// next event of the key begins with Init. In Init, Check and OnExpire it does nothing.
func (c *Context[K]) Delete() { c.deleted = true }
