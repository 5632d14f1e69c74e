package engine

import (
	"reflect"
	"unsafe"
)

// A heap holds states with pointers, which the garbage collector must see: in memory that was
// made as a slice of their type. Places of states that were dropped are used again.
type heap struct {
	states      unsafe.Pointer // the first
	stateBytes  uintptr
	count, room uint32
	free        []cell
}

// heapGrowth is how many states there are before a heap grows by less than it has.
const heapGrowth = 256

// at is the state in a place.
func (h *heap) at(c cell) unsafe.Pointer { return unsafe.Add(h.states, uintptr(c)*h.stateBytes) }

// take returns a place for a state of a type, with the zero state in it. States that were
// looked up before may be elsewhere then.
func (h *heap) take(of reflect.Type) cell {
	if n := len(h.free); n > 0 {
		c := h.free[n-1]
		h.free = h.free[:n-1]
		return c
	}
	if h.count == h.room {
		h.grow(of)
	}
	h.count++
	return cell(h.count - 1)
}

func (h *heap) grow(of reflect.Type) {
	room := int(max(1, 2*h.room))
	if h.room > heapGrowth {
		room = int(h.room + h.room/4 + heapGrowth)
	}
	states := reflect.MakeSlice(reflect.SliceOf(of), room, room)
	if h.count > 0 {
		reflect.Copy(states, reflect.SliceAt(of, h.states, int(h.count)))
	}
	h.states, h.stateBytes, h.room = states.UnsafePointer(), of.Size(), uint32(room)
}

// drop forgets the state in a place. When the last one has gone, so has all memory.
func (h *heap) drop(of reflect.Type, c cell) {
	reflect.NewAt(of, h.at(c)).Elem().SetZero()
	h.free = append(h.free, c)
	if len(h.free) == int(h.count) {
		*h = heap{}
	}
}

func (h *heap) bytes() int {
	return int(h.room)*int(h.stateBytes) + cap(h.free)*int(unsafe.Sizeof(cell(0)))
}
