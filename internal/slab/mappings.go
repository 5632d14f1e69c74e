package slab

import "unsafe"

// A mapping is a piece of address space.
type mapping struct {
	start unsafe.Pointer
	bytes int
}

// mappings are all pieces of address space of an arena. They outlive its Close, until
// the collector has found that no table points there any more.
type mappings struct{ all []mapping }

// add maps bytes, a multiple of regionBytes, or returns nil.
func (m *mappings) add(bytes int) unsafe.Pointer {
	start := mapMemory(bytes)
	if start != nil {
		m.all = append(m.all, mapping{start, bytes})
	}
	return start
}

// each calls f for every mapping.
func (m *mappings) each(f func(start unsafe.Pointer, bytes int)) {
	for _, piece := range m.all {
		f(piece.start, piece.bytes)
	}
}

// largeBlocks are blocks of whole regions, each a mapping of its own. The memory of
// one that is given back goes to the system at once; its address space is kept for
// the next of its size.
type largeBlocks struct {
	used  map[uintptr]int          // bytes, by address
	spare map[int][]unsafe.Pointer // by bytes
	bytes int
}

// take returns a zeroed block, or nil if there is no more memory.
func (l *largeBlocks) take(bytes int, system *mappings) unsafe.Pointer {
	var p unsafe.Pointer
	if n := len(l.spare[bytes]); n > 0 {
		p = l.spare[bytes][n-1]
		l.spare[bytes] = l.spare[bytes][:n-1]
	} else if p = system.add(bytes); p == nil {
		return nil
	}
	if l.used == nil {
		l.used, l.spare = make(map[uintptr]int), make(map[int][]unsafe.Pointer)
	}
	l.used[uintptr(p)] = bytes
	l.bytes += bytes
	return p
}

// give takes back a block. It reports whether the block is one of these.
func (l *largeBlocks) give(p unsafe.Pointer) bool {
	bytes, ok := l.used[uintptr(p)]
	if !ok {
		return false
	}
	delete(l.used, uintptr(p))
	l.spare[bytes] = append(l.spare[bytes], p)
	l.bytes -= bytes
	discardMemory(p, bytes)
	return true
}
