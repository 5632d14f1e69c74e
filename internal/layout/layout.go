// Package layout says how a Go type is laid out in bytes, and moves values of it
// to and from those bytes.
//
// The bytes depend on the names, types and order of the fields and on nothing
// else: not on the machine, the compiler or its padding. [Layout.String] is the
// description that a store keeps, so that a program whose types differ is refused
// with the difference ([Diff]) instead of reading old bytes with a new meaning.
//
// # Encoding
//
// Integers are little-endian; nothing is padded or aligned.
//
//	type                        bytes
//	bool                        1, and only 0 or 1
//	int8 ... int64, uint8 ...   1, 2, 4, 8
//	int, uint                   8, and described as int64 and uint64, which they equal
//	float32, float64            4, 8: their IEEE 754 bits, so that -0 and NaN survive
//	complex64, complex128       8, 16: the real part, then the imaginary one
//	[N]T                        N times T
//	struct                      its fields in order, unexported ones too
//	string, []byte              length as a shortest uvarint, then the bytes
//
// A string or []byte that is the whole type has no length: its bytes are the
// encoding. Blank fields (_) are neither encoded nor described, and Decode leaves
// them as they are, which is what == does with them too. An empty []byte comes
// back as nil, because its encoding is that of nil.
//
// Everything else (maps, other slices, pointers, interfaces, channels, functions,
// uintptr) is refused with the path of the field and the way out.
package layout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// BytesMax is the largest size in memory of a type that has a layout.
const BytesMax = 1 << 30

// ErrMalformed is matched by the error of Decode: the bytes are not what Append
// writes for this layout.
var ErrMalformed = errors.New("layout: malformed bytes")

// littleEndian says whether this machine keeps integers in the order of the encoding.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// A Layout is how values of one Go type become bytes. It never changes and is safe
// for concurrent use. The zero Layout is not usable; call [Of] or [KeyOf].
type Layout struct {
	text        string
	moves       []move
	size        int  // encoded bytes, or -1 if they depend on the value
	dense       bool // the first size bytes in memory are the encoding
	pointerFree bool
}

// Of gives the layout of t. It returns a [*TypeError] when t, or a type inside of
// it, has none.
func Of(t reflect.Type) (*Layout, error) {
	return compile(t, builder{native: littleEndian})
}

// KeyOf gives the layout of t as a key: as Of, but types whose values are not equal
// exactly when their bytes are (floats and what holds them) are refused too.
func KeyOf(t reflect.Type) (*Layout, error) {
	return compile(t, builder{native: littleEndian, key: true})
}

// String describes the layout: "struct{Clicks uint32; Last int64}", "string",
// "[16]uint8". Named types appear as what they are made of. Layouts with equal
// descriptions have equal encodings.
func (l *Layout) String() string { return l.text }

// Size says how many bytes every value takes; ok is false if that depends on the value.
func (l *Layout) Size() (size int, ok bool) { return max(l.size, 0), l.size >= 0 }

// PointerFree says whether the Go type holds no pointers, so that memory with
// values of it need not be scanned by the garbage collector.
func (l *Layout) PointerFree() bool { return l.pointerFree }

// Dense says whether the encoding is the first Size bytes of the value in memory,
// so that the caller may copy them itself.
func (l *Layout) Dense() bool { return l.dense }

// Append appends the encoding of the value at p, which must be of the layout's
// type, and returns the longer slice. Nothing of the value is kept.
func (l *Layout) Append(dst []byte, p unsafe.Pointer) []byte {
	if l.dense {
		return append(dst, unsafe.Slice((*byte)(p), l.size)...)
	}
	return appendMoves(dst, p, l.moves)
}

// Decode sets the value at p, which must be of the layout's type, from src, all of
// which must be its encoding. The value does not refer to src afterwards. An error
// matches [ErrMalformed]; some fields may have been set by then. The memory taken
// for strings and byte slices is never more than len(src).
func (l *Layout) Decode(src []byte, p unsafe.Pointer) error {
	if l.size >= 0 && len(src) != l.size {
		return l.malformed(src, fmt.Errorf("it takes %d", l.size))
	}
	if l.dense {
		copy(unsafe.Slice((*byte)(p), l.size), src)
		return nil
	}
	rest, err := decodeMoves(src, p, l.moves)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d are left over", len(rest))
	}
	if err != nil {
		return l.malformed(src, err)
	}
	return nil
}

// malformed says why src is not an encoding of l.
func (l *Layout) malformed(src []byte, why error) error {
	return fmt.Errorf("%w: %d bytes are no %s: %w", ErrMalformed, len(src), l.text, why)
}
