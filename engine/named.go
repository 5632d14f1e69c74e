package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

const (
	// keepEvery is how long a position is not written again, and keepEvents how many events
	// a named producer sends before it waits until all are settled, to write one.
	keepEvery  = time.Second
	keepEvents = 1 << 20
)

// named is what a producer with a name has beside others.
//
// Invariant: sequences reach each partition in ascending order, but for those up to which
// all was done: buffers keep their order, also when a new route splits them again, and
// after an event that was refused without having been judged shards do none of the stream
// before Resume has seen all of them settled.
type named struct {
	stream *stream
	now    uint64 // the sequence of the event that is being sent
	last   uint64 // that was sent
	low    uint64 // the lowest that may not be settled
}

// openNamed takes a name for a producer.
func (b *binding) openNamed(name string, ack Ack) (*named, error) {
	if ack != Durable {
		return nil, fmt.Errorf("keyfold: producer %q has a name, so its Ack must be Durable", name)
	}
	if b.engine.inside() {
		return nil, ErrInside
	}
	s, err := b.engine.openStream(context.Background(), kindProducer, b.table.name, name)
	if err != nil {
		return nil, err
	}
	low := max(s.kept, 1)
	return &named{stream: s, low: low, last: low - 1}, nil
}

// SendAt is Send for an event with a sequence: its place in what the producer sends, the
// same whenever it sends it again. Sequences begin at 1 and ascend, with gaps or without;
// the largest is 1<<64 - 2.
// Send counts one up itself. An event that was not sent takes no sequence. An event that a
// partition has passed, because that event or a later one of the producer was done there,
// is skipped, and counts as acknowledged.
//
// Errors beside those of Send: ErrNoName, ErrSequence, ErrStopped.
func (p *Producer[K, S, E, R]) SendAt(ctx context.Context, sequence uint64, k K, e E) error {
	switch {
	case p.sender.closed:
		return ErrClosed
	case p.sender.name == nil:
		return ErrNoName
	case sequence == 0:
		return fmt.Errorf("%w: 0 is none", ErrSequence)
	}
	return p.send(ctx, sequence, k, e)
}

// sequenceMax is the largest sequence of an event: the next one can still be told.
const sequenceMax = 1<<64 - 2

// Resume waits until all that was sent is settled, as Flush does, and returns the sequence
// from which to send again, and from which Send counts on: behind everything that was
// acknowledged, or handed to Refused because of what it is. Call it when the producer is
// new, and after ErrStopped; events that it was handed with ErrReadOnly, ErrStopped or a
// FailedError are behind that sequence. Sending more again does no harm.
//
// The position is written now and then when all is settled, and by Close, so that it may
// lie before what a crash has kept. If ctx ends before, the error is that of Flush.
func (p *Producer[K, S, E, R]) Resume(ctx context.Context) (sequence uint64, err error) {
	return p.sender.resume(ctx)
}

func (p *sender) resume(ctx context.Context) (sequence uint64, err error) {
	switch {
	case p.closed:
		return 0, ErrClosed
	case p.name == nil:
		return 0, ErrNoName
	}
	err = p.flush(ctx)
	if sent, settled := p.progress(); sent != settled || errors.Is(err, ErrInside) {
		return 0, err
	}
	if p.refused.stopped.Swap(false) {
		err = nil // that is what it was called for
	}
	p.name.last = p.name.low - 1
	return p.name.low, err
}

// beginNamed makes ready for the next event of a named producer, which has the sequence, or
// with 0 the next one.
func (p *sender) beginNamed(ctx context.Context, sequence uint64) error {
	n := p.name
	if p.refused.stopped.Load() {
		return ErrStopped
	}
	if n.last+1-n.low > keepEvents && !p.handing && !p.binding.engine.inside() {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	if n.now = sequence; n.now == 0 {
		n.now = n.last + 1
	}
	if n.now <= n.last || n.now > sequenceMax {
		return fmt.Errorf("%w: %d after %d", ErrSequence, n.now, n.last)
	}
	return nil
}

// putNamed puts the event that is being sent into a buffer.
func (p *sender) putNamed(index int, hash uint64, key []byte, e unsafe.Pointer) error {
	n := p.name
	err := p.binding.putOrigin(&p.buffers[index], hash, key, n.stream.origin, n.now, e)
	if err == nil {
		n.last = n.now
	}
	return err
}

// settle waits until all that was sent is settled, and keeps what Flush has to tell.
func (p *sender) settle(ctx context.Context) error {
	if err := p.pushAll(ctx); err != nil {
		return err
	}
	if err := p.slot.WaitCompleted(ctx, p.sent); err != nil {
		return err
	}
	_, err := p.slot.Completed()
	p.flushed(ctx, err)
	if p.refused.stopped.Load() {
		return ErrStopped
	}
	return nil
}

// flushed takes note that all that was sent is settled, unless err says that some of it is
// lost, and writes the position down now and then. That it cannot be written does no harm.
func (p *sender) flushed(ctx context.Context, err error) {
	n := p.name
	if err != nil {
		p.refused.stopped.Store(true)
	}
	if p.refused.stopped.Load() {
		return
	}
	n.low = n.last + 1
	if n.low > n.stream.kept && time.Since(n.stream.at) >= keepEvery {
		_ = n.stream.keep(ctx, n.low)
	}
}

// closeNamed writes the position, and gives the name back.
func (p *sender) closeNamed(ctx context.Context) (err error) {
	n := p.name
	if n.low > n.stream.kept {
		err = n.stream.keep(ctx, n.low)
	}
	n.stream.close()
	return err
}

// offsets are those of a named source.
type offsets struct {
	given Numbered // nil: they are counted
	next  uint64   // behind the last record
}

// name takes the name of a source, and tells it where to go on.
func (r *reader) name(ctx context.Context) error {
	b, o := r.binding, &r.supply
	if o.ack != Durable {
		return fmt.Errorf("keyfold: source %q has a name, so its Ack must be Durable", o.name)
	}
	s, err := b.engine.openStream(ctx, kindSource, b.table.name, sourceName(o.name, o.partition))
	if err != nil {
		return err
	}
	resumed := false
	defer func() { // also if Resume panics
		if !resumed {
			s.close()
		}
	}()
	resumer, numbered, err := abilities(o.source)
	if err != nil {
		return fmt.Errorf("keyfold: source %q: %w", o.name, err)
	}
	if resumer != nil {
		if err := resumer.Resume(s.kept); err != nil {
			return err
		}
		r.offsets.next = s.kept
	}
	resumed = true
	r.offsets.given = numbered
	r.feed.scribe = &scribe{stream: s, due: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	return nil
}

// abilities is a source as a Resumer and as a Numbered; nil where it is none. A method that
// has the name and not the type of theirs is an error: without it a record would be given the
// number of another one, and be lost.
func abilities(source any) (resumer Resumer, numbered Numbered, err error) {
	t := reflect.TypeOf(source)
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t) // it has the methods of both
	}
	const wrong = "%T has the method %s %v, where %s"
	resumer, is := source.(Resumer)
	if m, has := t.MethodByName("Resume"); has && !is { // by name, or the linker keeps every method of the program
		return nil, nil, fmt.Errorf(wrong, source, m.Name, m.Type, "a Resumer has Resume(offset uint64) error")
	}
	numbered, is = source.(Numbered)
	if m, has := t.MethodByName("Offset"); has && !is {
		return nil, nil, fmt.Errorf(wrong, source, m.Name, m.Type, "a Numbered has Offset(i int) uint64")
	}
	return resumer, numbered, nil
}

// encodeNamed is encode for a source with a name: its events bear their offsets, plus one.
func (r *reader) encodeNamed() {
	for ; r.next < r.filled; r.next++ {
		k, e := r.supply.at(r.next)
		offset := r.offsets.next
		if r.offsets.given != nil {
			if offset = r.offsets.given.Offset(r.next); offset < r.offsets.next || offset >= sequenceMax {
				r.fail(fmt.Errorf("%w: offset %d of a source, where %d or more was due", ErrSequence, offset, r.offsets.next))
				return
			}
		}
		longer, key, hash, err := r.binding.encodeKey(r.scratch[:1], k)
		r.scratch = longer
		if err == nil {
			o := &r.feed.outlets[r.binding.engine.shardOf(r.route, hash)]
			if len(o.block) >= blockTargetBytes {
				return
			}
			if err = r.binding.putOrigin(&o.buffer, hash, key, r.feed.scribe.stream.origin, offset+1, e); err == nil {
				o.queued++
			}
		}
		r.offsets.next = offset + 1
		if err != nil {
			r.refuse(k, e, err)
		}
	}
}

// A scribe writes down how far a source is settled, on a goroutine of its own: the shard
// that polls must not wait. The feed ends it.
type scribe struct {
	stream  *stream
	settled atomic.Uint64 // tell's store publishes to the scribe
	due     chan struct{} // of capacity 1
	done    chan struct{} // closed when the feed has ended
	ended   chan struct{}
}

// tell says how far the source is settled.
func (s *scribe) tell(offset uint64) {
	s.settled.Store(offset)
	select {
	case s.due <- struct{}{}:
	default:
	}
}

func (s *scribe) start() { go s.loop() }

// loop writes positions until the feed has ended, and then the last one. One that cannot
// be written does no harm: more is given again, and skipped.
func (s *scribe) loop() {
	defer close(s.ended)
	defer s.write()
	for {
		select {
		case <-s.due:
			s.write()
		case <-s.done:
			return
		}
		rest := time.NewTimer(keepEvery)
		select {
		case <-rest.C:
		case <-s.done:
			rest.Stop()
			return
		}
	}
}

func (s *scribe) write() {
	if settled := s.settled.Load(); settled > s.stream.kept {
		_ = s.stream.keep(context.Background(), settled)
	}
}

// finish ends the scribe, and gives the name back.
func (s *scribe) finish() {
	close(s.done)
	<-s.ended
	s.stream.close()
}

var _ shard.Rememberer = (*program)(nil)
