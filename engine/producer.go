package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/shard"
)

// ProducerOptions says how a producer works. The zero value is ready to use.
type ProducerOptions[K comparable, E any] struct {
	// Ack is how far events must have come for Flush to count them.
	Ack Ack
	// Refused is called, on the goroutine that calls Send, Flush or Close, for every
	// event that was not done, with the reason. It may send to the same producer; what
	// it sends during a Flush is a matter of the next one. It must not flush or close
	// it: that returns ErrInside. If it is nil, Flush returns the first such error.
	Refused func(k K, e E, err error)
	// InFlightMax is how many events may be on their way before Send waits. 0 means
	// 1 << 18.
	InFlightMax int
	// Name makes the store remember how far the producer has come, so that events that it
	// sends again after any crash are done once: see Producer.Resume. It is one of the
	// table's, and one producer at a time may have it. Ack must be Durable. An event costs
	// 16 bytes more, and a partition that it has sent to 24. "" means none.
	Name string
}

const (
	inFlightDefault = 1 << 18
	// blockTargetBytes is the size at which a buffer leaves, whoever waits.
	// BenchmarkProducer names the figures.
	blockTargetBytes = 16 << 10
	// refusedMax is how many refused events wait to be handed back before Send does so.
	refusedMax = 1 << 10
)

// A Producer sends events without waiting for each. It gathers them by shard: a
// buffer leaves when it is full, when its shard is idle, and at Flush. Events leave
// in the order of Send for equal keys.
//
// A Producer must be used by one goroutine at a time. It must be closed.
type Producer[K comparable, S, E, R any] struct {
	sender sender
	key    K // of the event being sent, here so that it does not escape
	event  E
}

// A sender is a Producer without its types.
type sender struct {
	binding     *binding
	ack         Ack
	inFlightMax int
	handOver    func(k, e unsafe.Pointer, err error) // Refused; nil: Flush tells the first error
	slot        *shard.Slot
	route       *route
	buffers     []buffer // by shard; all routed by route
	scratch     []byte   // a key behind one byte, so that a codec that cuts is found out
	sent        uint64   // events in inboxes, since the producer was made
	unsent      uint64   // events that no inbox took, since the producer was made
	refused     refusals
	name        *named // nil: it has no name
	failure     error  // the first since the last Flush, if nobody else was told
	handing     bool   // Refused is running
	closed      bool
}

// A buffer is a block for one shard that has not left.
type buffer struct {
	block []byte
	count int
}

// begin makes room for the header in front of the first operation.
func (b *buffer) begin() {
	if b.count == 0 {
		b.block = append(b.block[:0], make([]byte, shard.BlockHeaderBytes)...)
	}
}

// room makes room for n bytes more, of a block that will be as large as it should be.
func (b *buffer) room(n int) {
	if cap(b.block)-len(b.block) < n {
		b.block = slices.Grow(b.block, max(n, blockTargetBytes+n-len(b.block)))
	}
	b.begin()
}

func (b *buffer) clear() { b.count, b.block = 0, b.block[:0] }

// first is a block of the first operations, of the size at which a buffer leaves: a route
// that was replaced may have put together what was in several.
func (b *buffer) first() (block []byte, count int) {
	if len(b.block) < 2*blockTargetBytes {
		return b.block, b.count
	}
	return shard.FirstOps(b.block, blockTargetBytes)
}

// left takes the first operations out.
func (b *buffer) left(bytes, count int) {
	if b.count -= count; b.count == 0 {
		b.clear()
		return
	}
	n := copy(b.block[shard.BlockHeaderBytes:], b.block[bytes:])
	b.block = b.block[:shard.BlockHeaderBytes+n]
}

func (b *buffer) add(op []byte) {
	b.begin()
	b.block = append(b.block, op...)
	b.count++
}

// completeInFlight fills in the default of an InFlightMax, or says what is wrong with it.
func completeInFlight(n *int) error {
	setDefault(n, inFlightDefault)
	if *n < 0 {
		return fmt.Errorf("keyfold: InFlightMax must not be negative, as %d is", *n)
	}
	return nil
}

// Producer returns a producer for the table. It refuses an Ack that the engine cannot give,
// as Do does.
func (t *Table[K, S, E, R]) Producer(options ProducerOptions[K, E]) (*Producer[K, S, E, R], error) {
	p := &Producer[K, S, E, R]{sender: sender{ack: options.Ack, inFlightMax: options.InFlightMax, handOver: refusedOf(options.Refused)}}
	if err := p.sender.open(&t.declaration, options.Name); err != nil {
		return nil, err
	}
	return p, nil
}

// open makes a sender ready for a table.
func (p *sender) open(d *declaration, name string) error {
	b, err := d.bound()
	if err != nil {
		return err
	}
	if err := b.engine.admit(context.Background(), p.ack); err != nil {
		return err
	}
	if err := completeInFlight(&p.inFlightMax); err != nil {
		return err
	}
	p.binding, p.scratch = b, make([]byte, 1)
	if p.slot, err = b.engine.spareSlot(); err != nil {
		return err
	}
	if name != "" {
		if p.name, err = b.openNamed(name, p.ack); err != nil {
			b.engine.spare.Put(p.slot)
			return err
		}
	}
	p.slot.Sink = &p.refused
	p.slot.Reset()
	p.adopt(b.engine.route.Load())
	return nil
}

// Send sends an event for key k. It keeps nothing of its arguments, and returns
// before the event is acknowledged; Flush tells about that. It waits while the inbox
// of the shard is full or too many events are in flight, at most until ctx ends.
// After an error the event was not sent. A function of a table must not call it: what is
// sent there is sent again by a replay.
func (p *Producer[K, S, E, R]) Send(ctx context.Context, k K, e E) error { return p.send(ctx, 0, k, e) }

// send is Send, of a named producer with a sequence, or with 0 with the next one.
func (p *Producer[K, S, E, R]) send(ctx context.Context, sequence uint64, k K, e E) error {
	if !p.sender.ready() {
		if err := p.sender.begin(ctx, sequence); err != nil {
			return err
		}
	}
	p.key, p.event = k, e
	return p.sender.put(ctx, unsafe.Pointer(&p.key), unsafe.Pointer(&p.event))
}

// ready says that the next event can be put at once, as mostly; else begin comes before.
func (p *sender) ready() bool {
	return !p.closed && p.name == nil && p.refused.count.Load() < refusedMax
}

// begin makes ready for the next event.
func (p *sender) begin(ctx context.Context, sequence uint64) error {
	if p.closed {
		return ErrClosed
	}
	if p.refused.count.Load() >= refusedMax {
		p.handBack() // before the event is encoded and numbered: Refused may send, too
	}
	if p.name != nil {
		return p.beginNamed(ctx, sequence)
	}
	return nil
}

// put sends the event that is begun.
func (p *sender) put(ctx context.Context, k, e unsafe.Pointer) error {
	longer, key, hash, err := p.binding.encodeKey(p.scratch[:1], k)
	p.scratch = longer
	if err != nil {
		return err
	}
	if r := p.binding.engine.route.Load(); r != p.route {
		p.adopt(r)
	}
	index := p.binding.engine.shardOf(p.route, hash)
	if len(p.buffers[index].block) >= blockTargetBytes {
		if err := p.push(ctx, index); err != nil {
			return err
		}
		index = p.binding.engine.shardOf(p.route, hash)
	}
	if p.name != nil {
		err = p.putNamed(index, hash, key, e)
	} else {
		err = p.binding.put(&p.buffers[index], hash, key, e)
	}
	if err != nil {
		return err
	}
	if p.binding.engine.shards()[index].Idle() && !p.crowded() && !p.binding.engine.inside() {
		p.tryPush(index)
	}
	return nil
}

// crowded says that as many events are in flight as may be.
func (p *sender) crowded() bool {
	done, _ := p.slot.Completed()
	return p.sent-done >= uint64(p.inFlightMax)
}

// adopt takes a new route. What has not left is split again, in its order.
func (p *sender) adopt(r *route) {
	old := p.buffers
	p.route = r
	p.buffers = make([]buffer, len(p.binding.engine.shards()))
	for _, b := range old {
		if b.count == 0 {
			continue
		}
		shard.EachOp(b.block, func(hash uint64, op []byte) {
			p.buffers[p.binding.engine.shardOf(r, hash)].add(op)
		})
	}
}

// tryPush sends a buffer if the inbox has room.
func (p *sender) tryPush(index int) ring.Outcome {
	b := &p.buffers[index]
	block, count := b.first()
	shard.PutBlockHeader(block, p.slot.Stream(), count, p.ack.level())
	outcome := p.binding.engine.claim(index, p.route.versions[index], block)
	if outcome == ring.Claimed {
		p.sent += uint64(count)
		b.left(len(block), count)
	}
	return outcome
}

// push sends a buffer, waiting for room. A shard that takes nothing any more gets its
// events refused.
func (p *sender) push(ctx context.Context, index int) error {
	if err := p.throttle(ctx); err != nil {
		return err
	}
	for p.buffers[index].count > 0 {
		// A route that is kept for long might come to look valid again: versions are short.
		if r := p.binding.engine.route.Load(); r != p.route {
			p.adopt(r)
			continue
		}
		outcome := p.tryPush(index)
		switch outcome {
		case ring.Claimed:
			continue
		case ring.Stale:
			p.binding.engine.stale(p.route)
			continue
		}
		block, _ := p.buffers[index].first()
		err := p.binding.engine.unclaimed(ctx, index, outcome, len(block), true)
		switch {
		case err == nil:
		case outcome == ring.Closed:
			p.refuse(index, err)
			return nil
		default:
			return err
		}
	}
	return nil
}

// pushAll sends all buffers. A new route moves events from one to another, so it
// looks again until all are empty.
func (p *sender) pushAll(ctx context.Context) error {
	for index := 0; index < len(p.buffers); index++ {
		if p.buffers[index].count == 0 {
			continue
		}
		if err := p.push(ctx, index); err != nil {
			return err
		}
		index = -1
	}
	return nil
}

// throttle waits while too many events are in flight.
func (p *sender) throttle(ctx context.Context) error {
	if p.binding.engine.inside() {
		return ErrInside
	}
	if !p.crowded() {
		return nil
	}
	return p.slot.WaitCompleted(ctx, p.sent-uint64(p.inFlightMax)/2)
}

// refuse keeps the events of a buffer that no shard takes, to be handed back.
func (p *sender) refuse(index int, err error) {
	b := &p.buffers[index]
	shard.EachOp(b.block, func(_ uint64, op []byte) {
		key, event := shard.OpParts(op)
		p.refused.Refused(0, p.binding.id, key, event, err)
	})
	p.unsent += uint64(b.count)
	b.clear()
}

// handBack calls the user's Refused, or keeps the first error for Flush.
func (p *sender) handBack() {
	if p.handing {
		return
	}
	p.handing = true
	list := p.refused.take()
	defer func() {
		p.refused.giveBack(list) // Refused has panicked
		p.handing = false
	}()
	for len(list) > 0 {
		r := list[0]
		list = list[1:]
		if p.handOver == nil {
			p.fail(r.err)
			continue
		}
		k, e, err := p.binding.decode(&r)
		if err != nil {
			p.fail(err)
			continue
		}
		p.handOver(k, e, r.err)
	}
}

func (p *sender) fail(err error) {
	if p.failure == nil {
		p.failure = err
	}
}

// Flush sends what is buffered and waits until all that was sent is acknowledged. It
// returns nil only if every event since the last Flush was acknowledged or handed to
// Refused. If ctx ends, the rest stays in flight and the next Flush waits for it; the
// error then matches ErrUnknownOutcome. After a FailedError it is not known which of
// the events of that shard are there.
func (p *Producer[K, S, E, R]) Flush(ctx context.Context) error { return p.sender.flush(ctx) }

func (p *sender) flush(ctx context.Context) error {
	if p.closed {
		return ErrClosed
	}
	if p.handing || p.binding.engine.inside() {
		return ErrInside
	}
	if err := p.pushAll(ctx); err != nil {
		return unknown(err)
	}
	if err := p.slot.WaitCompleted(ctx, p.sent); err != nil {
		return unknown(err)
	}
	p.handBack()
	_, err := p.slot.Completed()
	p.slot.ClearFailure()
	if p.name != nil {
		p.flushed(ctx, err)
	}
	if err == nil {
		err = p.failure
	}
	p.failure = nil
	return err
}

// Progress is how many events were sent so far, and how many of those are settled:
// acknowledged, refused, or lost to a failed shard. Events of one shard are settled in
// the order of Send; of different shards in any order.
func (p *Producer[K, S, E, R]) Progress() (sent, settled uint64) { return p.sender.progress() }

func (p *sender) progress() (sent, settled uint64) {
	settled, _ = p.slot.Completed()
	settled += p.unsent
	sent = p.sent + p.unsent
	for i := range p.buffers {
		sent += uint64(p.buffers[i].count)
	}
	return sent, settled
}

// Close flushes, and gives back what the producer holds of the engine. Further calls
// return ErrClosed, but a further Close nil. If not everything is settled when ctx
// ends, Close returns as Flush does, and must be called again.
func (p *Producer[K, S, E, R]) Close(ctx context.Context) error { return p.sender.close(ctx) }

func (p *sender) close(ctx context.Context) error {
	if p.closed {
		return nil
	}
	err := p.flush(ctx)
	for err == nil && !p.settled() { // Refused has sent
		err = p.flush(ctx)
	}
	if p.settled() && !p.handing {
		p.closed = true
		if p.name != nil {
			err = errors.Join(err, p.closeNamed(ctx))
		}
		p.binding.engine.spare.Put(p.slot)
	}
	return err
}

// settled says that nothing is on its way.
func (p *sender) settled() bool {
	sent, settled := p.progress()
	return sent == settled
}

// refusals are events on their way back to their producer.
type refusals struct {
	mu    sync.Mutex
	list  []refusal
	count atomic.Int64 // of list; Refused's add publishes to Send
	// stopped says that an event was refused without having been judged; Refused's store
	// publishes to the shards, which do no later event of a named stream.
	stopped atomic.Bool
}

// A refusal is one event with the reason. Its slices are its own.
type refusal struct {
	key, event []byte
	err        error
}

// decode decodes a refused event, into memory of its own.
func (b *binding) decode(r *refusal) (k, e unsafe.Pointer, err error) {
	k, e = b.key.new(), b.event.new()
	if err := errors.Join(b.key.decode(r.key, k), b.event.decode(r.event, e)); err != nil {
		return nil, nil, fmt.Errorf("%w; and the event could not be handed back: %w", r.err, err)
	}
	return k, e, nil
}

// Refused is called by the shard. The producer's limit of events in flight, and that
// of refused ones, bound the list.
func (r *refusals) Refused(_ int, _ uint16, key, event []byte, err error) {
	if stops(err) {
		r.stopped.Store(true)
	}
	both := append(append(make([]byte, 0, len(key)+len(event)), key...), event...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, refusal{key: both[:len(key)], event: both[len(key):], err: err})
	r.count.Add(1)
}

// Released is never called: a producer's slot is not waited for block by block.
func (r *refusals) Released() {}

func (r *refusals) take() []refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	r.count.Store(0)
	return list
}

// giveBack puts events back in front of those that have come since they were taken.
func (r *refusals) giveBack(list []refusal) {
	if len(list) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(list, r.list...)
	r.count.Store(int64(len(r.list)))
}
