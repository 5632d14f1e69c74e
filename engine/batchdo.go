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
func (s *batchSink) Released() { s.engine.spare.Put(s.slot) }

// A prepared operation is encoded, and waits for its block.
type prepared struct {
	hash uint64
	op   []byte
	item item
}

// A sentBlock is under way to one shard.
type sentBlock struct {
	slot  *shard.Slot
	items []item
}

// Do sends the operations and waits until all have come as far as ack says: Durable
// if it is left out. It fills the results, empties the batch, and returns the first
// error of an operation. It waits for room in the inboxes as Table.Do does; if ctx
// ends, the results of what was admitted match ErrUnknownOutcome, and those of the
// rest are the error of ctx.
func (b *Batch) Do(ctx context.Context, ack ...Ack) error {
	items := b.items
	b.items = nil
	level := ackOf(ack)
	if err := b.engine.admit(ctx, level); err != nil {
		return finishAll(items, err)
	}
	round := batchRound{engine: b.engine, ack: level}
	round.prepare(items)
	round.sendAll(ctx)
	return round.wait(ctx)
}

func finishAll(items []item, err error) error {
	for _, i := range items {
		i.abandon(err)
	}
	return err
}

// A batchRound is one Do of a batch.
type batchRound struct {
	engine *Engine
	ack    Ack
	ops    []prepared
	sent   []sentBlock
	first  error
}

// prepare encodes all operations. Those that cannot be are finished.
func (r *batchRound) prepare(items []item) {
	for _, i := range items {
		op, hash, err := i.append(nil)
		if err != nil {
			r.abandon(i, err)
			continue
		}
		r.ops = append(r.ops, prepared{hash: hash, op: op, item: i})
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
	for pending := r.ops; len(pending) > 0; {
		route := r.engine.route.Load()
		byShard := make([][]prepared, len(r.engine.shards))
		for _, p := range pending {
			index := r.engine.shardOf(route, p.hash)
			byShard[index] = append(byShard[index], p)
		}
		pending = pending[:0:0]
		for index, ops := range byShard {
			pending = append(pending, r.sendTo(ctx, route, index, ops)...)
		}
	}
}

// sendTo sends operations to one shard, in as few blocks as its inbox takes, and
// returns those that must be routed again.
func (r *batchRound) sendTo(ctx context.Context, route *route, index int, ops []prepared) []prepared {
	for len(ops) > 0 {
		n, bytes := 0, shard.BlockHeaderBytes
		for n < len(ops) && (n == 0 || bytes+len(ops[n].op) <= blockTargetBytes) {
			bytes += len(ops[n].op)
			n++
		}
		switch outcome, err := r.sendBlock(ctx, route.versions[index], index, ops[:n]); {
		case err != nil:
			for _, p := range ops {
				r.abandon(p.item, err)
			}
			return nil
		case outcome == ring.Stale:
			return ops
		}
		ops = ops[n:]
	}
	return nil
}

// sendBlock sends one block, waiting for room. A stale route is the caller's matter.
func (r *batchRound) sendBlock(ctx context.Context, version uint16, index int, ops []prepared) (ring.Outcome, error) {
	slot, err := r.engine.spareSlot()
	if err != nil {
		return ring.Full, err
	}
	sent := sentBlock{slot: slot}
	block := make([]byte, shard.BlockHeaderBytes)
	for _, p := range ops {
		block = append(block, p.op...)
		sent.items = append(sent.items, p.item)
	}
	slot.Sink = &batchSink{engine: r.engine, slot: slot, items: sent.items}
	shard.PutBlockHeader(block, slot.Arm(), len(ops), r.ack.level())
	for {
		outcome := r.engine.claim(index, version, block)
		if outcome == ring.Claimed {
			r.sent = append(r.sent, sent)
			return outcome, nil
		}
		if outcome != ring.Stale {
			err = r.engine.unclaimed(ctx, index, outcome, len(block), true)
		}
		if outcome == ring.Stale || err != nil {
			slot.Disarm()
			r.engine.spare.Put(slot)
			return outcome, err
		}
	}
}

// wait waits for all blocks and hands out the results.
func (r *batchRound) wait(ctx context.Context) error {
	for _, s := range r.sent {
		err, completed := s.slot.Wait(ctx, r.engine.patience(r.ack))
		for _, i := range s.items {
			if !completed {
				r.abandon(i, unknown(ctx.Err()))
			} else if err := i.finish(err); err != nil {
				r.note(err)
			}
		}
		if completed {
			r.engine.spare.Put(s.slot)
		}
	}
	return r.first
}

// spareSlot is a slot for whoever sets its sink.
func (e *Engine) spareSlot() (*shard.Slot, error) {
	return e.slot(&e.spare, func(*shard.Slot) shard.Sink { return nil })
}
