package slab

import "unsafe"

const (
	// lengthStart is where the length of the key lies in an entry, keyStart where the
	// key begins.
	lengthStart = 4
	keyStart    = 6
	// inlineMin and inlineMax bound the inline key area. It is always two bytes
	// more than a multiple of 8, so that the state behind it is aligned.
	inlineMin   = 10
	inlineMax   = 66
	inlineCount = (inlineMax-inlineMin)/wordBytes + 1
	// longPenalty is what one key outside its entry is taken to cost beside its
	// block, in bytes, when the inline area is chosen: it is a cache miss more.
	longPenalty = 32
)

// header is how every entry begins. A key that fits into the inline area lies in
// the entry from keyStart on. For a longer one block says where it lies.
type header struct {
	hash   uint32
	length uint16
	_      [2]byte
	block  uint32
}

// store holds keys and states under dense slot numbers. It knows nothing of
// hashing beyond keeping 32 bits of it for each key.
type store struct {
	inline     uint32 // bytes of the inline key area; 0 before the first key
	stateBytes uint32
	entries    vector
	long       []longKeys // by class; empty until the first long key
	arena      *Arena     // nil: the Go heap
}

// entryBytes is the size of an entry: header and key, then the state, both
// rounded up to whole words.
func entryBytes(inline, stateBytes uint32) int {
	return int(keyStart+inline) + (int(stateBytes)+wordBytes-1)&^(wordBytes-1)
}

// inlineFor returns the smallest inline area that holds a key of n bytes, or the
// largest there is.
func inlineFor(n int) uint32 {
	words := (max(n, inlineMin) - 2 + wordBytes - 1) / wordBytes
	return uint32(min(words*wordBytes+2, inlineMax))
}

// setInline fixes the layout of an empty store.
func (s *store) setInline(inline uint32) {
	s.inline = inline
	s.entries = newVector(entryBytes(inline, s.stateBytes))
}

// head returns the header of a slot in use.
func (s *store) head(slot uint32) *header { return (*header)(s.entries.at(slot)) }

// state returns the state of an entry. Without state bytes it is the entry, because
// the end of the last entry would be beyond its chunk.
func (s *store) state(entry unsafe.Pointer) unsafe.Pointer {
	if s.stateBytes == 0 {
		return entry
	}
	return unsafe.Add(entry, uintptr(keyStart+s.inline))
}

// key returns the key of an entry, borrowed.
func (s *store) key(entry unsafe.Pointer) []byte {
	h := (*header)(entry)
	n := int(h.length)
	if n <= int(s.inline) {
		return unsafe.Slice((*byte)(unsafe.Add(entry, keyStart)), n)
	}
	return s.long[classOf(n)].key(h.block, n)
}

// add appends an entry and returns its state, zeroed. While the entries lie in one
// chunk, which growing copies anyway, it fits the inline area to the keys so far.
func (s *store) add(hash uint32, key []byte) unsafe.Pointer {
	if s.inline == 0 {
		s.setInline(inlineFor(len(key)))
	}
	if s.entries.count == s.entries.room && len(s.entries.chunks) == 1 {
		s.adapt()
	}
	return s.put(hash, key)
}

// put appends an entry in the present layout.
func (s *store) put(hash uint32, key []byte) unsafe.Pointer {
	entry := s.entries.push(s.arena)
	h := (*header)(entry)
	h.hash, h.length = hash, uint16(len(key))
	if len(key) <= int(s.inline) {
		rest := unsafe.Slice((*byte)(unsafe.Add(entry, keyStart)), s.entries.stride-keyStart)
		clear(rest[copy(rest, key):])
	} else {
		clearMemory(unsafe.Add(entry, keyStart), int(s.entries.stride)-keyStart)
		h.block = s.addLong(key, s.entries.count-1)
	}
	return s.state(entry)
}

// remove drops a slot by moving the last entry into it. The index must be told
// first.
func (s *store) remove(slot uint32) {
	if h := s.head(slot); uint32(h.length) > s.inline {
		s.removeLong(int(h.length), h.block)
	}
	if last := s.entries.count - 1; slot != last {
		copyMemory(s.entries.at(slot), s.entries.at(last), int(s.entries.stride))
		if h := s.head(slot); uint32(h.length) > s.inline {
			s.long[classOf(int(h.length))].setOwner(h.block, slot)
		}
	}
	s.entries.pop(s.arena)
}

// adapt moves everything into the layout that suits the present keys best. Slots
// stay as they are.
func (s *store) adapt() {
	best := s.bestInline()
	if best == s.inline {
		return
	}
	next := store{stateBytes: s.stateBytes, arena: s.arena}
	next.setInline(best)
	for slot := range s.entries.count {
		entry := s.entries.at(slot)
		to := next.put((*header)(entry).hash, s.key(entry))
		copyMemory(to, s.state(entry), int(s.stateBytes))
	}
	s.releaseAll()
	*s = next
}

// bestInline returns the inline area for which the present keys cost least.
func (s *store) bestInline() uint32 {
	var long [inlineCount]int // what keys cost that would be long, per choice
	for slot := range s.entries.count {
		n := int(s.head(slot).length)
		for i := 0; i < inlineCount && n > inlineMin+i*wordBytes; i++ {
			long[i] += classBytes(classOf(n)) + longPenalty
		}
	}
	best := 0
	for i := range long {
		long[i] += i * wordBytes * int(s.entries.count)
		if long[i] < long[best] {
			best = i
		}
	}
	return uint32(inlineMin + best*wordBytes)
}

// all calls yield for every entry in slot order until it returns false.
func (s *store) all(yield func(key []byte, state unsafe.Pointer) bool) {
	for slot := range s.entries.count {
		entry := s.entries.at(slot)
		if !yield(s.key(entry), s.state(entry)) {
			return
		}
	}
}

// bytes is the memory held.
func (s *store) bytes() int {
	total := s.entries.bytes() + cap(s.long)*int(unsafe.Sizeof(longKeys{}))
	for i := range s.long {
		total += s.long[i].blocks.bytes()
	}
	return total
}

// releaseAll gives back all memory.
func (s *store) releaseAll() {
	s.entries.releaseAll(s.arena)
	for i := range s.long {
		s.long[i].blocks.releaseAll(s.arena)
	}
}
