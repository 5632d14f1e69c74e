package shard

import "slices"

// held is what a shard holds back: operations on partitions that are on their way to it,
// and acks of streams that must not overtake theirs.
type held struct {
	blocks    []heldBlock
	bytes     int
	late      []blockState // of streams, that came behind one that is held back
	full      bool         // the inbox is not read, and no feed polled, until the partition has come
	replaying bool         // the blocks from next on are being carried out
	next      int
}

// holds says that blocks are being held back.
func (h *held) holds() bool { return len(h.blocks) > 0 && !h.replaying }

// A heldBlock is a copy of a block with operations that are held back.
type heldBlock struct {
	block  []byte
	of     *Transit // whose partitions they are
	last   int32    // operation that is held back
	others bool     // there are operations that are not
	opened bool     // being carried out
}

// lateMax is how many acks are held back before the inbox is not read any more. The
// bytes of blocks are bounded by the size of the inbox.
const lateMax = 1 << 16

// Kinds that operations get on their way through a run, if their partition is not here.
const (
	kindHeld Kind = 0xf0 + iota
	kindRefused
)

// misplaced says that the operation has got one of these kinds.
func (op *Operation) misplaced() bool { return op.Kind >= kindHeld }

// misplaced decides what becomes of an operation whose partition is not here: it is held
// back if that is on its way.
func (s *Shard) misplaced(op *Operation) {
	m := &s.moving
	s.run.mixed = true
	if !m.expects || m.stuck != nil || s.failed() || !m.in.carries(s.cfg.Routing.Partition(op.Hash)) {
		op.Kind = kindRefused
		return
	}
	op.Kind = kindHeld
	b := &s.run.blocks[op.block]
	if !b.held {
		b.held = true
		m.held.blocks = append(m.held.blocks, heldBlock{block: slices.Clone(s.run.block), of: m.in})
		m.held.bytes += len(s.run.block)
		m.held.full = m.held.full || m.held.bytes >= s.cfg.Inbox
	}
	h := &m.held.blocks[len(m.held.blocks)-1]
	h.last = op.Index
	h.others = h.others || b.operations > 1
}

// postpone says that the ack of a block waits until what is held back was carried out:
// the block has a part in that, or is of a stream. Streams are told in their order.
func (s *Shard) postpone(b *blockState) bool {
	if b.held {
		return true
	}
	if s.failed() || b.slot.phase.Load() != slotFree {
		return false
	}
	h := &s.moving.held
	h.late = append(h.late, *b)
	h.full = h.full || len(h.late) >= lateMax
	return true
}

// replayHeld carries out what was held back, in its order, and then lets go of the acks
// behind it. If a function of a table ends the goroutine, the next one calls it again.
func (s *Shard) replayHeld() {
	h := &s.moving.held
	h.replaying = true
	for h.next < len(h.blocks) {
		s.replayBlock(&h.blocks[h.next])
		h.next++
	}
	late := h.late
	*h = held{}
	for i := range late {
		s.acknowledge(&late[i])
	}
}

// keepHeld leaves those operations in the run that were held back.
func (s *Shard) keepHeld(h *heldBlock) {
	r := &s.run
	kept := r.Ops[:0]
	for _, op := range r.Ops[:r.Filled] {
		if h.of.carries(s.cfg.Routing.Partition(op.Hash)) {
			op.last = op.Index == h.last
			kept = append(kept, op)
		}
	}
	r.Filled = len(kept)
}

// replayBlock carries out the operations of a block that were held back.
func (s *Shard) replayBlock(h *heldBlock) {
	r := &s.run
	if !h.opened {
		h.opened = true
		s.openBlock(h.block)
		r.blocks[r.opened-1].told = h.others
	}
	for r.cursor.more() {
		s.takeOperations()
		s.keepHeld(h)
		r.touch(s.programs)
		s.applyRun()
	}
}
