package slab

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

// An Arena is the memory that the tables of a store share. On Linux it lies outside
// the Go heap, in regions for which the system is asked to use huge pages: a lookup in
// a large table then misses the cache, but not the translation of addresses as well
// (BenchmarkUpdate). The collector does not count it for its pace, and GOMEMLIMIT does
// not see it. Elsewhere, under the race detector, and where the system gives no more,
// blocks are of the Go heap.
//
// Memory of the process that no table uses is at most half of what tables use and
// 8 MiB, or on its way there, a region with each block given back. Close gives back
// all of it; so does, later, the collector, when neither the arena nor a table of it
// can be reached. Pointers to states do not keep it.
//
// An Arena is safe for concurrent use: its tables may belong to different goroutines.
// A nil *Arena takes all memory from the Go heap.
type Arena struct {
	mu      sync.Mutex // guards all below
	regions regions
	carver  carver
	large   largeBlocks
	system  *mappings
	closed  bool
}

// NewArena returns an arena that holds no memory yet.
func NewArena() *Arena {
	a := &Arena{system: new(mappings)}
	runtime.AddCleanup(a, func(m *mappings) { m.each(unmapMemory) }, a.system)
	return a
}

// New returns an empty table with states of stateBytes, which may be 0. It panics if
// stateBytes is negative.
func (a *Arena) New(stateBytes int) *Table {
	if stateBytes < 0 {
		panic(fmt.Sprintf("slab: state of %d bytes", stateBytes))
	}
	alone := &lineTable{Table: Table{index: emptyIndex(), store: store{stateBytes: uint32(stateBytes), arena: a}}}
	return &alone.Table
}

// lineTable makes the allocator put the beginning of a table at that of a cache line.
type lineTable struct {
	Table
	_ [128 - unsafe.Sizeof(Table{})]byte
}

// Close gives all memory back to the system. No table of the arena may be used any
// more. A second Close does nothing.
func (a *Arena) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	a.regions, a.carver, a.large = regions{}, carver{}, largeBlocks{}
	a.system.each(discardMemory)
	if poison {
		a.system.each(forbidMemory)
	}
}

// Used is how many bytes tables use outside the Go heap. Held is how many the process
// has for them at most; a system that is short of huge pages gives it fewer.
func (a *Arena) Used() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.regions.used*pageBytes + a.large.bytes
}

// Held is how many bytes of memory the arena keeps the process from giving back. They
// are at least those of Used.
func (a *Arena) Held() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.regions.kept*pageBytes + a.large.bytes
}

// blockBytes is how large the block is that allocate returns for so many bytes.
func blockBytes(bytes int) int {
	switch {
	case bytes <= carvedMax:
		return carvedMin << carvedClass(bytes)
	case bytes <= regionBytes/2:
		return (bytes + pageBytes - 1) &^ (pageBytes - 1)
	default:
		return (bytes + regionBytes - 1) &^ (regionBytes - 1)
	}
}

// allocate returns a block for bytes, which is as large as blockBytes says, 32-byte
// aligned and without pointers for the collector. What is in it is zero or left over.
// Together with release it is the only source of memory for entries, keys and indexes.
func (a *Arena) allocate(bytes int) unsafe.Pointer {
	if a != nil {
		a.mu.Lock()
		p := a.take(blockBytes(bytes))
		a.mu.Unlock()
		if p != nil {
			return p
		}
	}
	return heapBlock(blockBytes(bytes))
}

// take returns a block of the system's memory, or nil. The arena is locked.
func (a *Arena) take(bytes int) unsafe.Pointer {
	switch {
	case a.closed:
		return nil
	case bytes <= carvedMax:
		return a.carver.take(bytes, &a.regions, a.system)
	case bytes <= regionBytes/2:
		return a.regions.take(bytes/pageBytes, a.system)
	default:
		return a.large.take(bytes, a.system)
	}
}

// release gives back what allocate returned for the same number of bytes. A block of
// the Go heap is the collector's.
func (a *Arena) release(p unsafe.Pointer, bytes int) {
	bytes = blockBytes(bytes)
	if poison {
		poisonMemory(p, bytes)
	}
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.large.give(p) {
		return
	}
	r, page := a.regions.find(p)
	switch {
	case r == nil: // of the Go heap
	case bytes <= carvedMax:
		a.carver.give(r, page, p, &a.regions)
	default:
		a.regions.give(r, page, bytes/pageBytes)
	}
}
