package engine

import (
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A store is the state of one partition. The slab holds states without pointers as
// they are. Of states with pointers it holds the place in heap.
type store struct {
	program *program
	slab    slab.Table // not behind a pointer: one cache miss less for each event
	heap    heap
	times   *times             // nil: the table has neither timers nor deadlines
	extras  *extras            // nil: there are none
	_       [storePadding]byte // to whole cache lines: what a lookup reads is in the first
}

// storePadding makes the size of a store three cache lines. The allocator then puts each
// at the beginning of one, and their beginnings do not all fall into the same sets.
const storePadding = 3*64 - unsafe.Sizeof(unlined{})

// unlined is a store without its padding.
type unlined struct {
	_ unsafe.Pointer // program
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
	if st.program.binding.table.hidden {
		return 0
	}
	return st.slab.Len()
}

// Bytes is the memory held, for keys of the user's.
func (st *store) Bytes() int {
	if st.program.binding.table.hidden {
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
func (st *store) Rebind(to shard.Program) { st.program = to.(*program) }

// find returns the cell of the key of an operation that was touched.
func (st *store) find(op *shard.Operation) (cell unsafe.Pointer, found bool) {
	if st.program.moved {
		return st.slab.Find(op.Hash, op.Key())
	}
	return st.slab.FindAt(op.Touched, op.Hash, op.Key())
}

// at returns the state behind a cell of the slab.
func (st *store) at(p unsafe.Pointer) unsafe.Pointer {
	if st.program.binding.state.pointerFree {
		return p
	}
	return st.heap.at(*(*cell)(p))
}

// place returns where the state of a new key belongs, given its cell of the slab. A zero state
// is there.
func (st *store) place(p unsafe.Pointer) unsafe.Pointer {
	state := &st.program.binding.state
	if state.pointerFree {
		return p
	}
	c := st.heap.take(state.typ)
	*(*cell)(p) = c
	return st.heap.at(c)
}

// remove removes the key of a cell.
func (st *store) remove(hash uint64, key []byte, at unsafe.Pointer) {
	if state := &st.program.binding.state; !state.pointerFree {
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
