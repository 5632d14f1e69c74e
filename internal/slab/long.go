package slab

import (
	"math/bits"
	"unsafe"
)

const (
	// ownerBytes is what a block begins with: the slot of the entry it belongs to.
	ownerBytes = 4
	// fineBytes is the size of blocks up to which the classes are fineStep apart.
	// Above it there are eight classes to a doubling.
	fineBytes   = 1024
	fineStep    = 16
	fineClasses = fineBytes / fineStep
)

// longKeys holds the keys of one size class that do not fit into their entries, in
// dense blocks. A block knows the slot it belongs to, so that the last one can be
// moved into a hole: there are no free lists, and memory comes back as keys go.
//
// Invariant: the entry named by the owner of block b is long, of this class, and
// names b.
type longKeys struct {
	blocks vector
}

// classOf is the class of a key of n bytes.
func classOf(n int) int {
	size := n + ownerBytes
	if size <= fineBytes {
		return (size - 1) / fineStep
	}
	top := bits.Len(uint(size-1)) - 1 // fineBytes < size, so top is at least 10
	eighth := (size - 1) >> (top - 3) & 7
	return fineClasses + (top-10)*8 + eighth
}

// classBytes is the size of a block of a class.
func classBytes(class int) int {
	if class < fineClasses {
		return (class + 1) * fineStep
	}
	top, eighth := (class-fineClasses)/8+10, (class-fineClasses)%8
	return (8 + eighth + 1) << (top - 3)
}

// key returns the key of n bytes in block b, borrowed.
func (l *longKeys) key(b uint32, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(l.blocks.at(b), ownerBytes)), n)
}

// owner is the slot that block b belongs to.
func (l *longKeys) owner(b uint32) uint32 { return *(*uint32)(l.blocks.at(b)) }

// setOwner tells block b that its entry is in another slot now.
func (l *longKeys) setOwner(b, slot uint32) { *(*uint32)(l.blocks.at(b)) = slot }

// addLong keeps a key for the entry in slot and returns its block.
func (s *store) addLong(key []byte, slot uint32) uint32 {
	class := classOf(len(key))
	for len(s.long) <= class {
		s.long = append(s.long, longKeys{blocks: newVector(classBytes(len(s.long)))})
	}
	l := &s.long[class]
	l.blocks.push(s.arena)
	b := l.blocks.count - 1
	l.setOwner(b, slot)
	copy(l.key(b, len(key)), key)
	return b
}

// removeLong drops block b of a key of n bytes. The last block of the class moves
// into it.
func (s *store) removeLong(n int, b uint32) {
	l := &s.long[classOf(n)]
	if last := l.blocks.count - 1; b != last {
		copyMemory(l.blocks.at(b), l.blocks.at(last), int(l.blocks.stride))
		s.head(l.owner(b)).block = b
	}
	l.blocks.pop(s.arena)
}
