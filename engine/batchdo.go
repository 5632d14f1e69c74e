package engine

import (
	"context"

	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/shard"
)

// A batchSink takes the results of the operations of one block.
type batchSink struct {
	engine *Engine
	slot   *shard.Slot
	items  []item
}

// Refused takes the error of an operation.
func (s *batchSink) Refused(op int, _ uint16, _, _ []byte, err error) { s.items[op].refuse(err) }

// Released gives back the slot of a block that nobody waited for.
func (s *batchSink) Released() { s.release() }

func (s *batchSink) release() {
	clear(s.items)
	s.engine.spare.Put(s.slot)
}

// A prepared operation is encoded, and waits for its block.
type prepared struct {
	hash     uint64
	from, to int // in batchRound.encoded
	item     item
}

// A sentBlock is under way to one shard.
type sentBlock struct {
	sink     *batchSink
	from, to int // in batchRound.order
}

// Do sends the operations and waits until all have come as far as ack says: Durable
// if it is left out. It fills the results, empties the batch, and returns the first
// error of an operation. It waits for room in the inboxes as Table.Do does; if ctx
// ends, the results of what was admitted match ErrUnknownOutcome, and those of the
// rest are the error of ctx.
func (b *Batch) Do(ctx context.Context, ack ...Ack) error {
	items := b.items
	b.items = nil // a codec that panics leaves an empty batch
	level := ackOf(ack)
	if err := b.engine.admit(ctx, level); err != nil {
		return finishAll(items, err)
	}
	b.round.begin(b.engine, level)
	b.round.prepare(items)
	b.round.sendAll(ctx)
	completed, err := b.round.wait(ctx)
	if completed {
		b.items = items[:0]
	}
	return err
}

func finishAll(items []item, err error) error {
	for _, i := range items {
		i.abandon(err)
	}
	return err
}

// A batchRound is one Do of a batch. Its memory is kept for the next one.
type batchRound struct {
	engine  *Engine
	ack     Ack
	encoded []byte
	pending []prepared
	byShard [][]prepared
	block   []byte
	order   []item // as they were sent
	sent    []sentBlock
	first   error
}

// encodedBytesKept is how much encoded memory an idle batch keeps.
const encodedBytesKept = 1 << 20

func (r *batchRound) begin(e *Engine, ack Ack) {
	r.engine, r.ack, r.first = e, ack, nil
	if cap(r.encoded) > encodedBytesKept {
		r.encoded = nil
	}
	r.encoded, r.pending, r.sent = r.encoded[:0], r.pending[:0], r.sent[:0]
	clear(r.order)
	r.order = r.order[:0]
}

// prepare encodes all operations. Those that cannot be are finished.
func (r *batchRound) prepare(items []item) {
	for _, i := range items {
		from := len(r.encoded)
		encoded, hash, err := i.append(r.encoded)
		if err != nil {
			r.encoded = encoded[:from]
			r.abandon(i, err)
			continue
		}
		r.encoded = encoded
		r.pending = append(r.pending, prepared{hash: hash, from: from, to: len(encoded), item: i})
	}
}

func (r *batchRound) abandon(i item, err error) {
	i.abandon(err)
	r.note(err)
}

// note keeps the first error.
func (r *batchRound) note(err error) {
	if r.first == nil {
		r.first = err
	}
}

// sendAll splits the operations by shard and sends them. What meets an inbox whose
// route has changed is split again, in its order.
func (r *batchRound) sendAll(ctx context.Context) {
	for len(r.pending) > 0 {
		route := r.engine.route.Load()
		for len(r.byShard) < len(r.engine.shards()) {
			r.byShard = append(r.byShard, nil)
		}
		for index := range r.byShard {
			r.byShard[index] = r.byShard[index][:0]
		}
		for _, p := range r.pending {
			index := r.engine.shardOf(route, p.hash)
			r.byShard[index] = append(r.byShard[index], p)
		}
		r.pending = r.pending[:0]
		for index, ops := range r.byShard {
			r.pending = append(r.pending, r.sendTo(ctx, route, index, ops)...)
		}
	}
}

// batchBlockBytes is how large the blocks of a batch are. What a shard finds in one
// block goes into one frame and waits for one sync.
const batchBlockBytes = 128 << 10

// sendTo sends operations to one shard, in as few blocks as its inbox takes, and
// returns those that must be routed again.
func (r *batchRound) sendTo(ctx context.Context, route *route, index int, ops []prepared) []prepared {
	bytesMax := min(batchBlockBytes, r.engine.shards()[index].Inbox().MaxBlock())
	for len(ops) > 0 {
		n, bytes := 0, shard.BlockHeaderBytes
		for n < len(ops) && (n == 0 || bytes+ops[n].to-ops[n].from <= bytesMax) {
			bytes += ops[n].to - ops[n].from
			n++
		}
		switch outcome, err := r.sendBlock(ctx, route.versions[index], index, ops[:n]); {
		case err != nil:
			for _, p := range ops {
				r.abandon(p.item, err)
			}
			return nil
		case outcome == ring.Stale:
			r.engine.stale(route)
			return ops
		}
		ops = ops[n:]
	}
	return nil
}

// sendBlock sends one block, waiting for room. A stale route is the caller's matter.
func (r *batchRound) sendBlock(ctx context.Context, version uint16, index int, ops []prepared) (ring.Outcome, error) {
	sink, err := r.engine.batchSink()
	if err != nil {
		return ring.Full, err
	}
	r.fill(sink, ops)
	for {
		outcome := r.engine.claim(index, version, r.block)
		if outcome == ring.Claimed {
			from := len(r.order)
			for _, p := range ops {
				r.order = append(r.order, p.item)
			}
			r.sent = append(r.sent, sentBlock{sink: sink, from: from, to: len(r.order)})
			return outcome, nil
		}
		if outcome != ring.Stale {
			err = r.engine.unclaimed(ctx, index, outcome, len(r.block), true)
		}
		if outcome == ring.Stale || err != nil {
			sink.slot.Disarm()
			sink.release()
			return outcome, err
		}
	}
}

// fill makes the block of ops, and the sink ready for their results.
func (r *batchRound) fill(sink *batchSink, ops []prepared) {
	var header [shard.BlockHeaderBytes]byte
	r.block = append(r.block[:0], header[:]...)
	sink.items = sink.items[:0]
	for _, p := range ops {
		r.block = append(r.block, r.encoded[p.from:p.to]...)
		sink.items = append(sink.items, p.item)
	}
	shard.PutBlockHeader(r.block, sink.slot.Arm(), len(ops), r.ack.level())
}

// wait waits for all blocks and hands out the results. It says whether all blocks were
// completed; if not, a shard may still write to the items.
func (r *batchRound) wait(ctx context.Context) (all bool, err error) {
	all = true
	for _, s := range r.sent {
		err, completed := s.sink.slot.Wait(ctx, r.engine.patience(r.ack))
		for _, i := range r.order[s.from:s.to] {
			if !completed {
				r.abandon(i, unknown(ctx.Err()))
			} else if err := i.finish(err); err != nil {
				r.note(err)
			}
		}
		if completed {
			s.sink.release()
		}
		all = all && completed
	}
	return all, r.first
}

// batchSink is the sink of a spare slot.
func (e *Engine) batchSink() (*batchSink, error) {
	slot, err := e.spareSlot()
	if err != nil {
		return nil, err
	}
	sink, ok := slot.Sink.(*batchSink)
	if !ok {
		sink = &batchSink{engine: e, slot: slot}
		slot.Sink = sink
	}
	return sink, nil
}

// spareSlot is a slot for whoever sets its sink.
func (e *Engine) spareSlot() (*shard.Slot, error) {
	return e.slot(&e.spare, func(*shard.Slot) shard.Sink { return nil })
}
