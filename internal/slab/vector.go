package slab

import (
	"math/bits"
	"unsafe"
)

const (
	// chunkBytes bounds a chunk of more than one record. A full chunk is between
	// half of it and all of it: larger chunks leave more slack in a table of a few
	// thousand keys, smaller ones make the list of chunks long.
	chunkBytes = 16 << 10
	// roomMin is how many records the first chunk begins with.
	roomMin = 4
)

// vector is a dense array of records of one size. It lies in chunks, so that
// growing copies at most one of them. All chunks but the last have room for a
// power of two of records; the last begins small and grows in steps.
//
// The zero vector is not usable; see newVector.
type vector struct {
	chunks []unsafe.Pointer
	count  uint32 // records in use
	room   uint32 // records that fit into the chunks
	stride uint32 // bytes of a record, a multiple of 8
	shift  uint32 // log2 of the records of a full chunk
}

// newVector returns an empty vector that holds no memory.
func newVector(stride int) vector {
	per := max(1, chunkBytes/stride)
	return vector{stride: uint32(stride), shift: uint32(bits.Len(uint(per)) - 1)}
}

// at returns record i, which must be below count.
func (v *vector) at(i uint32) unsafe.Pointer {
	shift := v.shift & 31
	return unsafe.Add(v.chunks[i>>shift], uintptr(i&(1<<shift-1))*uintptr(v.stride))
}

// push appends a record and returns it. Its bytes are those of an earlier record
// or zero.
func (v *vector) push() unsafe.Pointer {
	if v.count == v.room {
		v.grow()
	}
	v.count++
	return v.at(v.count - 1)
}

// pop drops the last record, and memory that is not worth keeping.
func (v *vector) pop() {
	v.count--
	v.trim()
}

// per is how many records a full chunk has.
func (v *vector) per() uint32 { return 1 << v.shift }

// lastRoom is how many records fit into the last chunk.
func (v *vector) lastRoom() uint32 {
	return v.room - uint32(len(v.chunks)-1)<<v.shift
}

// grow makes room for at least one more record, in the last chunk if that is not
// full-sized yet, else in a new one.
func (v *vector) grow() {
	per := v.per()
	step := max(1, per/4)
	switch n := len(v.chunks); {
	case n == 0:
		v.addChunk(min(roomMin, per))
	case v.lastRoom() == per:
		v.addChunk(step)
	case v.lastRoom() < step:
		v.resizeLast(min(v.lastRoom()*2, per))
	default:
		v.resizeLast(min(v.lastRoom()+step, per))
	}
}

// addChunk appends a chunk with room for n records.
func (v *vector) addChunk(n uint32) {
	v.chunks = append(v.chunks, allocate(v.recordBytes(n)))
	v.room += n
}

// resizeLast moves the last chunk into one with room for n records, which must be
// enough for those in use.
func (v *vector) resizeLast(n uint32) {
	last := len(v.chunks) - 1
	before := v.lastRoom()
	inUse := v.count - uint32(last)<<v.shift
	old, chunk := v.chunks[last], allocate(v.recordBytes(n))
	copyMemory(chunk, old, v.recordBytes(inUse))
	v.chunks[last] = chunk
	v.room += n - before
	release(old, v.recordBytes(before))
}

// trim gives back the last chunk when it is empty and half of the one before it
// is too, or halves the only chunk when three quarters of it are empty. The
// distance to the next grow keeps a table that breathes from allocating.
func (v *vector) trim() {
	last := uint32(len(v.chunks) - 1)
	switch {
	case last > 0 && v.count+max(1, v.per()/2) <= last<<v.shift:
		v.dropLast()
	case last == 0 && v.room > roomMin && v.count <= v.room/4:
		v.resizeLast(max(roomMin, v.room/2))
	}
}

// dropLast gives back the last chunk, which must be empty.
func (v *vector) dropLast() {
	last := len(v.chunks) - 1
	release(v.chunks[last], v.recordBytes(v.lastRoom()))
	v.chunks[last] = nil
	v.chunks = v.chunks[:last]
	v.room = uint32(last) << v.shift
	if last > roomMin && last < cap(v.chunks)/4 {
		v.chunks = append(make([]unsafe.Pointer, 0, last*2), v.chunks...)
	}
}

// releaseAll gives back all chunks.
func (v *vector) releaseAll() {
	for i, chunk := range v.chunks {
		n := v.per()
		if i == len(v.chunks)-1 {
			n = v.lastRoom()
		}
		release(chunk, v.recordBytes(n))
	}
	v.chunks, v.count, v.room = nil, 0, 0
}

// recordBytes is the size of n records.
func (v *vector) recordBytes(n uint32) int { return int(n) * int(v.stride) }

// bytes is the memory held.
func (v *vector) bytes() int {
	return v.recordBytes(v.room) + cap(v.chunks)*int(unsafe.Sizeof(unsafe.Pointer(nil)))
}

// usedBytes is the size of the records in use.
func (v *vector) usedBytes() int { return v.recordBytes(v.count) }

// copyTo makes to a copy of v whose records lie in one piece of memory at flat,
// which must have usedBytes.
func (v *vector) copyTo(to *vector, flat unsafe.Pointer) {
	*to = vector{chunks: append(to.chunks[:0], flat), count: v.count, room: v.count, stride: v.stride, shift: 31}
	left := v.usedBytes()
	for _, chunk := range v.chunks {
		n := min(left, v.recordBytes(v.per()))
		copyMemory(flat, chunk, n)
		left -= n
		if left == 0 {
			return
		}
		flat = unsafe.Add(flat, n)
	}
}
