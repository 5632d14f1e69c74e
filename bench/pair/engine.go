package pair

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/engine"
)

// Options says how the engine of a side runs, and how events come to it.
type Options struct {
	// Store is how the store is opened. Its Dir must be new or empty, its EventBytes
	// limit.EventBytes at least.
	Store store.Options
	// Partitions is how many slices the key space has; 0 is what the engine chooses.
	Partitions int
	// Pin pins the shards. Spin is how long an idle shard looks for work; 0 is what the
	// engine chooses, less than 0 not at all.
	Pin  bool
	Spin time.Duration
	// Door says how events come.
	Door Door
	// Producers is how many goroutines send; each has its own part of the keys. It is 1
	// with sources.
	Producers int
	// Layer is what the table has beyond keys and states. Once goes with Batch and Call.
	Layer Layer
	// InFlight is how many events of a producer may be unacknowledged; 0 is what the
	// engine chooses.
	InFlight int
}

// Door says how events come to the engine.
type Door string

// The doors.
const (
	// Source is a source for each shard, which the shard reads itself.
	Source Door = "source"
	// Producer sends from goroutines other than the shards'.
	Producer Door = "producer"
	// Batch sends from another goroutine, in batches that are waited for.
	Batch Door = "batch"
	// Call sends from another goroutine, one event after the other, each when the one before
	// was answered.
	Call Door = "call"
)

// Doors are those that stream.
func Doors() []Door { return []Door{Source, Producer} }

// ProducersMax bounds Options.Producers.
const ProducersMax = 256

// Check says what is wrong with the options.
func (o *Options) Check() error {
	switch {
	case o.Door != Batch && o.Door != Call && !slices.Contains(Doors(), o.Door):
		return fmt.Errorf("pair: unknown door %q; there are %v", o.Door, Doors())
	case o.Producers < 1 || o.Producers > ProducersMax:
		return fmt.Errorf("pair: the count of producers must lie between 1 and %d, not %d", ProducersMax, o.Producers)
	case o.Store.EventBytes < limit.EventBytes:
		return fmt.Errorf("pair: an event has at least %d bytes, not %d", limit.EventBytes, o.Store.EventBytes)
	case o.Layer.check(o) != nil:
		return o.Layer.check(o)
	case (o.Door == Batch || o.Door == Call) && o.Producers != 1:
		return errors.New("pair: calls and batches are sent by one goroutine")
	case o.Door == Source && o.Producers != 1:
		return fmt.Errorf("pair: shards read their sources themselves: producers need the door %s", Producer)
	case o.InFlight < 0:
		return fmt.Errorf("pair: %d events cannot be in flight", o.InFlight)
	}
	return o.Store.Check()
}

// Ordered says that the events of a key have an order. Between several sources there is
// none.
func (o *Options) Ordered() bool { return o.Door != Source || o.Shards() == 1 }

// Open opens an engine in o.Store.Dir, and has it insert all keys. It keeps s.
func Open(ctx context.Context, o Options, keys []limit.Key, s limit.Stream) (Side, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Store.EventBytes > limit.EventBytes {
		return open(ctx, &o, engine.Spec[limit.Key, limit.State, padded, struct{}]{
			Apply: func(_ *engine.Context[limit.Key], s *limit.State, e padded) (none struct{}) {
				s.Fold(e.Value)
				return none
			},
			EventCodec: padding{},
		}, keys, padEvents(s, o.Store.EventBytes))
	}
	return open(ctx, &o, layered(o.Layer), keys, stream[limit.Event]{s.Keys, s.Events})
}

// stream is a limit.Stream for other events.
type stream[E any] struct {
	keys   []limit.Key
	events []E
}

// split splits a stream by key into n.
func (s stream[E]) split(n int) []stream[E] {
	if n == 1 {
		return []stream[E]{s}
	}
	parts := make([]stream[E], n)
	for i := range s.keys {
		p := &parts[s.keys[i].Part(n)]
		p.keys, p.events = append(p.keys, s.keys[i]), append(p.events, s.events[i])
	}
	return parts
}

// engineSide is the engine as a Side.
type engineSide[E any] struct {
	engine *engine.Engine
	table  *engine.Table[limit.Key, limit.State, E, struct{}]
	ack    engine.Ack
	layer  Layer
	feed   feed
}

// feed brings all events of a stream to the engine, pass after pass.
type feed interface {
	// pass returns once all events are acknowledged.
	pass(ctx context.Context) error
	close(ctx context.Context) error
}

func open[E any](ctx context.Context, o *Options, spec engine.Spec[limit.Key, limit.State, E, struct{}], keys []limit.Key, s stream[E]) (Side, error) {
	opts, ack, err := o.Store.Engine()
	if err != nil {
		return nil, err
	}
	opts.Partitions, opts.Shards, opts.Spin = o.Partitions, o.Shards(), o.Spin
	if o.Pin {
		opts.Pin = engine.PinOn
	}
	if slices.Contains([]Layer{KeepLog, Changes, States}, o.Layer) {
		opts.KeepLog.Bytes = KeepBytes
	}
	spec.Name = "fold"
	side := &engineSide[E]{table: engine.NewTable(spec), ack: ack, layer: o.Layer}
	if side.engine, err = engine.Open(ctx, o.Store.Dir, opts, side.table); err != nil {
		return nil, err
	}
	if err = side.insert(ctx, stream[E]{keys, make([]E, len(keys))}); err == nil {
		err = side.feedBy(o, s, len(keys))
	}
	if err != nil {
		return nil, errors.Join(err, side.engine.Close())
	}
	return side, nil
}

// feedBy makes what brings the events of a stream to the side, which holds so many keys.
func (e *engineSide[E]) feedBy(o *Options, s stream[E], keys int) (err error) {
	switch o.Door {
	case Source:
		e.feed = newSources(e, o, s)
	case Batch:
		e.feed = newBatches(e, s, o.Layer == Once)
	case Call:
		e.feed = &calls[E]{side: e, all: s, once: o.Layer == Once}
	default:
		e.feed, err = newSenders(e, o, s)
	}
	if err == nil && (o.Layer == Changes || o.Layer == States) {
		e.feed, err = newFollower(e, e.feed, keys, len(s.keys))
	}
	return err
}

// insert folds an event of value 0 into each key.
func (e *engineSide[E]) insert(ctx context.Context, s stream[E]) error {
	f, err := newSenders(e, &Options{Producers: 1}, s)
	if err != nil {
		return err
	}
	return errors.Join(f.pass(ctx), f.close(ctx), e.quiet(ctx))
}

func (e *engineSide[E]) Pass(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := e.feed.pass(ctx)
	took := time.Since(start)
	if f, ok := e.feed.(*follower[E]); ok && err == nil {
		err = f.rest(ctx)
	}
	return took, errors.Join(err, e.quiet(ctx))
}

// quietAfter is how long after its last event an engine is looked at for the first
// time: an interval sync may still be due.
const quietAfter = 30 * time.Millisecond

// quiet waits until no snapshot is under way.
func (e *engineSide[E]) quiet(ctx context.Context) error {
	for {
		select {
		case <-time.After(quietAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
		stats, err := e.engine.Stats(ctx)
		if err != nil {
			return err
		}
		if !snapshotUnderWay(stats) {
			return nil
		}
	}
}

func snapshotUnderWay(stats engine.Stats) bool {
	for _, s := range stats.Shards {
		if s.Snapshots.UnderWay {
			return true
		}
	}
	return false
}

func (e *engineSide[E]) Each(ctx context.Context, fn func(*limit.Key, *limit.State) error) error {
	for entry, err := range e.table.All(ctx) {
		if err != nil {
			return err
		}
		if err := fn(&entry.Key, &entry.State); err != nil {
			return err
		}
	}
	return nil
}

func (e *engineSide[E]) Close() error {
	return errors.Join(e.feed.close(context.Background()), e.engine.Close())
}

// Shards is how many shards an engine opened with o has: as many as the engine chooses
// with producers, who need CPUs too, and one for each CPU with sources.
func (o *Options) Shards() int {
	if o.Store.Shards > 0 {
		return o.Store.Shards
	}
	if o.Door == Source {
		return runtime.GOMAXPROCS(0)
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}
