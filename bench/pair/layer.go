package pair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// A Layer is what a table of a side has beyond keys and states.
type Layer string

// The layers.
const (
	NoLayer Layer = ""
	Once    Layer = "once"     // events have ids, of which a partition remembers OnceIDs
	Named   Layer = "name"     // the producers or sources have names
	Timer   Layer = "timer"    // each event sets the timer of its key, which is not due
	Idle    Layer = "idle"     // keys have an idle time, which none comes to the end of
	KeepLog Layer = "keep-log" // of KeepBytes
	Changes Layer = "changes"  // KeepLog with a reader of the changes beside the load
	States  Layer = "states"   // Changes with a reader of them that has the states that they leave
)

// Sizes of layers.
const (
	// OnceIDs is how many ids a partition remembers.
	OnceIDs = 256
	// KeepBytes is how much of the log is kept.
	KeepBytes = 1 << 30
	// batchEvents is how many events are in a batch.
	batchEvents = 4096
	// later is when a timer is due, and how long a key may be idle.
	later = 24 * time.Hour
)

// check says what is wrong with the layer of a side.
func (l Layer) check(o *Options) error {
	switch {
	case !slices.Contains([]Layer{NoLayer, Once, Named, Timer, Idle, KeepLog, Changes, States}, l):
		return fmt.Errorf("pair: unknown layer %q", l)
	case l == NoLayer:
		return nil
	case o.Store.EventBytes > limit.EventBytes:
		return fmt.Errorf("pair: tables with layers have events of %d bytes", limit.EventBytes)
	case (l == Once) != (o.Door == Batch || o.Door == Call):
		return errors.New("pair: events have ids in calls and batches, and only there")
	case l == Named && o.Store.Ack != "durable":
		return errors.New("pair: what has a name needs the ack durable")
	}
	return nil
}

// layered is the table of a side with its layer.
func layered(l Layer) engine.Spec[limit.Key, limit.State, limit.Event, struct{}] {
	spec := engine.Spec[limit.Key, limit.State, limit.Event, struct{}]{
		Apply: func(_ *engine.Context[limit.Key], s *limit.State, e limit.Event) (none struct{}) {
			s.Fold(e.Value)
			return none
		},
	}
	switch l {
	case Once:
		spec.Once.IDs = OnceIDs
	case Timer:
		spec.Apply = func(c *engine.Context[limit.Key], s *limit.State, e limit.Event) (none struct{}) {
			s.Fold(e.Value)
			c.SetTimer(c.Now().Add(later))
			return none
		}
		spec.OnTimer = func(_ *engine.Context[limit.Key], s *limit.State) { s.Count = 0 }
	case Idle:
		spec.TTL.Idle = later
	}
	return spec
}

// batches send parts of a stream in batches, each of which is waited for.
type batches[E any] struct {
	side  *engineSide[E]
	batch *engine.Batch
	all   stream[E]
	once  bool
	next  uint64 // for ids
}

func newBatches[E any](e *engineSide[E], s stream[E], once bool) *batches[E] {
	return &batches[E]{side: e, batch: e.engine.Batch(), all: s, once: once}
}

func (f *batches[E]) pass(ctx context.Context) error {
	for i := range f.all.keys {
		if f.once {
			f.next++
			f.side.table.PutOnce(f.batch, idOf(f.next), f.all.keys[i], f.all.events[i], nil)
		} else {
			f.side.table.Put(f.batch, f.all.keys[i], f.all.events[i], nil)
		}
		if f.batch.Len() == batchEvents || i == len(f.all.keys)-1 {
			if err := f.batch.Do(ctx, f.side.ack); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *batches[E]) close(context.Context) error { return nil }

// follower reads the changes of a side beside its load.
type follower[E any] struct {
	feed
	changes *engine.Changes[limit.Key, limit.State, E, struct{}]
	sent    uint64        // by all passes, and what was inserted
	each    uint64        // of a pass
	read    atomic.Uint64 // run's Add publishes to rest
	wanted  atomic.Uint64 // rest's Store publishes to run
	there   chan struct{} // of capacity 1: read has come to wanted
	stop    context.CancelFunc
	ended   sync.WaitGroup
	failed  chan error
}

// newFollower begins to read the changes of a side that holds so many events.
func newFollower[E any](e *engineSide[E], f feed, inserted, each int) (*follower[E], error) {
	ctx, stop := context.WithCancel(context.Background())
	changes, err := e.table.Changes(ctx, engine.Position{}, engine.ChangesOptions{States: e.layer == States})
	if err != nil {
		stop()
		return nil, err
	}
	r := &follower[E]{
		feed: f, changes: changes, sent: uint64(inserted), each: uint64(each), stop: stop,
		there: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	r.ended.Go(func() { r.run(ctx) })
	return r, nil
}

func (r *follower[E]) run(ctx context.Context) {
	for {
		if _, err := r.changes.Next(ctx); err != nil {
			r.failed <- err
			return
		}
		if r.read.Add(1) == r.wanted.Load() {
			select {
			case r.there <- struct{}{}:
			default:
			}
		}
	}
}

// rest waits until the reader has what was sent.
func (r *follower[E]) rest(ctx context.Context) error {
	r.sent += r.each
	r.wanted.Store(r.sent)
	for r.read.Load() < r.sent {
		select {
		case <-r.there: // or it was left from a pass before
		case err := <-r.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *follower[E]) close(ctx context.Context) error {
	r.stop()
	r.ended.Wait()
	return errors.Join(r.changes.Close(), r.feed.close(ctx))
}

// Sizes says what a side with an engine takes.
type Sizes struct {
	Keys       int
	StateBytes int    // memory of keys and states, and what the layer has with them
	LogBytes   uint64 // written
	Events     uint64 // accepted, since the store was made
	IDs        uint64 // remembered
}

// Sizes asks the engine of the side.
func (e *engineSide[E]) Sizes(ctx context.Context) (Sizes, error) {
	stats, err := e.engine.Stats(ctx)
	if err != nil {
		return Sizes{}, err
	}
	s := Sizes{Keys: stats.Keys, StateBytes: stats.StateBytes, Events: stats.Events}
	for i := range stats.Shards {
		s.LogBytes += stats.Shards[i].Log.Bytes
	}
	for _, p := range stats.Partitions {
		// Keys are inserted by events without ids.
		if e.layer == Once && p.Events > uint64(p.Keys) {
			s.IDs += min(OnceIDs, p.Events-uint64(p.Keys))
		}
	}
	return s, nil
}

// NewTable is the table that folds the events of limit rows, without a layer.
func NewTable() *engine.Table[limit.Key, limit.State, limit.Event, struct{}] {
	spec := layered(NoLayer)
	spec.Name = "fold"
	return engine.NewTable(spec)
}

// CheckCount says whether the states of a table that folds the events of limit rows hold so
// many of them, no more and no fewer.
func CheckCount(ctx context.Context, table *engine.Table[limit.Key, limit.State, limit.Event, struct{}], want int64) error {
	have := int64(0)
	for e, err := range table.All(ctx) {
		if err != nil {
			return err
		}
		have += e.State.Count
	}
	if have != want {
		return fmt.Errorf("pair: the states have %d events, and %d were acknowledged", have, want)
	}
	return nil
}
