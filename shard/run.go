package shard

import (
	"runtime/debug"
	"slices"

	"github.com/keyfold/keyfold/internal/mutant"
)

// A run is the operations that the shard carries out together, with the blocks that
// they came in. What it borrows of the inbox it has until the run is over.
//
// Invariant: ended <= Next <= Filled. What is between ended and Next was carried out
// and is not logged yet.
type run struct {
	Run
	cursor cursor // into a block that is not used up
	block  []byte // that the cursor is in; nil: it is in rows
	from   uint64 // position in the inbox behind which that block was claimed
	blocks [firingBlock + 1]blockState
	opened int  // blocks in use
	ended  int  // operations that were logged, and whose blocks were told
	bytes  int  // of the records of the operations
	mixed  bool // there are operations whose partition is not here
}

// A blockState is what becomes of a block while its operations are carried out.
type blockState struct {
	slot       *Slot // nil: nobody waits
	use        uint32
	ack        Ack
	operations int
	told       bool // an operation has changed or shown a state that may be lost
	held       bool // operations are held back, and so is its end
}

func (b *blockState) sink() Sink {
	if b.slot == nil {
		return nil
	}
	return b.slot.Sink
}

// takeRun fills the run from the inbox and does the touch pass. It says whether the
// inbox was found empty.
func (s *Shard) takeRun() (drained bool) {
	r := &s.run
	for r.Filled < runOperations {
		if !r.cursor.more() {
			if r.Filled >= runOperations/2 {
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
		s.takeOperations()
	}
	r.touch(s.programs)
	return drained
}

// takeOperations moves operations of the block into the run, as many as there is room
// for. Their records are borrowed from the block.
func (s *Shard) takeOperations() {
	r := &s.run
	c := &r.cursor
	n := min(runOperations-r.Filled, c.count-c.next)
	ops := r.Ops[r.Filled:][:n]
	sink := r.blocks[r.opened-1].sink()
	nowhere := s.moving.nowhere
	if c.rows != nil {
		c.rows.take(ops, c.next)
	} else {
		for i := range ops {
			c.rest = c.rest[ops[i].read(c.rest):]
		}
	}
	for i := range ops {
		op := &ops[i]
		partition := s.cfg.Routing.Partition(op.Hash)
		op.Part, op.Store = s.parts[partition], s.stores[op.Table][partition]
		op.Sink = sink
		op.Index, op.block, op.last = int32(c.next+i), int16(r.opened-1), false
		r.bytes += len(op.Record)
		if op.Part == nowhere { // its memory is not looked at before the touch pass
			s.misplaced(op)
		}
	}
	c.next += n
	r.Filled += n
	if n > 0 {
		ops[n-1].last = !c.more()
	}
}

func (s *Shard) openBlock(block []byte) {
	r := &s.run
	r.cursor, r.block = newCursor(block), block
	s.openCursor()
}

// openRows is openBlock for rows.
func (s *Shard) openRows(rows *Rows) {
	s.run.cursor, s.run.block = cursor{rows: rows, to: rows.to, ack: rows.ack, count: rows.Len()}, nil
	s.openCursor()
}

// header is a copy of the header of the block that the cursor is in.
func (r *run) header() []byte {
	if rows := r.cursor.rows; rows != nil {
		header := make([]byte, BlockHeaderBytes)
		PutBlockHeader(header, rows.to, rows.Len(), rows.ack)
		return header
	}
	return slices.Clone(r.block[:BlockHeaderBytes])
}

// openCursor begins a block of the run.
func (s *Shard) openCursor() {
	r := &s.run
	b := &r.blocks[r.opened]
	*b = blockState{use: r.cursor.to.use, ack: r.cursor.ack, operations: r.cursor.count}
	if slot := r.cursor.to.slot; slot != 0 {
		b.slot = s.cfg.Slots.at(slot - 1)
	}
	r.opened++
}

// applyRun carries out the operations of the run in order. It goes on where a function
// of a table has ended the goroutine before.
func (s *Shard) applyRun() {
	r := &s.run
	s.beginRun()
	for r.Next < r.Filled {
		if r.Ops[r.Next].misplaced() {
			s.passOver(nil)
			continue
		}
		to, err := s.stretch()
		if err != nil {
			s.passOver(err)
			continue
		}
		s.applySome(to)
		s.lapseRefused()
		s.endOperations(true)
	}
	s.endRun()
}

// passOver ends the next operation without the table.
func (s *Shard) passOver(err error) {
	r := &s.run
	op := &r.Ops[r.Next]
	if op.Kind == kindRefused {
		err = s.awayError(s.cfg.Routing.Partition(op.Hash))
	}
	op.Err = err
	r.Next++
	s.endOperations(false)
}

// beginRun fixes the time of the run. A frame that is still empty takes the time as
// it is; within a frame it moves in steps of a millisecond, each with a time mark.
func (s *Shard) beginRun() {
	s.clock.advance(s.log.frame.Count == 0)
	s.run.Now = s.clock.mark
	s.owner.enter()
	if s.meter.countsKeys() {
		s.countKeys()
	}
}

// stretch returns how far the run can be carried out at once: up to the first event
// that the open frame has no room for. The room is there before anything is applied,
// so that an event is either refused or logged. The error refuses the next operation.
func (s *Shard) stretch() (to int, err error) {
	r := &s.run
	if s.failed() {
		return 0, s.failure.Load()
	}
	for to = r.Next; to < r.Filled && r.Ops[to].Kind == KindRead; to++ {
	}
	if to > r.Next {
		return to, nil // reads need no room
	}
	if err := s.reserve(len(r.Ops[to].Record)); err != nil {
		if s.known(&r.Ops[to]) {
			return to + 1, nil // it will not be logged
		}
		return 0, err
	}
	room := s.log.frameMax - s.log.frame.Len() - timeMarkBytes
	if r.bytes <= room && !r.mixed {
		return r.Filled, nil
	}
	for ; to < r.Filled && !r.Ops[to].misplaced(); to++ {
		if room -= len(r.Ops[to].Record); room < 0 {
			break
		}
	}
	return to, nil
}

// known says that an event was done before, so that it needs no room.
func (s *Shard) known(op *Operation) bool {
	if op.Stamp == StampNone || s.failed() {
		return false
	}
	m, ok := s.programs[op.Table].(Rememberer)
	return ok && m.Known(op, s.run.Now)
}

// applySome carries out operations up to to, or until a function of a table does not
// return. The deferred call then ends that operation, and applyRun goes on behind it;
// after a Goexit the goroutine is replaced first.
func (s *Shard) applySome(to int) {
	returned := false
	defer func() {
		if !returned {
			s.caught(recover())
		}
	}()
	s.run.apply(s.programs, to)
	returned = true
}

// caught ends an operation whose table function did not return.
func (s *Shard) caught(value any) {
	r := &s.run
	op := &r.Ops[r.Next]
	if !mutant.PanicNotUndone {
		s.programs[op.Table].Undo()
	}
	err := &PanicError{Value: value, Stack: debug.Stack()}
	if op.Kind == KindFiring {
		s.lapse(op, err)
		return
	}
	if op.Err == nil { // else the program has said what it comes to
		op.Err = err
	}
	r.Next++
	s.endOperations(true)
}

// endRun gives the blocks of the run back to the inbox, unless one has operations
// left: then the next run begins with them.
func (s *Shard) endRun() {
	r := &s.run
	s.counters.runs++
	s.countTables()
	if r.cursor.more() {
		r.blocks[0] = r.blocks[r.opened-1]
		r.opened = 1
	} else {
		clear(r.blocks[:r.opened])
		r.opened = 0
		s.inbox.Release()
	}
	r.Filled, r.Next, r.ended, r.bytes, r.mixed = 0, 0, 0, 0, false
	if r.sooners > 0 || len(s.alarm.fired) > 0 {
		s.alarm.settle(&r.Run)
	}
	s.releaseReady()
}

// endOperations logs the events that were accepted, up to the next operation to carry
// out, hands back what was refused, and completes the blocks that have ended. told says
// that the operations have reached the table.
func (s *Shard) endOperations(told bool) {
	r := &s.run
	for ops := r.Ops[r.ended:r.Next]; len(ops) > 0; {
		n := s.logEvents(ops)
		if n == 0 {
			s.endOther(&ops[0])
			n = 1
		}
		op := &ops[n-1]
		if b := &r.blocks[op.block]; b.slot != nil {
			b.told = b.told || told
			if op.last {
				s.endBlock(b)
			}
		}
		ops = ops[n:]
	}
	r.ended = r.Next
}

// logEvents logs the first operations, as far as they are events of one block that were
// accepted, and returns how many that are. Records of rows are copied together.
//
// Invariant: what is behind a record in its slice is that of the next operation of its block.
func (s *Shard) logEvents(ops []Operation) (n int) {
	now, watched := s.run.Now, s.moving.watched > 0
	var records []byte
	first := 0
	for n < len(ops) {
		op := &ops[n]
		if op.Kind != KindEvent || op.Err != nil {
			break
		}
		if watched && op.Part.watch != nil {
			op.Part.watch.add(now, op.Record)
		}
		if longer := len(records) + len(op.Record); n > first && longer <= cap(records) {
			records = records[:longer]
		} else {
			s.log.appendAll(now, records, n-first)
			records, first = op.Record, n
		}
		if n++; op.last {
			break
		}
	}
	s.log.appendAll(now, records, n-first)
	s.counters.events += uint64(n)
	return n
}

// endOther ends an operation that is no event, or was refused.
func (s *Shard) endOther(op *Operation) {
	switch {
	case op.Err != nil:
		s.refuse(op)
	case op.Kind == KindRead:
		s.counters.reads++
	case op.Kind == KindSkipped:
		s.counters.skipped++
	case op.Kind == KindFiring:
		s.logFiring(op)
	}
}

// refuse hands the operation back to its caller. A firing comes again when there is room.
func (s *Shard) refuse(op *Operation) {
	if op.Kind == KindFiring {
		s.putOffFiring(op)
		return
	}
	s.counters.refused++
	if op.Sink != nil {
		op.Sink.Refused(int(op.Index), op.Table, op.Key(), op.Event(), op.Err)
	}
	op.Err = nil
}

// endBlock completes a block with its last operation, as far as that can be done now,
// and queues the rest. A refusal depends on the events before it: it is told with the
// frame that was open when it ran.
func (s *Shard) endBlock(b *blockState) {
	if s.moving.held.holds() && s.postpone(b) {
		return
	}
	s.acknowledge(b)
}

// acknowledge completes a block that was carried out, or queues it until its frame has
// come as far as its ack says. Behind fail nothing comes into a queue any more: the frame
// is gone, and nobody would be told what became of it.
func (s *Shard) acknowledge(b *blockState) {
	if s.failed() {
		s.endFailed(b)
		return
	}
	w := waiting{slot: b.slot, use: b.use, operations: uint32(b.operations), ordinal: s.log.openOrdinal()}
	switch b.ack {
	case Applied:
		b.slot.complete(b.use, b.operations, nil)
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
