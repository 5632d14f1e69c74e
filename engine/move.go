package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/keyfold/keyfold/shard"
)

// ErrTooBusy is matched by the error of Move when a partition takes events faster than
// its new shard can be given them. Nothing has changed.
var ErrTooBusy = shard.ErrTooBusy

// Move moves a partition to another shard while the engine runs, and returns when that
// is durable; it does nothing if the shard has the partition. Whoever sends events does
// not notice, but for a wait of about a millisecond: order, acknowledgements and
// recovery are what they are without it. The next Open finds the partition where it is.
//
// Partitions are numbered from 0, and so are shards. One partition moves at a time:
// others wait, at most until their ctx ends. Nothing bounds how many moves follow each
// other, as [RebalanceAutomatic] does for its own: each takes the time to copy and to log
// the partition from those who call for others. With one a second, of 10,000 keys, their
// p99 was what it was without. Once a move has begun it goes on when ctx
// ends, and the error is that of ctx. If the disk fills up behind the point from which
// nothing can be taken back, it waits for room, and the partition is refused as read-only.
//
// Errors that mean that nothing has changed: ErrClosed, ErrInside, that of ctx while
// others move, ErrTooBusy, ErrReadOnly when the new shard has no room on the disk, a
// *[FailedError] when one of the shards has failed before, that of a codec, and one that
// says that there is no such partition or shard. If a shard fails during the move, the
// error is a *[FailedError], too, and the partition either goes on where it was, or is
// refused like those of the failed shard until the store is opened again.
func (e *Engine) Move(ctx context.Context, partition, to int) error {
	if e.inside() {
		return ErrInside
	}
	if partition < 0 || partition >= e.manifest.Partitions {
		return fmt.Errorf("keyfold: there is no partition %d: the store has %d", partition, e.manifest.Partitions)
	}
	if count := len(e.shards()); to < 0 || to >= count {
		return fmt.Errorf("keyfold: there is no shard %d: the engine has %d", to, count)
	}
	return e.moveTo(ctx, []uint32{uint32(partition)}, to, true)
}

// moveTo is Move without its checks, of several partitions; told says that the logger is
// told. Those of one owner move together, as far as that is good. ctx is looked at in
// between. It keeps and changes partitions.
func (e *Engine) moveTo(ctx context.Context, partitions []uint32, to int, told bool) error {
	for {
		if err := e.takeTurn(ctx); err != nil {
			return err
		}
		moved := make(chan error, 1)
		go e.moveInTurn(partitions, to, told, moved)
		select {
		case err := <-moved:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		owner := e.route.Load().owner
		partitions = slices.DeleteFunc(partitions, func(id uint32) bool { return int(owner[id]) == to })
		if len(partitions) == 0 {
			return nil
		}
	}
}

// takeTurn waits until nobody else moves partitions. Closing the engine takes the last
// turn.
func (e *Engine) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-e.closing.begun:
		return ErrClosed
	default:
	}
	select {
	case e.moves <- struct{}{}:
		return nil
	case <-e.closing.begun:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// moveInTurn is a goroutine of its own: closing the engine waits for its turn to end.
// Codecs run in it.
func (e *Engine) moveInTurn(partitions []uint32, to int, told bool, ended chan<- error) {
	err := errNotReturned
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
		<-e.moves
		ended <- err
	}()
	began := time.Now()
	from, moved, err := e.move(partitions, to)
	for _, id := range moved {
		if err == nil && told {
			e.operator.reporter.moved(e.dir, id, from, to, time.Since(began))
		}
	}
}

// move moves the first of the partitions that the shard does not have, with others of the
// same owner, and returns which those are.
func (e *Engine) move(partitions []uint32, to int) (from int, moved []uint32, err error) {
	r, shards := e.route.Load(), e.shards()
	var together []uint32
	for _, id := range partitions {
		switch owner := int(r.owner[id]); {
		case owner == to:
		case len(together) == 0 || owner == from:
			from, together = owner, append(together, id)
		}
	}
	if len(together) == 0 {
		return to, nil, nil
	}
	if err := errors.Join(shards[from].Err(), shards[to].Err()); err != nil {
		return from, nil, err
	}
	next := &route{owner: slices.Clone(r.owner), versions: make([]uint16, len(shards))}
	copy(next.versions, r.versions)
	next.versions[from]++
	err = e.mover.Move(shards[from], shards[to], together, func(some []uint32) uint64 {
		for _, id := range some {
			next.owner[id] = uint16(to)
		}
		moved = some
		return e.reroute(r, next, from)
	})
	return from, moved, err
}

// reroute replaces the route. The old owner's inbox closes to the old one in between:
// nothing of the partitions reaches the new owner before the last event that the old
// owner gets, and who meets the closed inbox takes the next route and need not wait.
func (e *Engine) reroute(r, next *route, from int) (cut uint64) {
	r.next.Store(next)
	cut = e.shards()[from].Inbox().SetRoute(next.versions[from])
	e.route.CompareAndSwap(r, next)
	r.next.Store(nil) // who still has r must not keep all that follow
	return cut
}

// stale makes the route behind r the current one, if that is not done yet. Only the
// current route has one behind it.
func (e *Engine) stale(r *route) {
	if next := r.next.Load(); next != nil {
		e.route.CompareAndSwap(r, next)
	}
}
