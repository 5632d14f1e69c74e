package crashfs

// chunkBytes is how much of a file one chunk holds. Small enough that copying one
// before a write is cheap, large enough that 100 MB are a short slice.
const chunkBytes = 64 << 10

// chunk holds a piece of a file. Bytes between len(data) and the end of the chunk
// are zero. A chunk that is not owned may belong to another file system too and is
// copied before it is changed.
type chunk struct {
	data  []byte
	owned bool
}

// content is the bytes of a file. Appending costs what a slice costs; zeros behind
// the last write cost nothing; a clone shares everything until it is written to.
//
// Invariant: no chunk holds bytes at or behind size.
type content struct {
	chunks []chunk
	size   int64
}

// clone gives a content that can be changed, and so can the original: neither owns the
// chunks any more.
func (c *content) clone() content {
	chunks := make([]chunk, len(c.chunks))
	for i := range chunks {
		c.chunks[i].owned = false
		chunks[i].data = c.chunks[i].data
	}
	return content{chunks: chunks, size: c.size}
}

// readAt fills p as far as the file goes and says how far.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for done := 0; done < len(p); {
		i, from := split(off + int64(done))
		n := min(len(p)-done, chunkBytes-from)
		c.readChunk(p[done:done+n], i, from)
		done += n
	}
	return len(p)
}

func (c *content) readChunk(p []byte, i, from int) {
	n := 0
	if i < len(c.chunks) && from < len(c.chunks[i].data) {
		n = copy(p, c.chunks[i].data[from:])
	}
	clear(p[n:])
}

func split(off int64) (index, from int) {
	return int(off / chunkBytes), int(off % chunkBytes)
}

func (c *content) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	c.size = max(c.size, off+int64(len(p)))
	for len(p) > 0 {
		i, from := split(off)
		n := min(len(p), chunkBytes-from)
		c.chunk(i).write(p[:n], from)
		p, off = p[n:], off+int64(n)
	}
}

// chunk makes room for chunk i.
func (c *content) chunk(i int) *chunk {
	for len(c.chunks) <= i {
		c.chunks = append(c.chunks, chunk{owned: true})
	}
	return &c.chunks[i]
}

func (k *chunk) write(p []byte, from int) {
	k.own()
	if gap := from - len(k.data); gap > 0 {
		k.data = append(k.data, make([]byte, gap)...)
	}
	n := copy(k.data[from:], p)
	k.data = append(k.data, p[n:]...)
}

func (k *chunk) own() {
	if !k.owned {
		k.data = append([]byte(nil), k.data...)
		k.owned = true
	}
}

// zero clears a range as far as the file goes.
func (c *content) zero(off, length int64) {
	for end := min(off+length, c.size); off < end; {
		i, from := split(off)
		n := min(end-off, int64(chunkBytes-from))
		if i < len(c.chunks) && from < len(c.chunks[i].data) {
			k := &c.chunks[i]
			k.own()
			clear(k.data[from:min(int64(len(k.data)), int64(from)+n)])
		}
		off += n
	}
}

// resize cuts the file, or extends it by zeros.
func (c *content) resize(size int64) {
	if size < c.size {
		i, from := split(size)
		if i < len(c.chunks) {
			k := &c.chunks[i]
			k.data = k.data[:min(len(k.data), from)]
			clear(c.chunks[i+1:])
			c.chunks = c.chunks[:i+1]
		}
	}
	c.size = size
}

// slice copies [off, end), as far as the file goes.
func (c *content) slice(off, end int64) []byte {
	end = min(end, c.size)
	if off >= end {
		return nil
	}
	p := make([]byte, end-off)
	c.readAt(p, off)
	return p
}
