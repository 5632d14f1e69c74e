package engine

import (
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A program is a table bound to one shard: scratch memory for one operation at a
// time, which belongs to the shard goroutine. Of what it does, only what calls the functions
// of the table, or hands what these return to its caller, needs the types.
type program[K comparable, S, E, R any] struct {
	keeper
	spec    *Spec[K, S, E, R]
	context Context[K]
	event   E
	scratch S    // a state that is not in the table yet
	before  S    // what undo puts back
	result  R    // what Apply has answered, if that is to be remembered
	undo    *S   // the state that Apply is changing; nil: nothing to put back
	plain   bool // its events need no check, no codec and no clock, and its states no heap
}

// newProgram binds a table to a shard.
func newProgram[K comparable, S, E, R any](spec *Spec[K, S, E, R], b *binding) *program[K, S, E, R] {
	p := &program[K, S, E, R]{spec: spec}
	p.keeper = keeper{binding: b, program: p, occasion: &p.context.occasion, events: &b.event}
	p.plain = !b.times.timed() && b.state.pointerFree && b.event.dense > 0 && spec.Check == nil
	p.context.keys, p.context.timers = &b.key, spec.OnTimer != nil
	return p
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
	st := op.Store.(*store)
	switch op.Kind {
	case shard.KindRead:
		op.Err = p.read(st, op)
		return
	case shard.KindFiring:
		op.Err = st.fire(op)
	default:
		if op.Stamp != shard.StampNone && !r.Replay && st.skips(op, r.Now) {
			return
		}
		op.Err = p.fold(st, op, r.Replay)
	}
	if op.Err == nil {
		op.Part.Sequence++
	}
}

// applyPlain carries out events of a plain table, up to the first operation that wants
// more: a read, an event of a key that is not there, one that bears a stamp. It is fold
// without what such a table never asks for (BenchmarkRun).
func (p *program[K, S, E, R]) applyPlain(r *shard.Run, to int) {
	apply, c := p.spec.Apply, &p.context
	for ops := r.Ops[:to]; r.Next < len(ops); r.Next++ {
		op := &ops[r.Next]
		event := op.Event()
		e := unsafe.Pointer(unsafe.SliceData(event))
		if op.Kind != shard.KindEvent || op.Stamp != shard.StampNone ||
			len(event) != p.binding.event.dense || uintptr(e)&(unsafe.Alignof(p.event)-1) != 0 {
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
		p.before, p.undo = *state, state
		result := apply(c, state, *(*E)(e))
		p.undo = nil
		if c.deleted {
			p.keep(st, op, state, at, true)
		}
		if op.Sink != nil {
			deliver(op, p, result)
		}
		op.Part.Sequence++
	}
}

// fold runs the table's functions on the state of the key. A new key is not in the
// table before its Apply has returned.
func (p *program[K, S, E, R]) fold(st *store, op *shard.Operation, replay bool) error {
	spec := p.spec
	e, err := p.decodeEvent(op.Event())
	if err != nil {
		return fmt.Errorf("keyfold: table %q: event: %w", p.binding.table.name, err)
	}
	p.context.begin(op)
	at, found := st.find(op)
	state := &p.scratch
	if found {
		state = (*S)(st.at(at))
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
		at = p.keep(st, op, state, at, found)
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
	return &p.event, c.decodeValue(encoded, unsafe.Pointer(&p.event))
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
		if p.encoded, err = p.binding.state.append(p.encoded[:0], unsafe.Pointer(state)); err == nil {
			var copied S
			p.before = copied
			err = p.binding.state.decode(p.encoded, unsafe.Pointer(&p.before))
		}
		if err != nil {
			return fmt.Errorf("keyfold: table %q: state: %w", p.binding.table.name, err)
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
func (p *program[K, S, E, R]) keep(st *store, op *shard.Operation, state *S, at unsafe.Pointer, found bool) unsafe.Pointer {
	p.moved = true
	switch deleted := p.context.deleted; {
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
func deliver[K comparable, S, E, R any](op *shard.Operation, p *program[K, S, E, R], result R) {
	switch sink := op.Sink.(type) {
	case *call[K, E, R]:
		sink.value = result
	case *batchSink:
		sink.items[op.Index].(*put[K, E, R]).value = result
	}
}

// read hands a copy of the state to whoever asked, or the state itself to a View.
func (p *program[K, S, E, R]) read(st *store, op *shard.Operation) error {
	at, found := st.find(op)
	var state *S
	if found {
		state = (*S)(st.at(at))
	}
	switch sink := op.Sink.(type) {
	case *lookup[K, S]:
		return sink.take(&p.binding.state, p.spec.Clone, state)
	case *batchSink:
		return sink.items[op.Index].(*get[K, S]).take(&p.binding.state, p.spec.Clone, state)
	}
	return nil
}

// react calls OnTimer or OnExpire.
func (p *program[K, S, E, R]) react(what shard.FiringKind, at unsafe.Pointer) error {
	call, state := p.spec.OnExpire, (*S)(at)
	if what == shard.FiringTimer {
		call = p.spec.OnTimer
	}
	if call == nil {
		return nil
	}
	if err := p.save(p.spec, state, true); err != nil {
		return err
	}
	call(&p.context, state)
	p.undo = nil
	return nil
}

// repeat decodes an answer for whoever has sent an event again.
func (p *program[K, S, E, R]) repeat(op *shard.Operation, answer []byte) bool {
	var result R
	if p.binding.result.decodeValue(answer, unsafe.Pointer(&result)) != nil {
		return false
	}
	deliver(op, p, result)
	return true
}

// answer encodes what Apply has answered, to be remembered.
func (p *program[K, S, E, R]) answer(result R) {
	p.result = result // not behind a pointer to what Apply has returned: that would escape
	p.keepAnswer(unsafe.Pointer(&p.result))
}
