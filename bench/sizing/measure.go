package sizing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// Options says how to measure.
type Options struct {
	// Dir is an existing directory on the disk in question. What is made there is
	// removed.
	Dir string
	// Keys is how many keys the small store has, KeysMin at least, and StoreKeys how
	// many the store in question will have, which are not less.
	Keys, StoreKeys uint64
	// Shards is how many shards it has; 0 is what the engine chooses.
	Shards int
	Shape  Shape
}

// KeysMin and KeysMax bound the small store: what fewer keys take cannot be timed.
const (
	KeysMin = 10_000
	KeysMax = 10_000_000
)

// partitionsDefault is how many partitions a store has, by default.
const partitionsDefault = 4096

// partitions is how many the small store has: so few that each is about as full as in
// the store in question, because the memory of a key depends on that.
func (o *Options) partitions() int {
	n := partitionsDefault
	for n > max(1, o.Shards) && float64(o.Keys)/float64(n) < float64(o.StoreKeys)/partitionsDefault {
		n /= 2
	}
	return n
}

// state is a state of as many bytes as A has, and 8.
type state[A any] struct {
	Count int64
	Rest  A
}

// measure measures a small store whose states have the bytes of a class.
type measure func(ctx context.Context, o *Options) (Rates, error)

// classes are the sizes of states that there are types for.
var classes = []struct {
	bytes   int
	measure measure
}{
	{16, measureOf[[1]int64]}, {32, measureOf[[3]int64]}, {64, measureOf[[7]int64]}, {128, measureOf[[15]int64]},
	{256, measureOf[[31]int64]}, {512, measureOf[[63]int64]}, {1024, measureOf[[127]int64]},
	{2048, measureOf[[255]int64]}, {4096, measureOf[[511]int64]},
}

func (o *Options) check() error {
	switch {
	case o.Keys < KeysMin || o.Keys > KeysMax:
		return fmt.Errorf("sizing: %d to %d keys can be measured, not %d", KeysMin, KeysMax, o.Keys)
	case o.StoreKeys < o.Keys:
		return fmt.Errorf("sizing: %d keys tell nothing of a store of %d", o.Keys, o.StoreKeys)
	}
	return o.Shape.Check()
}

// Measure measures a small store for a few seconds. Figures are as good as the machine
// is quiet.
func Measure(ctx context.Context, o Options) (r Rates, err error) {
	if err := o.check(); err != nil {
		return r, err
	}
	if o.Dir, err = os.MkdirTemp(o.Dir, "sizing-*"); err != nil {
		return r, fmt.Errorf("sizing: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	began := time.Now()
	for _, c := range classes {
		if c.bytes >= o.Shape.StateBytes {
			if r, err = c.measure(ctx, &o); err != nil {
				return r, fmt.Errorf("sizing: %w", err)
			}
			r.StateBytes = c.bytes
			r.shrink(&o.Shape)
			break
		}
	}
	r.Shape, r.Took = o.Shape, time.Since(began)
	return r, nil
}

// shrink makes rates of what was measured with larger states. Of memory there is some
// more than is used, in proportion.
func (r *Rates) shrink(s *Shape) {
	r.MemoryPerKey *= float64(s.KeyBytes+s.StateBytes) / float64(s.KeyBytes+r.StateBytes)
	r.SnapshotPerKey -= float64(r.StateBytes - s.StateBytes)
}

// small is the small store.
type small[A any] struct {
	options *Options
	table   *engine.Table[string, state[A], blob, struct{}]
	engine  *engine.Engine
}

func measureOf[A any](ctx context.Context, o *Options) (r Rates, err error) {
	s := &small[A]{options: o}
	first := filepath.Join(o.Dir, "store")
	if err := s.open(ctx, first); err != nil {
		return r, err
	}
	r.Keys = o.Keys
	err = errors.Join(s.grow(ctx, &r), s.engine.Close())
	if err == nil {
		err = s.load(ctx, first, &r)
	}
	return r, err
}

// open opens the store in dir.
func (s *small[A]) open(ctx context.Context, dir string) (err error) {
	s.table = engine.NewTable(engine.Spec[string, state[A], blob, struct{}]{
		Name:       "sample",
		EventCodec: blobs{},
		Apply: func(_ *engine.Context[string], s *state[A], _ blob) (none struct{}) {
			s.Count++
			return none
		},
	})
	s.engine, err = engine.Open(ctx, dir, engine.Options{
		Shards: s.options.Shards, Partitions: s.options.partitions(), Sync: engine.SyncInterval, KeyBytesMax: KeyBytesMax, EventBytesMax: EventBytesMax,
	}, s.table)
	return err
}

// grow inserts all keys, and measures memory, log and rate.
func (s *small[A]) grow(ctx context.Context, r *Rates) error {
	if _, err := s.send(ctx, inTurn); err != nil {
		return err
	}
	before, err := s.engine.Stats(ctx)
	if err != nil {
		return err
	}
	runtime.GC()
	took, err := s.send(ctx, scattered(s.options.Keys))
	if err != nil {
		return err
	}
	after, err := s.engine.Stats(ctx)
	if err != nil {
		return err
	}
	n := float64(s.options.Keys)
	r.Shards = len(after.Shards)
	r.EventsPerSecond = n / took.Seconds()
	for i, sh := range after.Shards {
		r.MemoryPerKey += float64(sh.StateBytes) / n
		r.LogPerEvent += float64(sh.Log.Bytes-before.Shards[i].Log.Bytes) / n
	}
	return nil
}

// load opens the closed store, which loads its snapshots, and a copy of it whose log
// has to be replayed.
func (s *small[A]) load(ctx context.Context, dir string, r *Rates) error {
	if err := s.open(ctx, dir); err != nil {
		return err
	}
	n, recovery := float64(s.options.Keys), s.engine.Recovery()
	var slowest time.Duration // the shards load side by side
	for _, sh := range recovery.Shards {
		r.SnapshotPerKey += float64(sh.SnapshotBytes) / n
		slowest = max(slowest, sh.Times.Load)
	}
	r.LoadPerSecond = n / slowest.Seconds()
	_, err := s.send(ctx, scattered(s.options.Keys))
	killed := filepath.Join(s.options.Dir, "killed")
	if err == nil { // what was written is there, as after a kill
		err = os.CopyFS(killed, os.DirFS(dir))
	}
	if err = errors.Join(err, s.engine.Close()); err != nil {
		return err
	}
	return s.replay(ctx, killed, r)
}

// replay opens a store that was not closed.
func (s *small[A]) replay(ctx context.Context, dir string, r *Rates) error {
	if err := s.open(ctx, dir); err != nil {
		return err
	}
	recovery := s.engine.Recovery()
	var slowest time.Duration
	for _, sh := range recovery.Shards {
		slowest = max(slowest, sh.Times.Replay)
	}
	r.ReplayPerSecond = float64(recovery.Events) / slowest.Seconds()
	return s.engine.Close()
}

// send sends an event to each key, in an order, and says how long it took until all of
// them were written.
func (s *small[A]) send(ctx context.Context, order func(uint64) uint64) (time.Duration, error) {
	p, err := s.table.Producer(engine.ProducerOptions[string, blob]{Ack: engine.Written})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	key := make([]byte, s.options.Shape.KeyBytes)
	for i := uint64(0); i < s.options.Keys && err == nil; i++ {
		binary.BigEndian.PutUint64(key[len(key)-8:], order(i))
		err = p.Send(ctx, string(key), blob(s.options.Shape.EventBytes))
	}
	if err == nil {
		err = p.Flush(ctx)
	}
	took := time.Since(began)
	return took, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
}

func inTurn(i uint64) uint64 { return i }

// scattered is an order of all numbers below count, KeysMax at most, in which neighbours
// are far from each other: steps of the golden section of count, or a little more, so that
// they share no divisor with it and come to each number once.
func scattered(count uint64) func(uint64) uint64 {
	step := uint64(0.618 * float64(count))
	for divisor(step, count) != 1 {
		step++
	}
	return func(i uint64) uint64 { return i * step % count }
}

// divisor is the greatest that two numbers share.
func divisor(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// blob is an event of so many bytes.
type blob int64

// blobs encodes them.
type blobs struct{}

// Name is recorded in the store.
func (blobs) Name() string { return "sizing event 1" }

// Append appends bytes that say nothing.
func (blobs) Append(dst []byte, b blob) ([]byte, error) {
	return append(dst, make([]byte, b)...), nil
}

// Decode counts the bytes.
func (blobs) Decode(src []byte, b *blob) error {
	*b = blob(len(src))
	return nil
}
