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
// others wait, at most until their ctx ends. Once a move has begun it goes on when ctx
// ends, and the error is that of ctx.
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
	return e.moveTo(ctx, uint32(partition), to, true)
}

// moveTo is Move without its checks; told says that the logger is told.
func (e *Engine) moveTo(ctx context.Context, partition uint32, to int, told bool) error {
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	moved := make(chan error, 1)
	go e.moveInTurn(partition, to, told, moved)
	select {
	case err := <-moved:
		return err
	case <-ctx.Done():
		return ctx.Err()
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
func (e *Engine) moveInTurn(partition uint32, to int, told bool, moved chan<- error) {
	err := errNotReturned
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
		<-e.moves
		moved <- err
	}()
	from, began := int(e.route.Load().owner[partition]), time.Now()
	if err = e.move(partition, to); err == nil && told && from != to {
		e.operator.reporter.moved(e.dir, partition, from, to, time.Since(began))
	}
}

func (e *Engine) move(partition uint32, to int) error {
	r, shards := e.route.Load(), e.shards()
	from := int(r.owner[partition])
	if from == to {
		return nil
	}
	if err := errors.Join(shards[from].Err(), shards[to].Err()); err != nil {
		return err
	}
	next := &route{owner: slices.Clone(r.owner), versions: make([]uint16, len(shards))}
	copy(next.versions, r.versions)
	next.owner[partition] = uint16(to)
	next.versions[from]++
	return shard.Move(shards[from], shards[to], partition, func() uint64 { return e.reroute(r, next, from) })
}

// reroute replaces the route. The old owner's inbox closes to the old one in between:
// nothing of the partition reaches the new owner before the last event that the old
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
