package slab

import "unsafe"

// wordBytes is the alignment of everything in the slab, and the unit it is
// allocated in.
const wordBytes = 8

// allocate returns at least bytes of zeroed memory, 8-byte aligned and without
// pointers, so that the garbage collector never looks into it. Together with
// release it is the only source of memory for entries, keys and indexes.
func allocate(bytes int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (bytes+wordBytes-1)/wordBytes)))
}

// release gives back what allocate returned for the same number of bytes. On the
// Go heap the collector does that once the last pointer is gone.
func release(unsafe.Pointer, int) {}

// copyMemory copies bytes from one allocation to another, or within one record.
func copyMemory(to, from unsafe.Pointer, bytes int) {
	copy(unsafe.Slice((*byte)(to), bytes), unsafe.Slice((*byte)(from), bytes))
}
