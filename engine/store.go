package engine

import (
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A program is a table bound to one shard: scratch memory for one operation at a
// time, which belongs to the shard goroutine.
type program[K comparable, S, E, R any] struct {
	binding  *binding[K, S, E, R]
	context  Context[K]
	event    E
	scratch  S // a state that is not in the table yet
	before   S // what undo puts back
	encoded  []byte
	result   R             // what Apply has answered, if that is to be remembered
	answered recent.Answer // of the event that Apply has done, if it is to be remembered
	undo     *S            // the state that Apply is changing; nil: nothing to put back
	run      *shard.Run    // that is being carried out, if the table is timed
	plain    bool          // its events need no check, no codec and no clock, and its states no heap
	moved    bool          // a key was inserted or deleted since entries were touched

	events  *codec[E]   // of the events that are applied: the table's, unless older ones are replayed
	lifting *lifting[S] // of the states that are loaded; nil: they are as they should be
}

// NewStore makes the empty state of one partition.
func (p *program[K, S, E, R]) NewStore() shard.Store {
	st := &store[K, S, E, R]{program: p, slab: *p.binding.engine.memory.New(p.binding.cellBytes())}
	if p.binding.times.timed() {
		st.times = &times{form: &p.binding.times, slab: &st.slab}
	}
	return st
}

// Touch asks for the index words of operations.
func (p *program[K, S, E, R]) Touch(ops []shard.Operation) {
	for i := range ops {
		ops[i].Store.(*store[K, S, E, R]).slab.Touch(ops[i].Hash, unsafe.Pointer(ops[i].Part))
	}
}

// TouchEntries asks for the entries that the index words lead to.
func (p *program[K, S, E, R]) TouchEntries(ops []shard.Operation) {
	for i := range ops {
		ops[i].Touched = ops[i].Store.(*store[K, S, E, R]).slab.TouchEntry(ops[i].Hash)
	}
	p.moved = false
}

// Apply carries out operations of a run.
func (p *program[K, S, E, R]) Apply(r *shard.Run, to int) {
	p.beginTime(r)
	plain := p.plain && p.events == &p.binding.event
	for ; r.Next < to; r.Next++ {
		if plain {
			if p.applyPlain(r, to); r.Next == to {
				return
			}
		}
		p.applyNext(r, &r.Ops[r.Next])
	}
}

// applyNext carries out an operation of whatever kind.
func (p *program[K, S, E, R]) applyNext(r *shard.Run, op *shard.Operation) {
	st := op.Store.(*store[K, S, E, R])
	if op.Kind == shard.KindRead {
		op.Err = st.read(op)
		return
	}
	if op.Stamp != shard.StampNone && !r.Replay && st.skips(op, r.Now) {
		return
	}
	if op.Err = st.carryOut(op, r.Replay); op.Err == nil {
		op.Part.Sequence++
	}
}

// applyPlain carries out events of a plain table, up to the first operation that wants
// more: a read, an event of a key that is not there, one that bears a stamp. It is fold
// without what such a table never asks for (BenchmarkRun).
func (p *program[K, S, E, R]) applyPlain(r *shard.Run, to int) {
	apply, c := p.binding.table.spec.Apply, &p.context
	for ops := r.Ops[:to]; r.Next < len(ops); r.Next++ {
		op := &ops[r.Next]
		event := op.Event()
		e := unsafe.Pointer(unsafe.SliceData(event))
		if op.Kind != shard.KindEvent || op.Stamp != shard.StampNone ||
			len(event) != p.binding.event.dense || uintptr(e)&(unsafe.Alignof(p.event)-1) != 0 {
			return
		}
		st := op.Store.(*store[K, S, E, R])
		at, found := st.find(op)
		if !found {
			return
		}
		state := (*S)(at)
		c.begin(op)
		c.renew()
		p.before, p.undo = *state, state
		result := apply(c, state, *(*E)(e))
		p.undo = nil
		if c.deleted {
			st.keep(op, state, at, true)
		}
		if op.Sink != nil {
			deliver(op, p, result)
		}
		op.Part.Sequence++
	}
}

// A store is the state of one partition. The slab holds states without pointers as
// they are. Of states with pointers it holds the place in heap.
type store[K comparable, S, E, R any] struct {
	program *program[K, S, E, R]
	slab    slab.Table // not behind a pointer: one cache miss less for each event
	heap    heap[S]
	times   *times             // nil: the table has neither timers nor deadlines
	extras  *extras            // nil: there are none
	_       [storePadding]byte // to whole cache lines: what a lookup reads is in the first
}

// storePadding makes the size of a store three cache lines. The allocator then puts each
// at the beginning of one, and their beginnings do not all fall into the same sets.
const storePadding = 3*64 - unsafe.Sizeof(unlined{})

// unlined is a store without its padding, of whatever types.
type unlined struct {
	_ unsafe.Pointer // program
	_ slab.Table
	_ heap[byte]
	_ unsafe.Pointer // times
	_ unsafe.Pointer // extras
}

// cell is what the slab holds of a state with pointers.
type cell uint64

// Empty says whether there are no keys.
func (st *store[K, S, E, R]) Empty() bool { return st.slab.Len() == 0 }

// Len is the number of keys of the user's.
func (st *store[K, S, E, R]) Len() int {
	if st.program.binding.table.hidden {
		return 0
	}
	return st.slab.Len()
}

// Bytes is the memory held, for keys of the user's.
func (st *store[K, S, E, R]) Bytes() int {
	if st.program.binding.table.hidden {
		return 0
	}
	return st.slab.Bytes() + st.heap.bytes() + st.times.bytes() + st.extras.bytes()
}

// Drop gives back the memory of a store that nobody will use any more.
func (st *store[K, S, E, R]) Drop() {
	st.slab.Release()
	st.heap, st.extras = heap[S]{}, nil
	if st.times != nil {
		st.times.queue = nil
	}
}

// Rebind moves the store to another shard.
func (st *store[K, S, E, R]) Rebind(to shard.Program) {
	st.program = to.(*program[K, S, E, R])
}

// find returns the cell of the key of an operation that was touched.
func (st *store[K, S, E, R]) find(op *shard.Operation) (cell unsafe.Pointer, found bool) {
	if st.program.moved {
		return st.slab.Find(op.Hash, op.Key())
	}
	return st.slab.FindAt(op.Touched, op.Hash, op.Key())
}

// at returns the state behind a cell of the slab.
func (st *store[K, S, E, R]) at(p unsafe.Pointer) *S {
	if st.program.binding.state.pointerFree {
		return (*S)(p)
	}
	return st.heap.at(*(*cell)(p))
}

// insert adds a key with a state, and returns its cell of the slab.
func (st *store[K, S, E, R]) insert(hash uint64, key []byte, s *S) unsafe.Pointer {
	p := st.slab.Insert(hash, key)
	if st.program.binding.state.pointerFree {
		*(*S)(p) = *s
	} else {
		*(*cell)(p) = st.heap.put(s)
	}
	return p
}

// remove removes the key of a cell.
func (st *store[K, S, E, R]) remove(hash uint64, key []byte, at unsafe.Pointer) {
	if !st.program.binding.state.pointerFree {
		st.heap.drop(*(*cell)(at))
	}
	if st.times == nil {
		st.slab.Delete(hash, key)
		return
	}
	st.times.forget(at)
	if slot, ok := st.slab.Remove(hash, key); ok {
		st.times.moved(slot)
	}
}

// fold runs the table's functions on the state of the key. A new key is not in the
// table before its Apply has returned.
func (st *store[K, S, E, R]) fold(op *shard.Operation, replay bool) error {
	p := st.program
	spec := &p.binding.table.spec
	e, err := p.decodeEvent(op.Event())
	if err != nil {
		return fmt.Errorf("keyfold: table %q: event: %w", spec.Name, err)
	}
	p.context.begin(op)
	at, found := st.find(op)
	state := &p.scratch
	if found {
		state = st.at(at)
	} else {
		p.fresh(spec)
	}
	if spec.Check != nil && !replay {
		if err := p.check(spec, state, e); err != nil {
			return err
		}
	}
	if err := p.save(spec, state, found); err != nil {
		return err
	}
	p.context.renew() // Check may have used it; a replay leaves it out
	result := spec.Apply(&p.context, state, *e)
	if op.Stamp == shard.StampID {
		p.answer(result)
	}
	p.undo = nil
	if !found || p.context.deleted {
		at = st.keep(op, state, at, found)
	}
	if p.run != nil && at != nil { // not st.times, which lies in a line of its own
		st.time(op, at, found)
	}
	if op.Stamp != shard.StampNone {
		st.mark(op)
	}
	if op.Sink != nil {
		deliver(op, p, result)
	}
	return nil
}

// decodeEvent returns the event, which is borrowed: one that lies in the record as it
// does in memory is not copied.
func (p *program[K, S, E, R]) decodeEvent(encoded []byte) (*E, error) {
	c := p.events
	if c.dense > 0 && c.dense == len(encoded) {
		at := unsafe.Pointer(unsafe.SliceData(encoded))
		if uintptr(at)&(unsafe.Alignof(p.event)-1) == 0 {
			return (*E)(at), nil
		}
	}
	return &p.event, c.decodeValue(encoded, &p.event)
}

// fresh makes the state of a key that has none.
func (p *program[K, S, E, R]) fresh(spec *Spec[K, S, E, R]) {
	var zero S
	p.scratch = zero
	if spec.Init != nil {
		spec.Init(&p.context, &p.scratch)
	}
}

// check asks the table whether it takes the event. It sees a copy where that can be
// had by copying, so that it cannot change the state.
func (p *program[K, S, E, R]) check(spec *Spec[K, S, E, R], state *S, e *E) error {
	if p.binding.state.pointerFree {
		p.before = *state
		state = &p.before
	}
	return spec.Check(&p.context, state, *e)
}

// save makes ready to undo what Apply will do to a state that is in the table.
func (p *program[K, S, E, R]) save(spec *Spec[K, S, E, R], state *S, found bool) (err error) {
	switch {
	case !found:
		return nil
	case p.binding.state.pointerFree:
		p.before = *state
	case spec.Clone != nil:
		p.before = spec.Clone(state)
	default:
		if p.encoded, err = p.binding.state.append(p.encoded[:0], state); err == nil {
			var copied S
			p.before = copied
			err = p.binding.state.decode(p.encoded, &p.before)
		}
		if err != nil {
			return fmt.Errorf("keyfold: table %q: state: %w", spec.Name, err)
		}
	}
	p.undo = state
	return nil
}

// Undo puts back the state that an Apply that did not return was changing.
func (p *program[K, S, E, R]) Undo() {
	if p.undo != nil {
		*p.undo = p.before
		p.undo = nil
	}
}

// keep puts the state where it belongs after Apply, and returns its cell of the slab, or
// nil if the key is not there.
func (st *store[K, S, E, R]) keep(op *shard.Operation, state *S, at unsafe.Pointer, found bool) unsafe.Pointer {
	st.program.moved = true
	switch deleted := st.program.context.deleted; {
	case deleted && found:
		st.remove(op.Hash, op.Key(), at)
	case !deleted && !found:
		return st.insert(op.Hash, op.Key(), state)
	}
	return nil
}

// deliver hands the answer of Apply to whoever waits for it.
func deliver[K comparable, S, E, R any](op *shard.Operation, p *program[K, S, E, R], result R) {
	switch sink := op.Sink.(type) {
	case *call[K, S, E, R]:
		sink.value = result
	case *batchSink:
		sink.items[op.Index].(*put[K, S, E, R]).value = result
	}
}

// read hands a copy of the state to whoever asked, or the state itself to a View.
func (st *store[K, S, E, R]) read(op *shard.Operation) error {
	at, found := st.find(op)
	var state *S
	if found {
		state = st.at(at)
	}
	switch sink := op.Sink.(type) {
	case *lookup[K, S]:
		return sink.take(&st.program.binding.state, st.program.binding.table.spec.Clone, state)
	case *batchSink:
		return sink.items[op.Index].(*get[K, S]).take(&st.program.binding.state, st.program.binding.table.spec.Clone, state)
	}
	return nil
}
