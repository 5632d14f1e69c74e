package engine

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/shard"
)

// A route says which shard owns a partition. It is replaced as a whole.
type route struct {
	owner    []uint16 // shard of each partition
	versions []uint16 // of each shard's inbox: a claim with another one is refused
	// next is the route that is about to replace this one; reroute's store publishes to
	// stale.
	next atomic.Pointer[route]
}

// shardOf is the index of the shard that owns the key with this hash.
func (e *Engine) shardOf(r *route, hash uint64) int {
	return int(r.owner[e.routing.Partition(hash)])
}

// send claims room for block in the inbox of the shard that owns hash and publishes
// it there. If the inbox is full it waits for room, or returns ErrOverloaded.
// Everything in block must be of partitions of that shard.
func (e *Engine) send(ctx context.Context, hash uint64, block []byte, wait bool) error {
	for {
		r := e.route.Load()
		index := e.shardOf(r, hash)
		outcome := e.claim(index, r.versions[index], block)
		if outcome == ring.Claimed {
			return nil
		}
		if outcome == ring.Stale {
			e.stale(r)
			continue
		}
		if err := e.unclaimed(ctx, index, outcome, len(block), wait); err != nil {
			return err
		}
	}
}

// claim copies block into the inbox of a shard, if it has room and still has the
// route version. No user code runs in between.
func (e *Engine) claim(index int, version uint16, block []byte) ring.Outcome {
	s := e.shards()[index]
	claim, outcome := s.Inbox().Claim(version, len(block))
	if outcome == ring.Claimed {
		copy(claim.Bytes, block)
		s.Inbox().Publish(claim)
		s.Wake()
	}
	return outcome
}

// unclaimed waits until it makes sense to claim again, or says why it does not.
func (e *Engine) unclaimed(ctx context.Context, index int, outcome ring.Outcome, n int, wait bool) error {
	s := e.shards()[index]
	switch outcome {
	case ring.Closed:
		return e.gone(index)
	case ring.Full:
		if !wait {
			return ErrOverloaded
		}
		return s.Inbox().WaitRoom(ctx, n)
	case ring.BadSize:
		return fmt.Errorf("%w: a block of %d bytes, and the inbox takes %d", ErrTooLarge, n, s.Inbox().MaxBlock())
	}
	return nil
}

// shards are those of the engine. A route never names one that is not among them.
func (e *Engine) shards() []*shard.Shard {
	if fleet := e.fleet.Load(); fleet != nil {
		return *fleet
	}
	return nil // Open is at work
}

// patience is how a caller waits for an ack. All shards wait in the same way.
func (e *Engine) patience(ack Ack) shard.Patience { return e.shards()[0].Patience(ack.level()) }

// gone is why a shard takes nothing any more.
func (e *Engine) gone(index int) error {
	if err := e.shards()[index].Err(); err != nil {
		return err
	}
	return ErrClosed
}

// admit says whether a call may be made at all.
func (e *Engine) admit(ctx context.Context, ack Ack) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ack > Applied {
		return fmt.Errorf("keyfold: unknown Ack %d", ack)
	}
	if ack == Durable && e.options.Sync == SyncNever {
		return ErrNeverDurable
	}
	if e.inside() {
		return ErrInside
	}
	return nil
}

// inside says whether the caller is a function of a table.
func (e *Engine) inside() bool {
	for _, s := range e.shards() {
		if s.Inside() {
			return true
		}
	}
	return false
}

// slot takes a slot from a list of those that are free, or makes one. sink is called
// for a new slot.
func (e *Engine) slot(free *shard.FreeList, sink func(*shard.Slot) shard.Sink) (*shard.Slot, error) {
	if s := free.Get(&e.slots); s != nil {
		return s, nil
	}
	s := e.slots.New()
	if s == nil {
		return nil, ErrOverloaded
	}
	s.Sink = sink(s)
	return s, nil
}

func encodeError(table, what string, err error) error {
	return fmt.Errorf("keyfold: table %q: encode the %s: %w", table, what, err)
}
