package slab

import "unsafe"

// An Image is a frozen copy of a table: it does not change while the table goes
// on. Copying reuses its memory, so that one image serves many tables in turn.
//
// An Image must be used by one goroutine at a time, which need not be that of the
// table. The zero Image is empty and ready for use.
type Image struct {
	store
	flat []uint64 // the records of all vectors, behind each other
}

// CopyTo makes img a frozen copy of t, without its index. It allocates only when
// img has never held as much. Pointers and keys obtained from img before are no
// longer valid.
func (t *Table) CopyTo(img *Image) {
	img.reserve(t.usedBytes())
	img.inline, img.stateBytes = t.inline, t.stateBytes
	img.setClasses(len(t.long))
	at := unsafe.Pointer(unsafe.SliceData(img.flat))
	at = copyVector(&img.entries, &t.entries, at)
	for i := range t.long {
		at = copyVector(&img.long[i].blocks, &t.long[i].blocks, at)
	}
}

// copyVector copies one vector to at and returns where the next one goes. An empty
// one takes no memory: at may be behind all there is.
func copyVector(to, from *vector, at unsafe.Pointer) unsafe.Pointer {
	n := from.usedBytes()
	if n == 0 {
		*to = vector{chunks: to.chunks[:0]}
		return at
	}
	from.copyTo(to, at)
	return unsafe.Add(at, n)
}

// usedBytes is the size of all records in use.
func (s *store) usedBytes() int {
	total := s.entries.usedBytes()
	for i := range s.long {
		total += s.long[i].blocks.usedBytes()
	}
	return total
}

// reserve makes flat one word larger than bytes need: the end of the last record
// is then still inside. A quarter more saves allocations as tables grow.
func (img *Image) reserve(bytes int) {
	words := bytes/wordBytes + 1
	if cap(img.flat) < words {
		img.flat = make([]uint64, words+words/4)
	}
}

// Reserve makes room for a copy of a table of so many Bytes, and touches it: what a
// process has not touched the system gives it when it does.
func (img *Image) Reserve(bytes int) {
	if words := bytes/wordBytes + 1; cap(img.flat) < words {
		img.flat = make([]uint64, words)
		for i := 0; i < words; i += pageBytes / wordBytes {
			img.flat[i] = 0
		}
	}
}

// setClasses gives the image n classes of long keys, and keeps the memory of more.
func (img *Image) setClasses(n int) {
	if cap(img.long) < n {
		img.long = append(img.long[:cap(img.long)], make([]longKeys, n-cap(img.long))...)
	}
	img.long = img.long[:n]
}

// Len is the number of keys.
func (img *Image) Len() int { return int(img.entries.count) }

// Bytes is the memory held, in use or not.
func (img *Image) Bytes() int { return cap(img.flat) * wordBytes }

// All calls yield for every key and its state until yield returns false. Both are
// borrowed from the image and valid until the next CopyTo or Reset.
func (img *Image) All(yield func(key []byte, state unsafe.Pointer) bool) { img.all(yield) }

// Reset makes the image empty. It keeps its memory.
func (img *Image) Reset() {
	img.entries = vector{chunks: img.entries.chunks[:0]}
	img.long = img.long[:0]
}
