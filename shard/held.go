package shard

import "slices"

// held is what a shard holds back: operations on partitions that are on their way to it,
// and acks of streams that must not overtake theirs.
type held struct {
	blocks    []heldBlock
	next      int          // the blocks before it were carried out
	bytes     int          // of those that were not
	came      int          // operations since some were carried out last
	late      []blockState // of streams, that came behind one that is held back
	full      bool         // the inbox is not read, and no feed polled, until there is less
	replaying bool         // some are being carried out right now
	left      int          // operations that are to be, before others have a turn
}

// any says that there are operations that were not carried out.
func (h *held) any() bool { return h.next < len(h.blocks) }

// holds says that blocks are being held back.
func (h *held) holds() bool { return h.any() && !h.replaying }

// A heldBlock is those operations of a block that are held back.
type heldBlock struct {
	block   []byte  // the header is that of the whole block
	indices []int32 // where they are in that
	opened  bool    // being carried out
	// While others have a turn, cursor and state are where it goes on.
	resting bool
	cursor  cursor
	state   blockState
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
	s.holdBack(op)
	op.Kind = kindHeld
}

// holdBack keeps a copy of an operation.
func (s *Shard) holdBack(op *Operation) {
	h := &s.moving.held
	if b := &s.run.blocks[op.block]; !b.held {
		b.held = true
		h.blocks = append(h.blocks, heldBlock{block: s.run.header()})
		h.bytes += BlockHeaderBytes
	}
	b := &h.blocks[len(h.blocks)-1]
	before := len(b.block)
	b.block = appendOp(b.block, op)
	b.indices = append(b.indices, op.Index)
	h.came++
	h.bytes += len(b.block) - before
	h.full = h.full || h.bytes >= s.cfg.Inbox
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

// replayHeld carries out what was held back, in its order, at least as many operations as
// limit says if there are so many, and then others have a turn. When nothing is left it lets
// go of the acks behind it. If a function of a table ends the goroutine, the next one goes on.
func (s *Shard) replayHeld(limit int) {
	h := &s.moving.held
	h.replaying, h.left, h.came = true, limit, 0
	s.replayOn()
}

// replayOn carries out what is left of that. Partitions that have arrived are here while it
// does, and not before all is carried out: what comes until then goes behind that.
func (s *Shard) replayOn() {
	h := &s.moving.held
	for _, p := range s.moving.arrived {
		s.route(p)
	}
	for h.any() && h.left > 0 {
		if b := &h.blocks[h.next]; s.replayBlock(b) {
			h.bytes -= len(b.block)
			*b = heldBlock{}
			h.next++
		}
	}
	h.replaying = false
	if h.any() {
		h.full = h.bytes >= s.cfg.Inbox || len(h.late) >= lateMax
		h.compact()
		for _, p := range s.moving.arrived {
			s.unroute(p)
		}
		return
	}
	late := h.late
	*h = held{}
	for i := range late {
		s.acknowledge(&late[i])
	}
}

// compact lets go of the blocks that were carried out, when they are half of all.
func (h *held) compact() {
	if 2*h.next >= len(h.blocks) {
		h.blocks = slices.Delete(h.blocks, 0, h.next)
		h.next = 0
	}
}

// replayBlock carries out the operations of a block that were held back, as far as others
// need not have a turn. It says whether that was all of them. In between cursor and block
// belong to the inbox and the feeds.
func (s *Shard) replayBlock(b *heldBlock) (over bool) {
	r := &s.run
	switch {
	case b.resting:
		b.resting = false
		r.cursor, r.block, r.blocks[0], r.opened = b.cursor, b.block, b.state, 1
	case !b.opened:
		b.opened = true
		s.openBlock(b.block)
		r.cursor.count = len(b.indices)
		r.blocks[0].told = r.blocks[0].operations > len(b.indices)
	}
	h := &s.moving.held
	for ; r.cursor.more() && h.left > 0; s.applyRun() {
		s.takeOperations()
		for i := range r.Ops[:r.Filled] {
			r.Ops[i].Index = b.indices[r.Ops[i].Index]
		}
		h.left -= r.Filled
		r.touch(s.programs)
	}
	if r.cursor.more() {
		b.resting, b.cursor, b.state = true, r.cursor, r.blocks[0]
		r.cursor, r.block, r.blocks[0], r.opened = cursor{}, nil, blockState{}, 0
		return false
	}
	return true
}
