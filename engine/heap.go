package engine

import "unsafe"

// A heap holds states with pointers, which the garbage collector must see. Places of
// states that were dropped are used again.
type heap[S any] struct {
	states []S
	free   []cell
}

func (h *heap[S]) at(c cell) *S { return &h.states[c] }

// put keeps a copy of s and returns its place.
func (h *heap[S]) put(s *S) cell {
	if n := len(h.free); n > 0 {
		c := h.free[n-1]
		h.free = h.free[:n-1]
		h.states[c] = *s
		return c
	}
	h.states = append(h.states, *s)
	return cell(len(h.states) - 1)
}

// drop forgets the state at c. When the last one has gone, so has all memory.
func (h *heap[S]) drop(c cell) {
	var zero S
	h.states[c] = zero
	h.free = append(h.free, c)
	if len(h.free) == len(h.states) {
		h.states, h.free = nil, nil
	}
}

func (h *heap[S]) bytes() int {
	var zero S
	return cap(h.states)*int(unsafe.Sizeof(zero)) + cap(h.free)*int(unsafe.Sizeof(cell(0)))
}
