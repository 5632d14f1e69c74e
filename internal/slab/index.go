package slab

import "unsafe"

const (
	// indexWordsMin is the size of the smallest index that is allocated.
	indexWordsMin = 8
	indexWord     = 4
)

// none is the index of every table that never had a key.
var none [2]uint32

// index finds slots by hash: a power of two of words, open addressing, linear
// probing. A word is zero when free. Else its low bits, as many as it takes to
// number the words, are the slot plus one, and the others are those of the hash:
// together with the home position a word therefore knows all 32 bits.
//
// Invariant: between the home position of a slot and its word no word is free, and
// at least one word in five is free.
type index struct {
	words unsafe.Pointer
	mask  uint32 // words - 1
	limit uint32 // slots that may be in it
}

// emptyIndex returns an index without memory of its own.
func emptyIndex() index { return index{words: unsafe.Pointer(&none)} }

// newIndex returns a free index of a power of two of words.
func newIndex(words uint64, a *Arena) index {
	bytes := int(words) * indexWord
	p := a.allocate(bytes)
	if bytes <= regionBytes/2 { // a larger block is zero, and need not be touched yet
		clearMemory(p, bytes)
	}
	return index{
		words: p,
		mask:  uint32(words - 1),
		limit: uint32(words * 4 / 5),
	}
}

// at returns the word at a position.
func (x *index) at(position uint32) *uint32 {
	return (*uint32)(unsafe.Add(x.words, uintptr(position)*indexWord))
}

// sameTag reports whether word could be that of hash.
func (x *index) sameTag(word, hash uint32) bool { return (word^hash)&^x.mask == 0 }

// slot returns the slot of a word that is not free.
func (x *index) slot(word uint32) uint32 { return word&x.mask - 1 }

// place puts slot at the first free position.
func (x *index) place(hash, slot uint32) {
	position := hash & x.mask
	for *x.at(position) != 0 {
		position = (position + 1) & x.mask
	}
	*x.at(position) = hash&^x.mask | (slot + 1)
}

// positionOf returns where the word of slot is, which must be there.
func (x *index) positionOf(hash, slot uint32) uint32 {
	position := hash & x.mask
	for x.slot(*x.at(position)) != slot {
		position = (position + 1) & x.mask
	}
	return position
}

// remove frees a position and moves back the words behind it that a probe would
// no longer reach.
func (x *index) remove(position uint32, s *store) {
	hole := position
	for {
		position = (position + 1) & x.mask
		word := *x.at(position)
		if word == 0 {
			break
		}
		home := s.head(x.slot(word)).hash & x.mask
		if (position-home)&x.mask >= (position-hole)&x.mask {
			*x.at(hole) = word
			hole = position
		}
	}
	*x.at(hole) = 0
}

// resize replaces x by an index of so many words over the same store. The keys
// are not read.
func (x *index) resize(words uint64, s *store) {
	next := newIndex(words, s.arena)
	for slot := range s.entries.count {
		next.place(s.head(slot).hash, slot)
	}
	x.release(s.arena)
	*x = next
}

// reserve makes room for n slots.
func (x *index) reserve(n uint32, s *store) {
	words := uint64(indexWordsMin)
	for words*4/5 < uint64(n) {
		words *= 2
	}
	if n > x.limit {
		x.resize(words, s)
	}
}

// grow makes room for one more slot.
func (x *index) grow(s *store) {
	words := uint64(indexWordsMin)
	if x.limit > 0 {
		words = (uint64(x.mask) + 1) * 2
	}
	x.resize(words, s)
}

// trim halves the index when four words in five are free.
func (x *index) trim(s *store) {
	words := uint64(x.mask) + 1
	if words > indexWordsMin && uint64(s.entries.count)*5 < words {
		x.resize(words/2, s)
	}
}

// bytes is the memory held.
func (x *index) bytes() int {
	if x.limit == 0 {
		return 0
	}
	return blockBytes((int(x.mask) + 1) * indexWord)
}

// release gives back the memory.
func (x *index) release(a *Arena) {
	if x.limit > 0 {
		a.release(x.words, x.bytes())
	}
}
