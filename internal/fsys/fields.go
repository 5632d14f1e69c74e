package fsys

import "encoding/binary"

// Fields takes fixed-size fields, little-endian, off the payload of a sealed file.
// What is beyond the end reads as zero, and Whole then says so.
type Fields struct {
	rest  []byte
	short bool
}

// FieldsOf reads b. It keeps b.
func FieldsOf(b []byte) *Fields { return &Fields{rest: b} }

// Copy fills dst.
func (f *Fields) Copy(dst []byte) { copy(dst, f.take(len(dst))) }

// U16 takes a number of 2 bytes.
func (f *Fields) U16() uint16 { return binary.LittleEndian.Uint16(f.number(2)) }

// U32 takes a number of 4 bytes.
func (f *Fields) U32() uint32 { return binary.LittleEndian.Uint32(f.number(4)) }

// U64 takes a number of 8 bytes.
func (f *Fields) U64() uint64 { return binary.LittleEndian.Uint64(f.number(8)) }

// Count takes the number of things of at least size bytes each that must follow; 0 if
// they cannot be there.
func (f *Fields) Count(size int) int {
	n := f.U32()
	if uint64(n)*uint64(size) > uint64(len(f.rest)) {
		f.short = true
		return 0
	}
	return int(n)
}

// Text takes a length of 2 bytes and as many bytes.
func (f *Fields) Text() string { return string(f.take(int(f.U16()))) }

// Short says that more was taken than there was.
func (f *Fields) Short() bool { return f.short }

// Whole says that all was there, and all was taken.
func (f *Fields) Whole() bool { return !f.short && len(f.rest) == 0 }

func (f *Fields) number(n int) []byte {
	if b := f.take(n); b != nil {
		return b
	}
	return make([]byte, 8)
}

// take returns nil when fewer than n bytes are left, from then on.
func (f *Fields) take(n int) []byte {
	if f.short || len(f.rest) < n {
		f.short = true
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}
