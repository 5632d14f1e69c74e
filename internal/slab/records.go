package slab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"unsafe"
)

// Records are entries as they lie in memory, one after the other, each as long as the
// others: what a snapshot holds of a table whose states may be copied as they are. The
// hash is in them, so that a table is made of them without hashing a key again.
//
// Invariant: what lies behind the key, and behind the state, is zero.

// ErrRecords says that bytes are not records of a table.
var ErrRecords = errors.New("slab: these are not records of the table")

// littleEndian says that integers lie in memory as they lie in a file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Records is the image as records of stride bytes each, borrowed. It is not ok if the
// image holds a key that does not lie in its entry, or if the machine would not write
// what others read.
func (img *Image) Records() (data []byte, stride int, ok bool) {
	for i := range img.long {
		if img.long[i].blocks.count > 0 {
			return nil, 0, false
		}
	}
	n := img.entries.usedBytes()
	return unsafe.Slice((*byte)(img.entries.first), n), int(img.entries.stride), littleEndian
}

// recordInline finds out how many bytes the key area of n records in data has.
func recordInline(n int, data []byte, stateBytes uint32) (inline uint32, err error) {
	if n <= 0 || len(data)%n != 0 {
		return 0, fmt.Errorf("%w: %d of them in %d bytes", ErrRecords, n, len(data))
	}
	area := len(data)/n - entryBytes(0, stateBytes)
	if area < inlineMin || area > inlineMax || inlineFor(area) != uint32(area) {
		return 0, fmt.Errorf("%w: one of %d bytes, with a state of %d", ErrRecords, len(data)/n, stateBytes)
	}
	return uint32(area), nil
}

// AddRecords adds the keys and states of n records, none of which may be there yet. It
// is not ok, and nothing has changed, if they do not have the layout of the keys that
// are there: then they must be added one by one. After an error the table is of no use.
func (t *Table) AddRecords(n int, data []byte) (ok bool, err error) {
	inline, err := recordInline(n, data, t.stateBytes)
	if err != nil {
		return false, err
	}
	if !littleEndian || t.inline != inline && t.entries.room > 0 || uint64(n)+uint64(t.entries.count) > slotsMax {
		return false, nil
	}
	if t.entries.room == 0 {
		t.setInline(inline)
	}
	t.index.reserve(t.entries.count+uint32(n), &t.store)
	t.entries.reserve(t.arena, t.entries.count+uint32(n))
	for len(data) > 0 {
		from := t.entries.count
		data = data[t.entries.fill(data):]
		if err := t.indexFrom(from); err != nil {
			return false, err
		}
	}
	return true, nil
}

// indexFrom makes the entries from slot on known to the index.
func (t *Table) indexFrom(slot uint32) error {
	for ; slot < t.entries.count; slot++ {
		h := t.head(slot)
		if uint32(h.length) > t.inline {
			return fmt.Errorf("%w: a key of %d bytes in %d", ErrRecords, h.length, t.inline)
		}
		position := h.hash & t.mask
		for word := *t.index.at(position); word != 0; word = *t.index.at(position) {
			if t.sameTag(word, h.hash) && t.holds(t.entries.at(t.slot(word)), h.hash, t.key((unsafe.Pointer)(h))) {
				return fmt.Errorf("%w: a key is there twice", ErrRecords)
			}
			position = (position + 1) & t.mask
		}
		*t.index.at(position) = h.hash&^t.mask | (slot + 1)
	}
	return nil
}

// EachRecord gives the keys and states of n records with states of stateBytes, borrowed
// from data, to yield.
func EachRecord(n int, data []byte, stateBytes int) (iter.Seq2[[]byte, []byte], error) {
	inline, err := recordInline(n, data, uint32(stateBytes))
	if err != nil {
		return nil, err
	}
	stride, state := len(data)/n, keyStart+int(inline)
	for at := 0; at < len(data); at += stride {
		if length := binary.LittleEndian.Uint16(data[at+lengthStart:]); uint32(length) > inline {
			return nil, fmt.Errorf("%w: a key of %d bytes in %d", ErrRecords, length, inline)
		}
	}
	return func(yield func(key, state []byte) bool) {
		for ; len(data) > 0; data = data[stride:] {
			length := int(binary.LittleEndian.Uint16(data[lengthStart:]))
			if !yield(data[keyStart:keyStart+length], data[state:state+stateBytes]) {
				return
			}
		}
	}, nil
}
