package engine

import (
	"unsafe"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/shard"
)

// A program is a table bound to one shard. It belongs to the shard goroutine. It knows no
// types: what needs them is left to the functions.
type program struct {
	binding   *binding
	functions functions
	occasion  *occasion // of their context
	encoded   []byte
	answered  recent.Answer // of the event that Apply has done, if it is to be remembered
	run       *shard.Run    // that is being carried out, if the table is timed
	moved     bool          // a key was inserted or deleted since entries were touched

	events  *codec   // of the events that are applied: the table's, unless older ones are replayed
	lifting *lifting // of the states that are loaded; nil: they are as they should be
}

// functions are those of a table as its program calls them, whatever their types are.
type functions interface {
	// apply carries out operations of a run.
	apply(r *shard.Run, to int)
	// undo puts back the state that a function that did not return was changing.
	undo()
	// react calls what the table has for something that is due of a key, if anything. After an
	// error the state is as before.
	react(what shard.FiringKind, state unsafe.Pointer) error
	// repeat gives the caller of an operation the encoded answer, and says whether it can.
	repeat(op *shard.Operation, answer []byte) bool
}

// NewStore makes the empty state of one partition.
func (p *program) NewStore() shard.Store {
	st := &store{program: p, slab: *p.binding.engine.memory.New(p.binding.cellBytes())}
	if p.binding.times.timed() {
		st.times = &times{form: &p.binding.times, slab: &st.slab}
	}
	return st
}

// Touch asks for the index words of operations.
func (p *program) Touch(ops []shard.Operation) {
	for i := range ops {
		ops[i].Store.(*store).slab.Touch(ops[i].Hash, unsafe.Pointer(ops[i].Part))
	}
}

// TouchEntries asks for the entries that the index words lead to.
func (p *program) TouchEntries(ops []shard.Operation) {
	for i := range ops {
		ops[i].Touched = ops[i].Store.(*store).slab.TouchEntry(ops[i].Hash)
	}
	p.moved = false
}

// Apply carries out operations of a run.
func (p *program) Apply(r *shard.Run, to int) {
	p.beginTime(r)
	p.functions.apply(r, to)
}

// Undo puts back the state that an Apply that did not return was changing.
func (p *program) Undo() { p.functions.undo() }
