package shard

import (
	"runtime/debug"
)

// An operation is one of a run.
type operation struct {
	record    []byte // as the log holds it: header, key, event; borrowed from the block
	part      *Partition
	partition uint32
	keyEnd    int32 // in record
	index     int32 // in its block
	block     int32 // in run.blocks
	kind      Kind
	last      bool // of its block
}

func (op *operation) key() []byte { return op.record[recordHeaderBytes:op.keyEnd] }

func (op *operation) event() []byte { return op.record[op.keyEnd:] }

// A run is what is touched and applied together. Its slices are borrowed from the
// inbox until the run is over.
type run struct {
	cursor  cursor // into a block that is not used up
	block   []byte // that the cursor is in
	from    uint64 // position in the inbox behind which that block was claimed
	ops     [runOperations]operation
	targets [runOperations]Target // of ops
	blocks  [runOperations + 1]blockState
	opened  int // blocks in use
	filled  int // operations in use
	next    int // the operation to apply, or being applied
	call    Call
}

// A blockState is what becomes of a block while its operations are applied.
type blockState struct {
	slot       *Slot // nil: nobody waits
	use        uint32
	ack        Ack
	operations int
	told       bool // an operation has changed or shown a state that may be lost
	held       bool // operations are held back, and so is its end
}

// takeRun fills the run from the inbox and does the touch pass. It says whether the
// inbox was found empty.
func (s *Shard) takeRun() (drained bool) {
	r := &s.run
	for r.filled < runOperations {
		if !r.cursor.more() {
			if r.filled >= runOperations/2 {
				break // end at the end of a block, so that its room can be given back
			}
			if s.moving.held.full {
				break
			}
			r.from = s.inbox.Position()
			block, ok := s.inbox.Next()
			if !ok {
				drained = true
				break
			}
			s.openBlock(block)
		}
		s.takeOperation()
	}
	touchAll(s.programs, r.targets[:r.filled])
	return drained
}

// takeOperation moves the next operation of the block into the run.
func (s *Shard) takeOperation() {
	r := &s.run
	op, target := &r.ops[r.filled], &r.targets[r.filled]
	r.filled++
	target.Hash, target.Table = r.cursor.take(op)
	op.block = int32(r.opened - 1)
	partition := s.cfg.Routing.Partition(target.Hash)
	op.part, target.Store = s.parts[partition], s.stores[target.Table][partition]
	op.partition = op.part.ID // loads the partition, whose sequence will be needed
	if op.partition == noPartition {
		s.misplaced(op, target)
	}
}

func (s *Shard) openBlock(block []byte) {
	r := &s.run
	r.cursor, r.block = newCursor(block), block
	b := &r.blocks[r.opened]
	*b = blockState{use: r.cursor.to.use, ack: r.cursor.ack, operations: r.cursor.count}
	if slot := r.cursor.to.slot; slot != 0 {
		b.slot = s.cfg.Slots.at(slot - 1)
	}
	r.opened++
}

// applyRun applies the operations of the run in order.
func (s *Shard) applyRun() {
	s.beginRun()
	for s.run.next < s.run.filled {
		s.applySome()
	}
	s.endRun()
}

// beginRun fixes the time of the run. A frame that is still empty takes the time as
// it is; within a frame it moves in steps of a millisecond, each with a time mark.
func (s *Shard) beginRun() {
	s.clock.advance(s.log.frame.Count == 0)
	s.owner.enter()
}

// applySome applies operations until the run is over or a function of a table does
// not return. The deferred call then ends that operation, and the next applySome
// goes on behind it; after a Goexit the goroutine is replaced first.
func (s *Shard) applySome() {
	r := &s.run
	returned := false
	defer func() {
		if !returned {
			s.caught(recover())
		}
	}()
	for r.next < r.filled {
		s.apply(&r.ops[r.next], &r.targets[r.next])
		r.next++
	}
	returned = true
}

// caught ends an operation whose table function did not return.
func (s *Shard) caught(value any) {
	op, target := &s.run.ops[s.run.next], &s.run.targets[s.run.next]
	target.Store.Undo()
	s.refuse(op, target, &PanicError{Value: value, Stack: debug.Stack()})
	s.endOperation(op)
	s.run.next++
}

// endRun gives the blocks of the run back to the inbox, unless one has operations
// left: then the next run begins with them.
func (s *Shard) endRun() {
	r := &s.run
	s.counters.runs++
	if r.cursor.more() {
		r.blocks[0] = r.blocks[r.opened-1]
		r.opened = 1
	} else {
		clear(r.blocks[:r.opened])
		r.opened = 0
		s.inbox.Release()
	}
	r.filled, r.next = 0, 0
	s.releaseReady()
}

// apply carries out one operation.
func (s *Shard) apply(op *operation, target *Target) {
	c := &s.run.call
	b := &s.run.blocks[op.block]
	c.Hash, c.Key, c.Event = target.Hash, op.key(), op.event()
	c.Now, c.Partition, c.Op = s.clock.mark, op.partition, int(op.index)
	c.Sink = nil
	if b.slot != nil {
		c.Sink = b.slot.Sink
	}
	switch op.kind {
	case KindEvent:
		s.fold(op, target, b)
	case KindRead:
		s.read(op, target, b)
	case kindRefused:
		s.refuse(op, target, s.awayError(op.partition))
	}
	s.endOperation(op)
}

func (s *Shard) read(op *operation, target *Target, b *blockState) {
	if s.failed() {
		s.refuse(op, target, s.failure.Load())
		return
	}
	s.counters.reads++
	b.told = true
	if err := target.Store.Read(&s.run.call); err != nil {
		s.refuse(op, target, err)
	}
}

// fold applies an event and logs it. The room for its record is there before it is
// applied, so that an event is either refused or logged.
func (s *Shard) fold(op *operation, target *Target, b *blockState) {
	if err := s.reserve(len(op.record)); err != nil {
		s.refuse(op, target, err)
		return
	}
	c := &s.run.call
	c.Sequence = op.part.Sequence + 1
	b.told = true // by a refusal, too
	if err := target.Store.Apply(c); err != nil {
		s.refuse(op, target, err)
		return
	}
	op.part.Sequence++
	s.log.append(c.Now, op.record)
	if w := op.part.watch; w != nil {
		w.add(c.Now, op.record)
	}
	s.counters.events++
}

// refuse hands the operation back to its caller.
func (s *Shard) refuse(op *operation, target *Target, err error) {
	s.counters.refused++
	if slot := s.run.blocks[op.block].slot; slot != nil && slot.Sink != nil {
		slot.Sink.Refused(int(op.index), target.Table, op.key(), op.event(), err)
	}
}

// endOperation completes the block with its last operation, as far as that can be
// done now, and queues the rest. A refusal depends on the events before it: it is
// told with the frame that was open when it ran.
func (s *Shard) endOperation(op *operation) {
	b := &s.run.blocks[op.block]
	if !op.last || b.slot == nil {
		return
	}
	if s.moving.held.holds() && s.postpone(b) {
		return
	}
	if s.failed() {
		s.endFailed(b)
		return
	}
	s.acknowledge(b.ack, waiting{slot: b.slot, use: b.use, operations: uint32(b.operations), ordinal: s.log.openOrdinal()})
}

// acknowledge completes a block that was carried out, or queues it until its frame has
// come as far as its ack says.
func (s *Shard) acknowledge(ack Ack, w waiting) {
	switch ack {
	case Applied:
		w.slot.complete(w.use, int(w.operations), nil)
	case Written:
		s.acks.written.push(w)
	case Durable:
		s.acks.durable.push(w)
	}
}

// endFailed completes a block that the failure of the shard has overtaken. Operations
// that were not carried out have been refused one by one; of the others nobody knows.
func (s *Shard) endFailed(b *blockState) {
	if !b.told {
		b.slot.complete(b.use, b.operations, nil)
		return
	}
	failure := s.failure.Load()
	b.slot.complete(b.use, b.operations, &FailedError{Shard: failure.Shard, Unknown: true, Err: failure.Err})
}
