package engine

import (
	"unsafe"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A keeper is what a program does without the types of its table: it keeps keys and states,
// their times, and what stamps say, for the stores of one shard. It belongs to the shard
// goroutine.
type keeper struct {
	binding  *binding
	program  tableProgram
	occasion *occasion // of the program's context
	encoded  []byte
	answered recent.Answer // of the event that Apply has done, if it is to be remembered
	run      *shard.Run    // that is being carried out, if the table is timed
	moved    bool          // a key was inserted or deleted since entries were touched

	events  *codec   // of the events that are applied: the table's, unless older ones are replayed
	lifting *lifting // of the states that are loaded; nil: they are as they should be
}

// A tableProgram is a program, of whatever types.
type tableProgram interface {
	shard.Program
	keeps() *keeper
	// react calls the function of the table for what is due of a key, if there is one. After
	// an error the state is as before.
	react(what shard.FiringKind, state unsafe.Pointer) error
	// repeat gives the caller of an operation the encoded answer, and says whether it can.
	repeat(op *shard.Operation, answer []byte) bool
}

// NewStore makes the empty state of one partition.
func (k *keeper) NewStore() shard.Store {
	st := &store{keeper: k, slab: *k.binding.engine.memory.New(k.binding.cellBytes())}
	if k.binding.times.timed() {
		st.times = &times{form: &k.binding.times, slab: &st.slab}
	}
	return st
}

// Touch asks for the index words of operations.
func (k *keeper) Touch(ops []shard.Operation) {
	for i := range ops {
		ops[i].Store.(*store).slab.Touch(ops[i].Hash, unsafe.Pointer(ops[i].Part))
	}
}

// TouchEntries asks for the entries that the index words lead to.
func (k *keeper) TouchEntries(ops []shard.Operation) {
	for i := range ops {
		ops[i].Touched = ops[i].Store.(*store).slab.TouchEntry(ops[i].Hash)
	}
	k.moved = false
}

// keeps is the keeper of a program.
func (k *keeper) keeps() *keeper { return k }

// A store is the state of one partition. The slab holds states without pointers as
// they are. Of states with pointers it holds the place in heap.
type store struct {
	keeper *keeper
	slab   slab.Table // not behind a pointer: one cache miss less for each event
	heap   heap
	times  *times             // nil: the table has neither timers nor deadlines
	extras *extras            // nil: there are none
	_      [storePadding]byte // to whole cache lines: what a lookup reads is in the first
}

// storePadding makes the size of a store three cache lines. The allocator then puts each
// at the beginning of one, and their beginnings do not all fall into the same sets.
const storePadding = 3*64 - unsafe.Sizeof(unlined{})

// unlined is a store without its padding.
type unlined struct {
	_ unsafe.Pointer // keeper
	_ slab.Table
	_ heap
	_ unsafe.Pointer // times
	_ unsafe.Pointer // extras
}

// cell is what the slab holds of a state with pointers.
type cell uint64

// Empty says whether there are no keys.
func (st *store) Empty() bool { return st.slab.Len() == 0 }

// Len is the number of keys of the user's.
func (st *store) Len() int {
	if st.keeper.binding.table.hidden {
		return 0
	}
	return st.slab.Len()
}

// Bytes is the memory held, for keys of the user's.
func (st *store) Bytes() int {
	if st.keeper.binding.table.hidden {
		return 0
	}
	return st.slab.Bytes() + st.heap.bytes() + st.times.bytes() + st.extras.bytes()
}

// Drop gives back the memory of a store that nobody will use any more.
func (st *store) Drop() {
	st.slab.Release()
	st.heap, st.extras = heap{}, nil
	if st.times != nil {
		st.times.queue = nil
	}
}

// Rebind moves the store to another shard.
func (st *store) Rebind(to shard.Program) { st.keeper = to.(tableProgram).keeps() }

// find returns the cell of the key of an operation that was touched.
func (st *store) find(op *shard.Operation) (cell unsafe.Pointer, found bool) {
	if st.keeper.moved {
		return st.slab.Find(op.Hash, op.Key())
	}
	return st.slab.FindAt(op.Touched, op.Hash, op.Key())
}

// at returns the state behind a cell of the slab.
func (st *store) at(p unsafe.Pointer) unsafe.Pointer {
	if st.keeper.binding.state.pointerFree {
		return p
	}
	return st.heap.at(*(*cell)(p))
}

// place returns where the state of a new key belongs, given its cell of the slab. A zero state
// is there.
func (st *store) place(p unsafe.Pointer) unsafe.Pointer {
	state := &st.keeper.binding.state
	if state.pointerFree {
		return p
	}
	c := st.heap.take(state.typ)
	*(*cell)(p) = c
	return st.heap.at(c)
}

// remove removes the key of a cell.
func (st *store) remove(hash uint64, key []byte, at unsafe.Pointer) {
	if state := &st.keeper.binding.state; !state.pointerFree {
		st.heap.drop(state.typ, *(*cell)(at))
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
