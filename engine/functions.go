package engine

import (
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// tableFunctions are the functions of a table on one shard, with scratch memory for one
// operation at a time. Only what calls them, or hands what they return to its caller, is
// here: all of it is compiled for each table.
type tableFunctions[K comparable, S, E, R any] struct {
	program program
	spec    *Spec[K, S, E, R]
	context Context[K]
	event   E
	scratch S    // a state that is not in the table yet
	before  S    // what undo puts back
	result  R    // what Apply has answered, if that is to be remembered
	changed *S   // the state that Apply is changing; nil: nothing to put back
	plain   bool // events need no check, no codec and no clock, and states no heap
}

// newProgram binds a table to a shard.
func newProgram[K comparable, S, E, R any](spec *Spec[K, S, E, R], b *binding) *program {
	f := &tableFunctions[K, S, E, R]{spec: spec}
	f.program = program{binding: b, functions: f, occasion: &f.context.occasion, events: &b.event}
	f.plain = !b.times.timed() && b.state.pointerFree && b.event.dense > 0 && spec.Check == nil
	f.context.keys, f.context.timers = &b.key, spec.OnTimer != nil
	return &f.program
}

// apply carries out operations of a run.
func (f *tableFunctions[K, S, E, R]) apply(r *shard.Run, to int) {
	plain := f.plain && f.program.events == &f.program.binding.event
	for ; r.Next < to; r.Next++ {
		if plain {
			if f.applyPlain(r, to); r.Next == to {
				return
			}
		}
		f.applyNext(r, &r.Ops[r.Next])
	}
}

// applyNext carries out an operation of whatever kind.
func (f *tableFunctions[K, S, E, R]) applyNext(r *shard.Run, op *shard.Operation) {
	st := op.Store.(*store)
	switch op.Kind {
	case shard.KindRead:
		op.Err = f.read(st, op)
		return
	case shard.KindFiring:
		op.Err = st.fire(op)
	default:
		if op.Stamp != shard.StampNone && !r.Replay && st.skips(op, r.Now) {
			return
		}
		op.Err = f.fold(st, op, r.Replay)
	}
	if op.Err == nil {
		op.Part.Sequence++
	}
}

// applyPlain carries out events of a plain table, up to the first operation that wants
// more: a read, an event of a key that is not there, one that bears a stamp. It is fold
// without what such a table never asks for (BenchmarkRun).
func (f *tableFunctions[K, S, E, R]) applyPlain(r *shard.Run, to int) {
	apply, c := f.spec.Apply, &f.context
	for ops := r.Ops[:to]; r.Next < len(ops); r.Next++ {
		op := &ops[r.Next]
		event := op.Event()
		e := unsafe.Pointer(unsafe.SliceData(event))
		if op.Kind != shard.KindEvent || op.Stamp != shard.StampNone ||
			len(event) != f.program.binding.event.dense || uintptr(e)&(unsafe.Alignof(f.event)-1) != 0 {
			return
		}
		st := op.Store.(*store)
		at, found := st.find(op)
		if !found {
			return
		}
		state := (*S)(at)
		c.begin(op)
		c.renew()
		f.before, f.changed = *state, state
		result := apply(c, state, *(*E)(e))
		f.changed = nil
		if c.deleted {
			f.keep(st, op, state, at, true)
		}
		if op.Sink != nil {
			deliver(op, f, result)
		}
		op.Part.Sequence++
	}
}

// fold runs the table's functions on the state of the key. A new key is not in the
// table before its Apply has returned.
func (f *tableFunctions[K, S, E, R]) fold(st *store, op *shard.Operation, replay bool) error {
	spec := f.spec
	e, err := f.decodeEvent(op.Event())
	if err != nil {
		return fmt.Errorf("keyfold: table %q: event: %w", f.program.binding.table.name, err)
	}
	f.context.begin(op)
	at, found := st.find(op)
	state := &f.scratch
	if found {
		state = (*S)(st.at(at))
	} else {
		f.fresh(spec)
	}
	if spec.Check != nil && !replay {
		if err := f.check(spec, state, e); err != nil {
			return err
		}
	}
	if err := f.save(spec, state, found); err != nil {
		return err
	}
	f.context.renew() // Check may have used it; a replay leaves it out
	result := spec.Apply(&f.context, state, *e)
	if op.Stamp == shard.StampID {
		f.answer(result)
	}
	f.changed = nil
	if !found || f.context.deleted {
		at = f.keep(st, op, state, at, found)
	}
	if f.program.run != nil && at != nil { // not st.times, which lies in a line of its own
		st.time(op, at, found)
	}
	if op.Stamp != shard.StampNone {
		st.mark(op)
	}
	if op.Sink != nil {
		deliver(op, f, result)
	}
	return nil
}

// decodeEvent returns the event, which is borrowed: one that lies in the record as it
// does in memory is not copied.
func (f *tableFunctions[K, S, E, R]) decodeEvent(encoded []byte) (*E, error) {
	c := f.program.events
	if c.dense > 0 && c.dense == len(encoded) {
		at := unsafe.Pointer(unsafe.SliceData(encoded))
		if uintptr(at)&(unsafe.Alignof(f.event)-1) == 0 {
			return (*E)(at), nil
		}
	}
	return &f.event, c.decodeValue(encoded, unsafe.Pointer(&f.event))
}

// fresh makes the state of a key that has none.
func (f *tableFunctions[K, S, E, R]) fresh(spec *Spec[K, S, E, R]) {
	var zero S
	f.scratch = zero
	if spec.Init != nil {
		spec.Init(&f.context, &f.scratch)
	}
}

// check asks the table whether it takes the event. It sees a copy where that can be
// had by copying, so that it cannot change the state.
func (f *tableFunctions[K, S, E, R]) check(spec *Spec[K, S, E, R], state *S, e *E) error {
	if f.program.binding.state.pointerFree {
		f.before = *state
		state = &f.before
	}
	return spec.Check(&f.context, state, *e)
}

// save makes ready to undo what Apply will do to a state that is in the table.
func (f *tableFunctions[K, S, E, R]) save(spec *Spec[K, S, E, R], state *S, found bool) (err error) {
	switch {
	case !found:
		return nil
	case f.program.binding.state.pointerFree:
		f.before = *state
	case spec.Clone != nil:
		f.before = spec.Clone(state)
	default:
		if f.program.encoded, err = f.program.binding.state.append(f.program.encoded[:0], unsafe.Pointer(state)); err == nil {
			var copied S
			f.before = copied
			err = f.program.binding.state.decode(f.program.encoded, unsafe.Pointer(&f.before))
		}
		if err != nil {
			return fmt.Errorf("keyfold: table %q: state: %w", f.program.binding.table.name, err)
		}
	}
	f.changed = state
	return nil
}

// undo puts back the state that a function that did not return was changing.
func (f *tableFunctions[K, S, E, R]) undo() {
	if f.changed != nil {
		*f.changed = f.before
		f.changed = nil
	}
}

// keep puts the state where it belongs after Apply, and returns its cell of the slab, or
// nil if the key is not there.
func (f *tableFunctions[K, S, E, R]) keep(st *store, op *shard.Operation, state *S, at unsafe.Pointer, found bool) unsafe.Pointer {
	f.program.moved = true
	switch deleted := f.context.deleted; {
	case deleted && found:
		st.remove(op.Hash, op.Key(), at)
	case !deleted && !found:
		at = st.slab.Insert(op.Hash, op.Key())
		*(*S)(st.place(at)) = *state
		return at
	}
	return nil
}

// deliver hands the answer of Apply to whoever waits for it.
func deliver[K comparable, S, E, R any](op *shard.Operation, f *tableFunctions[K, S, E, R], result R) {
	switch sink := op.Sink.(type) {
	case *call[K, E, R]:
		sink.value = result
	case *batchSink:
		sink.items[op.Index].(*put[K, E, R]).value = result
	}
}

// read hands a copy of the state to whoever asked, or the state itself to a View.
func (f *tableFunctions[K, S, E, R]) read(st *store, op *shard.Operation) error {
	at, found := st.find(op)
	var state *S
	if found {
		state = (*S)(st.at(at))
	}
	switch sink := op.Sink.(type) {
	case *lookup[K, S]:
		return sink.finding.take(&f.program.binding.state, f.spec.Clone, state)
	case *batchSink:
		return sink.items[op.Index].(*get[K, S]).finding.take(&f.program.binding.state, f.spec.Clone, state)
	}
	return nil
}

// react calls OnTimer or OnExpire.
func (f *tableFunctions[K, S, E, R]) react(what shard.FiringKind, at unsafe.Pointer) error {
	call, state := f.spec.OnExpire, (*S)(at)
	if what == shard.FiringTimer {
		call = f.spec.OnTimer
	}
	if call == nil {
		return nil
	}
	if err := f.save(f.spec, state, true); err != nil {
		return err
	}
	call(&f.context, state)
	f.changed = nil
	return nil
}

// repeat decodes an answer for whoever has sent an event again.
func (f *tableFunctions[K, S, E, R]) repeat(op *shard.Operation, answer []byte) bool {
	var result R
	if f.program.binding.result.decodeValue(answer, unsafe.Pointer(&result)) != nil {
		return false
	}
	deliver(op, f, result)
	return true
}

// answer encodes what Apply has answered, to be remembered.
func (f *tableFunctions[K, S, E, R]) answer(result R) {
	f.result = result // not behind a pointer to what Apply has returned: that would escape
	f.program.keepAnswer(unsafe.Pointer(&f.result))
}
