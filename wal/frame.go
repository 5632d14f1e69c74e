package wal

import "encoding/binary"

// frameRoom is what lies in front of the body in Frame.Bytes: the header, and room
// for the length in front of it. It is a cache line, so that bodies begin on one.
const frameRoom = headerBytes + 8

// A Frame is a buffer for one frame that is used again and again. Its header's room
// is in front of the body, so that a frame goes to the disk in one write and is never
// copied for it:
//
//	f.Reset()
//	f.Bytes = append(f.Bytes, record...)
//	f.Count++
//	f.Time = now
//	w.Append(&f)
//
// A Frame must be used by one goroutine at a time. The zero Frame wants a Reset.
type Frame struct {
	Bytes []byte // append the body to it
	Count uint32 // of what is in the body: events and the like
	Time  int64  // Unix nanoseconds
}

// Reset empties the frame and keeps its memory.
func (f *Frame) Reset() {
	if cap(f.Bytes) < frameRoom {
		f.Bytes = make([]byte, frameRoom, 4<<10)
	}
	f.Bytes, f.Count, f.Time = f.Bytes[:frameRoom], 0, 0
}

// Len is the number of bytes in the body.
func (f *Frame) Len() int { return max(0, len(f.Bytes)-frameRoom) }

// Body is what was appended to the frame.
func (f *Frame) Body() []byte { return f.Bytes[min(frameRoom, len(f.Bytes)):] }

// An entry is a finished frame as it lies in a segment.
type entry struct {
	bytes  []byte // all of it
	prefix int    // the bytes of it in front of the frame
}

// frame is the entry without its length.
func (e entry) frame() []byte { return e.bytes[e.prefix:] }

// finish fills in the header h, whose length it sets, and both hashes. It returns
// the entry, which lies in the memory of f, and the frame hash.
func (f *Frame) finish(h header, seed uint64) (entry, uint64) {
	body := f.Body()
	h.length = uint32(len(body))
	hash := frameHash(body, h.put(f.Bytes[frameRoom-headerBytes:], seed))
	whole := binary.LittleEndian.AppendUint64(f.Bytes, hash)
	f.Bytes = whole[:len(f.Bytes)] // keeps the memory if it had to grow
	prefix := prefixBytes(len(whole) - (frameRoom - headerBytes))
	whole = whole[frameRoom-headerBytes-prefix:]
	binary.PutUvarint(whole, uint64(len(whole)-prefix))
	return entry{bytes: whole, prefix: prefix}, hash
}

// prefixBytes is the length of the length of a frame.
func prefixBytes(frame int) int {
	n := 1
	for ; frame >= 0x80; frame >>= 7 {
		n++
	}
	return n
}

// entryBytes is what a body of so many bytes takes in a segment.
func entryBytes(body int) int64 {
	frame := frameBytesMin + body
	return int64(prefixBytes(frame) + frame)
}
