// Package slab is the memory of one partition of one table: a map from key bytes
// to a state of fixed size that the garbage collector never scans.
//
// An engine has thousands of them, most small, so a [Table] that never held a key
// costs only its own few words, memory grows in small steps, and deletes give it
// back. Entries are dense, in chunks; deleting moves the last one into the hole. A
// separate index of 32-bit words finds them:
//
//	index  one word per position: tag (hash bits) and slot + 1
//	entry  offset  size  field
//	            0     4  hash    its low 32 bits
//	            4     2  length  of the key
//	            6     n  key     inline, n = 10, 18, ... 66 for the whole table
//	            8     4  block   instead of the key when that is longer than n
//	          6+n        state   rounded up to whole words
//	block       0     4  owner   the slot of its entry
//	            4        key
//
// n follows the keys that a table has while it is small. The index uses the low 32
// bits of a hash, so whatever spreads keys over tables must use the high ones.
//
// All of it lies in an [Arena], which the tables of a store share.
//
// # Touching
//
// A lookup in a cold table waits for memory twice, once for the index and once for
// the entry. A caller with a run of lookups calls [Table.Touch] for all of them,
// then [Table.TouchEntry] for all of them, then looks them up: the waits of a run
// then overlap (BenchmarkUpdate).
package slab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"
)

// KeyBytesMax is the length of the longest key.
const KeyBytesMax = 1<<16 - 1

// slotsMax bounds the keys of a table.
const slotsMax = 1 << 31

// A Table maps keys to states. All its memory is free of pointers.
//
// A Table belongs to one goroutine. The zero Table is not usable; call [New].
type Table struct {
	index
	store
}

// New returns an empty table on the Go heap; see [Arena.New].
func New(stateBytes int) *Table { return (*Arena)(nil).New(stateBytes) }

// Touch asks for the index word at the home position of hash to be brought into
// the cache, and with it what is at beside, which can be anything that can be read. It
// changes nothing.
func (t *Table) Touch(hash uint64, beside unsafe.Pointer) {
	word := unsafe.Pointer(t.index.at(uint32(hash) & t.mask))
	prefetchBoth(word, beside)
	if t.entries.room > 1<<(t.entries.shift&31) {
		prefetch(t.entries.list()) // the next touch reads from the list
	}
}

// TouchEntry asks for the entry that hash most likely leads to, by its index word, and
// returns it for FindAt. It returns nil if no key has this hash. It changes nothing, and
// is quick when the word has been brought in by Touch.
func (t *Table) TouchEntry(hash uint64) (entry unsafe.Pointer) {
	h := uint32(hash)
	for position := h & t.mask; ; position = (position + 1) & t.mask {
		word := *t.index.at(position)
		if word == 0 {
			return nil
		}
		if t.sameTag(word, h) {
			entry = t.entries.at(t.slot(word))
			prefetchBoth(entry, unsafe.Add(entry, t.entries.stride-wordBytes))
			return entry
		}
	}
}

// FindAt is Find with what TouchEntry has returned, which spares the search. Nothing may
// have been inserted or deleted since.
func (t *Table) FindAt(entry unsafe.Pointer, hash uint64, key []byte) (state unsafe.Pointer, ok bool) {
	if entry == nil {
		return nil, false
	}
	head, n := (*header)(entry), len(key)
	if head.hash == uint32(hash) && int(head.length) == n && n >= wordBytes && n <= int(t.inline) &&
		sameWords(unsafe.Add(entry, keyStart), unsafe.Pointer(unsafe.SliceData(key)), n) {
		return t.state(entry), true // without a call: this is what happens
	}
	return t.Find(hash, key)
}

// Find returns the state of key. The pointer is 8-byte aligned and valid until the
// next Insert or Delete. It keeps nothing of key.
func (t *Table) Find(hash uint64, key []byte) (state unsafe.Pointer, ok bool) {
	h := uint32(hash)
	for position := h & t.mask; ; position = (position + 1) & t.mask {
		word := *t.index.at(position)
		if word == 0 {
			return nil, false
		}
		if t.sameTag(word, h) {
			if entry := t.entries.at(t.slot(word)); t.holds(entry, h, key) {
				return t.state(entry), true
			}
		}
	}
}

// holds reports whether key is that of the entry.
func (t *Table) holds(entry unsafe.Pointer, hash uint32, key []byte) bool {
	head := (*header)(entry)
	if head.hash != hash || int(head.length) != len(key) {
		return false
	}
	if n := len(key); n >= wordBytes && n <= int(t.inline) {
		return sameWords(unsafe.Add(entry, keyStart), unsafe.Pointer(unsafe.SliceData(key)), n)
	}
	return bytes.Equal(t.key(entry), key)
}

// sameWords compares n bytes, n at least 8, word by word and the last word first:
// for a key of a few words a call of bytes.Equal costs more than the comparison.
func sameWords(a, b unsafe.Pointer, n int) bool {
	for i := n - wordBytes; i > 0; i -= wordBytes {
		if loadWord(a, i) != loadWord(b, i) {
			return false
		}
	}
	return loadWord(a, 0) == loadWord(b, 0)
}

// loadWord loads 8 bytes, aligned or not.
func loadWord(p unsafe.Pointer, offset int) uint64 {
	return binary.LittleEndian.Uint64((*[wordBytes]byte)(unsafe.Add(p, offset))[:])
}

// Insert adds key, which must not be there yet, and returns its state, zeroed and
// 8-byte aligned. The pointer is valid until the next Insert or Delete. The key is
// copied. Insert panics if the key is longer than [KeyBytesMax].
func (t *Table) Insert(hash uint64, key []byte) (state unsafe.Pointer) {
	t.admit(key)
	t.index.place(uint32(hash), t.entries.count)
	return t.store.add(uint32(hash), key)
}

// Add is Find and, if the key is not there, Insert. It reports whether it was there,
// for one search in the index.
func (t *Table) Add(hash uint64, key []byte) (state unsafe.Pointer, found bool) {
	t.admit(key)
	position, found := t.locate(uint32(hash), key)
	if found {
		return t.state(t.entries.at(t.slot(*t.index.at(position)))), true
	}
	*t.index.at(position) = uint32(hash)&^t.mask | (t.entries.count + 1)
	return t.store.add(uint32(hash), key), false
}

// admit makes room in the index for one more key, and panics if that must not be.
func (t *Table) admit(key []byte) {
	if len(key) > KeyBytesMax || t.entries.count == slotsMax {
		panic(fmt.Sprintf("slab: insert of a key of %d bytes into a table of %d", len(key), t.entries.count))
	}
	if t.entries.count == t.limit {
		t.index.grow(&t.store)
	}
}

// Reserve makes room for keys more keys of keyBytes each, so that inserting them makes
// no step of growth. Keys of other lengths may come; those longer than keyBytes may
// take memory of their own. The room is kept until a key is deleted. Reserve does
// nothing if keys is not positive, or more than a table holds.
func (t *Table) Reserve(keys, keyBytes int) {
	if keys <= 0 || uint64(keys)+uint64(t.entries.count) > slotsMax {
		return
	}
	n := t.entries.count + uint32(keys)
	t.index.reserve(n, &t.store)
	if t.inline == 0 {
		if keyBytes > inlineMax {
			keyBytes = 0 // they get blocks of their own
		}
		t.setInline(inlineFor(keyBytes))
	}
	t.entries.reserve(t.arena, n)
}

// Delete removes key and reports whether it was there.
func (t *Table) Delete(hash uint64, key []byte) bool {
	_, ok := t.Remove(hash, key)
	return ok
}

// Remove is Delete and returns the slot that the key had. If that is less than Len now,
// the key that had the last slot has it.
func (t *Table) Remove(hash uint64, key []byte) (slot uint32, ok bool) {
	position, ok := t.locate(uint32(hash), key)
	if !ok {
		return 0, false
	}
	slot = t.slot(*t.index.at(position))
	t.index.remove(position, &t.store)
	if last := t.entries.count - 1; slot != last {
		moved := t.index.at(t.index.positionOf(t.head(last).hash, last))
		*moved = *moved&^t.mask | (slot + 1)
	}
	t.store.remove(slot)
	t.index.trim(&t.store)
	return slot, true
}

// Slot returns the slot of key: slots are numbered from 0 to Len-1, in the order of All,
// and a new key gets the last one. It is valid until the next Delete.
func (t *Table) Slot(hash uint64, key []byte) (slot uint32, ok bool) {
	position, ok := t.locate(uint32(hash), key)
	if !ok {
		return 0, false
	}
	return t.slot(*t.index.at(position)), true
}

// At returns the key and the state in a slot. Both are borrowed and valid until the next
// Insert or Delete.
func (t *Table) At(slot uint32) (key []byte, state unsafe.Pointer) {
	entry := t.entries.at(slot)
	return t.key(entry), t.state(entry)
}

// StateAt returns the state in a slot.
func (s *store) StateAt(slot uint32) unsafe.Pointer { return s.state(s.entries.at(slot)) }

// HashAt returns the low half of the hash of the key in a slot.
func (t *Table) HashAt(slot uint32) uint32 { return t.head(slot).hash }

// locate returns the position of the word of key, or the free one where it belongs.
func (t *Table) locate(hash uint32, key []byte) (position uint32, ok bool) {
	for position = hash & t.mask; ; position = (position + 1) & t.mask {
		word := *t.index.at(position)
		if word == 0 {
			return position, false
		}
		if t.sameTag(word, hash) && t.holds(t.entries.at(t.slot(word)), hash, key) {
			return position, true
		}
	}
}

// Release gives back all memory. The table is empty then, and may be used again.
func (t *Table) Release() {
	t.index.release(t.arena)
	t.releaseAll()
	*t = Table{index: emptyIndex(), store: store{stateBytes: t.stateBytes, arena: t.arena}}
}

// Len is the number of keys.
func (t *Table) Len() int { return int(t.entries.count) }

// Bytes is the memory held, in use or not.
func (t *Table) Bytes() int {
	return int(unsafe.Sizeof(*t)) + t.index.bytes() + t.store.bytes()
}

// All calls yield for every key and its state until yield returns false. Both are
// borrowed from the table, which must not be changed in the meantime; states may.
func (t *Table) All(yield func(key []byte, state unsafe.Pointer) bool) { t.store.all(yield) }
