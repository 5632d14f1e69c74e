package store

import (
	"context"
	"sync/atomic"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// namedReading is a source with a name: the offset of a record is its place in the stream,
// and what was done before is not given again.
//
// The engine tells by offset how far the source is settled. How many events that are is
// found in the queue of those that are not settled yet, which belongs to the goroutine that
// lays them there.
type namedReading[E any] struct {
	*reading[E]
	first   uint64        // of the layers
	from    uint64        // the offset from which on the store wants records
	settled atomic.Uint64 // the offset behind those that are settled: tell's store publishes to Settled
	waiting []uint64      // offsets in flight, in their order, from head on
	head    int
	count   uint64 // events that are settled
	polled  []uint64
	close   func()
}

// newNamedReading opens a door with a name.
func newNamedReading[S, E any, R comparable](s *folded[S, E, R], window int) (bench.Producer, error) {
	number := s.names.take()
	r := &namedReading[E]{reading: newReading(s), first: s.options.First, close: func() { s.names.give(number) }}
	p, err := openReading(s, r, window, engine.SourceOptions[string, E]{Name: s.options.Name, Partition: number})
	if err != nil {
		r.close()
	}
	return p, err
}

// Resume is called by the engine before the first Poll.
func (r *namedReading[E]) Resume(offset uint64) error {
	r.from = offset
	r.settled.Store(offset)
	return nil
}

// Poll is called by the shard, and Offset behind it.
func (r *namedReading[E]) Poll(records []engine.Record[string, E]) (int, error) {
	n, err := r.reading.Poll(records)
	r.polled = r.reading.offsets[:n]
	return n, err
}

// Offset is that of a record of the last Poll.
func (r *namedReading[E]) Offset(i int) uint64 { return r.polled[i] }

// Send lays an event ready, unless the store says that it has it.
func (r *namedReading[E]) Send(ctx context.Context, e workload.Event) error {
	offset := r.first + e.Ordinal
	if offset < r.from {
		r.count++
		return nil
	}
	if r.head > len(r.waiting)/2 && len(r.waiting) == cap(r.waiting) {
		r.waiting = r.waiting[:copy(r.waiting, r.waiting[r.head:])]
		r.head = 0
	}
	r.waiting = append(r.waiting, offset)
	return r.send(ctx, e, offset)
}

// tell is called by the shard with the offset from which to go on.
func (r *namedReading[E]) tell(offset uint64) {
	r.settled.Store(offset)
	r.wake()
}

// Settled counts the events below the offset.
func (r *namedReading[E]) Settled() uint64 {
	for settled := r.settled.Load(); r.head < len(r.waiting) && r.waiting[r.head] < settled; r.head++ {
		r.count++
	}
	return r.count
}

// Flush waits until nothing is in flight.
func (r *namedReading[E]) Flush(ctx context.Context) error {
	return r.flush(ctx, func() bool { r.Settled(); return r.head == len(r.waiting) })
}

// Close ends the source.
func (r *namedReading[E]) Close(ctx context.Context) error {
	defer r.close()
	return r.reading.Close(ctx)
}
