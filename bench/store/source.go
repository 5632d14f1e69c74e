package store

import (
	"context"
	"io"
	"sync/atomic"
	"unsafe"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

const (
	// parcelRecords is how many events are laid ready at once.
	parcelRecords = 512
	// parcels is how many parcels there are of a door.
	parcels = 4
)

// reading is a door behind which events are laid ready, for the shards to read. The
// methods of a bench.Producer belong to the goroutine that lays them there, Poll to the
// shard, and the channels lie in between.
type reading[E any] struct {
	feed *engine.Feed
	of   func(workload.Event) E
	open *parcel[E]
	sent uint64

	full    chan *parcel[E] // closed by Close; has room for all parcels
	free    chan *parcel[E] // has room for all parcels
	settled atomic.Uint64   // the shard's store publishes to Settled
	told    chan struct{}   // capacity 1: settled has changed
	ended   chan struct{}   // closed when the feed has ended
	err     error           // why; published by closing ended

	polled  *parcel[E] // being read by the shard
	next    int        // in polled
	done    *parcel[E] // read, but its keys are lent until the next Poll
	offsets []uint64   // of the records of the last Poll
}

// A parcel is events with the memory of their keys.
type parcel[E any] struct {
	records []engine.Record[string, E]
	offsets []uint64
	keys    []byte
}

func (p *parcel[E]) add(key []byte, e E, offset uint64) {
	at := len(p.keys)
	p.offsets = append(p.offsets, offset)
	p.keys = append(p.keys, key...)
	p.records = append(p.records, engine.Record[string, E]{Key: unsafe.String(unsafe.SliceData(p.keys[at:]), len(key)), Event: e})
}

// newReading makes a door.
func newReading[S, E any, R comparable](s *folded[S, E, R]) *reading[E] {
	r := &reading[E]{
		of:    s.of,
		full:  make(chan *parcel[E], parcels),
		free:  make(chan *parcel[E], parcels),
		told:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	for range parcels {
		r.free <- new(parcel[E])
	}
	return r
}

// A door is what a shard reads.
type door[E any] interface {
	bench.Producer
	engine.Source[string, E]
	doorOf() *reading[E]
	tell(settled uint64)
}

func (r *reading[E]) doorOf() *reading[E] { return r }

// openReading has a shard read a door.
func openReading[S, E any, R comparable](s *folded[S, E, R], d door[E], window int, o engine.SourceOptions[string, E]) (bench.Producer, error) {
	o.Ack, o.Settled, o.InFlightMax = s.ack, d.tell, window
	feed, err := s.table.Consume(context.Background(), d, o)
	if err != nil {
		return nil, err
	}
	r := d.doorOf()
	r.feed = feed
	go func() {
		r.err = feed.Wait(context.Background())
		close(r.ended)
	}()
	return d, nil
}

// tell is called by the shard.
func (r *reading[E]) tell(records uint64) {
	r.settled.Store(records)
	r.wake()
}

// wake wakes a Flush.
func (r *reading[E]) wake() {
	select {
	case r.told <- struct{}{}:
	default:
	}
}

// Poll is called by the shard.
func (r *reading[E]) Poll(records []engine.Record[string, E]) (int, error) {
	if r.done != nil {
		clear(r.done.records)
		r.done.records, r.done.keys, r.done.offsets = r.done.records[:0], r.done.keys[:0], r.done.offsets[:0]
		r.free <- r.done
		r.done = nil
	}
	if r.polled == nil {
		select {
		case p, more := <-r.full:
			if !more {
				return 0, io.EOF
			}
			r.polled, r.next = p, 0
		default:
			return 0, nil
		}
	}
	n := copy(records, r.polled.records[r.next:])
	r.offsets = r.polled.offsets[r.next:]
	if r.next += n; r.next == len(r.polled.records) {
		r.polled, r.done = nil, r.polled
	}
	return n, nil
}

// Send lays an event ready.
func (r *reading[E]) Send(ctx context.Context, e workload.Event) error { return r.send(ctx, e, 0) }

func (r *reading[E]) send(ctx context.Context, e workload.Event, offset uint64) error {
	if r.open == nil {
		select {
		case r.open = <-r.free:
		case <-r.ended:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.open.add(e.Key, r.of(e), offset)
	r.sent++
	if len(r.open.records) == parcelRecords {
		return r.Push()
	}
	return nil
}

// Push hands the open parcel to the shard.
func (r *reading[E]) Push() error {
	if r.open == nil {
		return nil
	}
	r.full <- r.open
	r.open = nil
	r.feed.Wake()
	return nil
}

// Settled is exact with any number of shards: a feed is settled in its order.
func (r *reading[E]) Settled() uint64 { return r.settled.Load() }

// Flush waits until the shard has told that all is settled.
func (r *reading[E]) Flush(ctx context.Context) error {
	return r.flush(ctx, func() bool { return r.Settled() == r.sent })
}

// flush hands over the open parcel, and waits until all is settled.
func (r *reading[E]) flush(ctx context.Context, settled func() bool) error {
	if err := r.Push(); err != nil {
		return err
	}
	for !settled() {
		select {
		case <-r.told:
		case <-r.ended:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends the source and waits for the end of its feed.
func (r *reading[E]) Close(ctx context.Context) error {
	close(r.full)
	r.feed.Wake()
	select {
	case <-r.ended:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
