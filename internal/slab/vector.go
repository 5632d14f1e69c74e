package slab

import (
	"math/bits"
	"unsafe"
)

const (
	// chunkBytes bounds a chunk of more than one record. A full chunk is between
	// half of it and all of it: larger chunks leave more slack in a table of a few
	// thousand keys, smaller ones make the list of chunks long.
	chunkBytes = 32 << 10
	// roomMin is how many records the first chunk begins with, at least.
	roomMin = 4
)

// vector is a dense array of records of one size. It lies in chunks, so that
// growing copies at most one of them. All chunks but the last have room for a
// power of two of records; the last begins small and grows in steps.
//
// The zero vector is not usable; see newVector. The methods that take an arena must
// get the same one each time.
type vector struct {
	first  unsafe.Pointer // the first chunk: a small table needs no list
	stride uint32         // bytes of a record, a multiple of 8
	shift  uint32         // log2 of the records of a full chunk
	count  uint32         // records in use
	room   uint32         // records that fit into the chunks
	chunks []unsafe.Pointer
}

// newVector returns an empty vector that holds no memory.
func newVector(stride int) vector {
	per := max(1, chunkBytes/stride)
	return vector{stride: uint32(stride), shift: uint32(bits.Len(uint(per)) - 1)}
}

// at returns record i, which must be below count.
func (v *vector) at(i uint32) unsafe.Pointer {
	shift := v.shift & 31
	chunk := v.first
	if v.room > 1<<shift {
		chunk = *(*unsafe.Pointer)(unsafe.Add(v.list(), uintptr(i>>shift)*pointerBytes))
	}
	return unsafe.Add(chunk, uintptr(i&(1<<shift-1))*uintptr(v.stride))
}

const pointerBytes = unsafe.Sizeof(unsafe.Pointer(nil))

// list is where the pointers to the chunks lie.
func (v *vector) list() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(v.chunks)) }

// push appends a record and returns it. What is in it is left over.
func (v *vector) push(a *Arena) unsafe.Pointer {
	if v.count == v.room {
		v.grow(a)
	}
	v.count++
	return v.at(v.count - 1)
}

// pop drops the last record, and memory that is not worth keeping.
func (v *vector) pop(a *Arena) {
	v.count--
	v.trim(a)
}

// per is how many records a full chunk has.
func (v *vector) per() uint32 { return 1 << v.shift }

// lastRoom is how many records fit into the last chunk.
func (v *vector) lastRoom() uint32 {
	return v.room - uint32(len(v.chunks)-1)<<v.shift
}

// fitting is how many records fit into the block that is large enough for n, at most
// those of a full chunk.
func (v *vector) fitting(n uint32) uint32 {
	return min(uint32(blockBytes(v.recordBytes(n)))/v.stride, v.per())
}

// grow makes room for at least one more record, in the last chunk if that is not
// full-sized yet, else in a new one. A step is an eighth of the room there is, so
// that at most an eighth is ever idle, or a quarter of a chunk if that is less.
func (v *vector) grow(a *Arena) {
	per := v.per()
	step := max(1, min(v.room/8, per/4))
	switch n := len(v.chunks); {
	case n == 0:
		v.addChunk(a, v.fitting(min(roomMin, per)))
	case v.lastRoom() == per:
		v.addChunk(a, v.fitting(step))
	default:
		v.resizeLast(a, v.fitting(min(v.lastRoom()+step, per)))
	}
}

// reserve makes room for n records without a step in between. The records there are
// are moved if the last chunk has to grow.
func (v *vector) reserve(a *Arena, n uint32) {
	if n <= v.room {
		return
	}
	per := v.per()
	if last := len(v.chunks) - 1; last >= 0 && v.lastRoom() < per {
		v.resizeLast(a, v.fitting(min(n-uint32(last)<<v.shift, per)))
	}
	for v.room < n {
		v.addChunk(a, v.fitting(min(n-v.room, per)))
	}
}

// fill appends the records in data, as far as the chunk that they begin in has room,
// and returns how many bytes they were. There must be room.
func (v *vector) fill(data []byte) (bytes int) {
	n := min(uint32(len(data))/v.stride, v.room-v.count, v.per()-v.count&(v.per()-1))
	at := v.count
	v.count += n
	bytes = v.recordBytes(n)
	copyMemory(v.at(at), unsafe.Pointer(unsafe.SliceData(data)), bytes)
	return bytes
}

// addChunk appends a chunk with room for n records.
func (v *vector) addChunk(a *Arena, n uint32) {
	v.chunks = append(v.chunks, a.allocate(v.recordBytes(n)))
	v.first = v.chunks[0]
	v.room += n
}

// resizeLast moves the last chunk into one with room for n records, which must be
// enough for those in use.
func (v *vector) resizeLast(a *Arena, n uint32) {
	last := len(v.chunks) - 1
	before := v.lastRoom()
	old, chunk := v.chunks[last], a.allocate(v.recordBytes(n))
	if begin := uint32(last) << v.shift; v.count > begin {
		copyMemory(chunk, old, v.recordBytes(v.count-begin))
	}
	v.chunks[last] = chunk
	v.first = v.chunks[0]
	v.room += n - before
	a.release(old, v.recordBytes(before))
}

// trim gives back the last chunk when it is empty and half of the one before it
// is too, or halves the only chunk when three quarters of it are empty. The
// distance to the next grow keeps a table that breathes from allocating.
func (v *vector) trim(a *Arena) {
	last := uint32(len(v.chunks) - 1)
	switch {
	case last > 0 && v.count+max(1, v.per()/2) <= last<<v.shift:
		v.dropLast(a)
	case last == 0 && v.room > v.fitting(roomMin) && v.count <= v.room/4:
		v.resizeLast(a, v.fitting(max(min(roomMin, v.per()), v.room/2)))
	}
}

// dropLast gives back the last chunk, which must be empty.
func (v *vector) dropLast(a *Arena) {
	last := len(v.chunks) - 1
	a.release(v.chunks[last], v.recordBytes(v.lastRoom()))
	v.chunks[last] = nil
	v.chunks = v.chunks[:last]
	v.room = uint32(last) << v.shift
	if last > roomMin && last < cap(v.chunks)/4 {
		v.chunks = append(make([]unsafe.Pointer, 0, last*2), v.chunks...)
	}
}

// releaseAll gives back all chunks.
func (v *vector) releaseAll(a *Arena) {
	for i, chunk := range v.chunks {
		n := v.per()
		if i == len(v.chunks)-1 {
			n = v.lastRoom()
		}
		a.release(chunk, v.recordBytes(n))
	}
	v.first, v.chunks, v.count, v.room = nil, nil, 0, 0
}

// recordBytes is the size of n records.
func (v *vector) recordBytes(n uint32) int { return int(n) * int(v.stride) }

// bytes is the memory held.
func (v *vector) bytes() int {
	total := cap(v.chunks) * int(pointerBytes)
	if n := len(v.chunks); n > 0 {
		total += (n-1)*blockBytes(v.recordBytes(v.per())) + blockBytes(v.recordBytes(v.lastRoom()))
	}
	return total
}

// usedBytes is the size of the records in use.
func (v *vector) usedBytes() int { return v.recordBytes(v.count) }

// copyTo makes to a copy of v whose records lie in one piece of memory at flat,
// which must have usedBytes.
func (v *vector) copyTo(to *vector, flat unsafe.Pointer) {
	*to = vector{first: flat, stride: v.stride, shift: 31, count: v.count, room: v.count, chunks: to.chunks[:0]}
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
