package engine

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// An Engine is an open store. It is safe for concurrent use. The zero Engine is not
// usable; call [Open].
type Engine struct {
	dir       string
	options   Options
	manifest  *manifest
	routing   shard.Routing
	tables    []Definition
	bindings  []attachment // by id
	positions positions    // one of tables: the engine's own facts
	lock      io.Closer
	memory    *slab.Arena // of all tables
	owners    []uint16    // of the partitions, when the engine was opened
	clock     shard.Clock // the same for all shards

	fleet   atomic.Pointer[[]*shard.Shard] // the stores of Open and Resize publish to every call; it only grows
	route   atomic.Pointer[route]          // the stores of Open and of moves publish to every call
	moves   chan struct{}                  // of capacity 1: taken by whoever moves partitions
	mover   shard.Mover                    // of whoever has taken moves
	unsure  error                          // why the manifest may name more shards than there are; of whoever has taken moves
	slots   shard.Slots
	holders holders
	spare   shard.FreeList // slots of batches, producers and feeds
	// sources counts those that were given to shards; each add takes the next shard.
	sources atomic.Uint64

	recovery Recovery
	history  history
	operator operator
	closing  closing
}

// history is what an engine has of former layouts.
type history struct {
	bytes  atomic.Int64        // of their logs; trimFormer's store publishes to keep's load
	trails []shard.TrailSource // of them, when the engine was opened
	bases  []shard.Config      // of shards whose snapshots may be there, when the engine was opened
}

// operator is what there is for whoever runs the program.
type operator struct {
	reporter *reporter
	// adviser is nil while there is none; the stores of Open and Resize publish to Stats.
	adviser atomic.Pointer[adviser]
}

// closing is the end of an engine: the first to call Close or Shutdown does it.
type closing struct {
	once  sync.Once
	begun chan struct{} // closed when no more moves may begin
	done  chan struct{}
	err   error // published by closing done
}

// Close refuses further calls with ErrClosed, carries out what was admitted, syncs
// and acknowledges it, takes a snapshot, so that the next Open replays nothing, and
// gives the tables and the directory back. It waits for all of that; so do further
// calls, which return the same. An error says which shard failed; what was
// acknowledged is there all the same.
func (e *Engine) Close() error { return e.Shutdown(context.Background()) }

// Shutdown is Close under a deadline: if ctx ends before the snapshot is taken, it is
// left out, and the next Open replays the log instead. What was admitted is carried
// out, synced and acknowledged in any case, and Shutdown waits for that. It then
// returns the error of ctx.
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.inside() {
		return ErrInside
	}
	e.closing.once.Do(func() {
		go func() {
			e.closing.err = e.end()
			close(e.closing.done)
		}()
	})
	select {
	case <-e.closing.done:
		return e.closing.err
	case <-ctx.Done():
	}
	select {
	case <-e.closing.done: // before ctx ended
		return e.closing.err
	default:
	}
	for _, s := range e.shards() {
		s.Hurry()
	}
	<-e.closing.done
	return errors.Join(ctx.Err(), e.closing.err)
}

func (e *Engine) end() error {
	close(e.closing.begun)
	for _, s := range e.shards() {
		s.Relent()
	}
	e.moves <- struct{}{} // for good
	e.operator.adviser.Load().stop()
	for _, s := range e.shards() {
		s.Stop()
	}
	var errs []error
	for _, s := range e.shards() {
		errs = append(errs, s.Wait(context.Background()))
	}
	e.dropFormer()
	e.operator.reporter.stop()
	for _, t := range e.tables {
		t.detach()
	}
	e.memory.Close()
	return errors.Join(append(errs, e.lock.Close())...)
}

// Snapshot takes a snapshot of every shard and waits until all are published. The
// engine takes snapshots by itself; this is for whoever wants the next recovery to be
// short. An error leaves the snapshots before in place.
func (e *Engine) Snapshot(ctx context.Context) error {
	if e.inside() {
		return ErrInside
	}
	shards := e.shards()
	return eachShard(len(shards), func(i int) error { return shards[i].Snapshot(ctx) })
}

// eachShard runs f for all shards at once and joins their errors. Code of the user's
// runs below f: if it does not return, that is an error too.
func eachShard(count int, f func(i int) error) error {
	errs := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			errs[i] = errNotReturned
			defer func() {
				if value := recover(); value != nil {
					errs[i] = &PanicError{Value: value, Stack: debug.Stack()}
				}
			}()
			errs[i] = f(i)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

var errNotReturned = errors.New("keyfold: a function of the program ended the goroutine that called it")

// Recovery says what Open found and did.
func (e *Engine) Recovery() Recovery { return e.recovery }

// path is the path of something in the store.
func (e *Engine) path(elements ...string) string {
	return filepath.Join(append([]string{e.dir}, elements...)...)
}
