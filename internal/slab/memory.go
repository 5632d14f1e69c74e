package slab

import "unsafe"

// wordBytes is the alignment of everything in an entry, and the unit of the Go heap's
// blocks.
const wordBytes = 8

// poison makes every block that is given back unreadable: it is filled with
// poisonByte, and a closed arena faults. The tests of this package set it, and builds
// for the race detector begin with it, so that the tests of all others run with it.
var poison = poisonDefault

// poisonByte is what nobody would take for a state.
const poisonByte = 0xdb

// heapBlock returns zeroed memory of the Go heap that the collector does not look
// into. It is given back by forgetting it.
func heapBlock(bytes int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (bytes+wordBytes-1)/wordBytes)))
}

// copyMemory copies bytes from one block to another, or within one record.
func copyMemory(to, from unsafe.Pointer, bytes int) {
	copy(unsafe.Slice((*byte)(to), bytes), unsafe.Slice((*byte)(from), bytes))
}

// clearMemory zeroes bytes.
func clearMemory(p unsafe.Pointer, bytes int) { clear(unsafe.Slice((*byte)(p), bytes)) }

// poisonMemory overwrites bytes that nobody may read any more.
func poisonMemory(p unsafe.Pointer, bytes int) {
	block := unsafe.Slice((*byte)(p), bytes)
	block[0] = poisonByte
	for n := 1; n < bytes; n *= 2 {
		copy(block[n:], block[:n])
	}
}
