package layout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// moveKind says how a move gets from memory to the encoding and back.
type moveKind uint8

// The first five are runs: as many bytes in the encoding as in memory, and two of
// them side by side are one longer one.
const (
	moveBytes       moveKind = iota // as they are in memory
	moveBools                       // as they are in memory, and only 0 or 1
	moveWords2                      // integers of 2 bytes, in this machine's order
	moveWords4                      // of 4
	moveWords8                      // of 8
	moveInt32s                      // an int of 4 bytes, 8 in the encoding
	moveUint32s                     // a uint of 4 bytes, 8 in the encoding
	moveString                      // uvarint length, bytes
	moveSlice                       // uvarint length, bytes
	moveWholeString                 // all that is left of the encoding
	moveWholeSlice                  // all that is left of the encoding
	moveLoop                        // count elements, each by the moves in body
)

// A move is one step of encoding or decoding a value.
type move struct {
	kind   moveKind
	offset uintptr // from the start of the value, or of the element of a loop
	bytes  uintptr // of a run or an int, in memory
	count  int     // of a loop
	stride uintptr // of a loop
	body   []move  // of a loop, relative to its element
}

// isRun says whether neighbours of the same kind can be one move.
func (m *move) isRun() bool { return m.kind <= moveWords8 }

// continuedBy says whether next is the continuation of the run m.
func (m *move) continuedBy(next move) bool {
	return m.isRun() && m.kind == next.kind && m.offset+m.bytes == next.offset
}

// sizeOf adds up the encoded bytes of moves, or gives -1 if a value decides.
func sizeOf(moves []move) int {
	total := 0
	for i := range moves {
		m := &moves[i]
		switch {
		case m.isRun():
			total += int(m.bytes)
		case m.kind == moveInt32s || m.kind == moveUint32s:
			total += 8
		case m.kind == moveLoop && sizeOf(m.body) >= 0:
			total += m.count * sizeOf(m.body)
		default:
			return -1
		}
	}
	return total
}

// appendMoves appends the encoding of the value at p.
func appendMoves(dst []byte, p unsafe.Pointer, moves []move) []byte {
	for i := range moves {
		m := &moves[i]
		at := unsafe.Add(p, m.offset)
		switch m.kind {
		case moveBytes, moveBools:
			if m.bytes == 8 {
				dst = append(dst, (*[8]byte)(at)[:]...)
				continue
			}
			dst = append(dst, unsafe.Slice((*byte)(at), m.bytes)...)
		case moveString:
			s := *(*string)(at)
			dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		case moveSlice:
			s := *(*[]byte)(at)
			dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		case moveWholeString:
			dst = append(dst, *(*string)(at)...)
		case moveWholeSlice:
			dst = append(dst, *(*[]byte)(at)...)
		case moveLoop:
			for n := range m.count {
				dst = appendMoves(dst, unsafe.Add(at, uintptr(n)*m.stride), m.body)
			}
		default:
			dst = appendNumbers(dst, at, m)
		}
	}
	return dst
}

// appendNumbers appends integers whose form in memory is not the encoding.
func appendNumbers(dst []byte, at unsafe.Pointer, m *move) []byte {
	switch m.kind {
	case moveWords2:
		for _, v := range unsafe.Slice((*uint16)(at), m.bytes/2) {
			dst = binary.LittleEndian.AppendUint16(dst, v)
		}
	case moveWords4:
		for _, v := range unsafe.Slice((*uint32)(at), m.bytes/4) {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	case moveWords8:
		for _, v := range unsafe.Slice((*uint64)(at), m.bytes/8) {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	case moveInt32s:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(int64(*(*int32)(at))))
	case moveUint32s:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(*(*uint32)(at)))
	}
	return dst
}

var (
	errShort    = errors.New("they end too early")
	errBool     = errors.New("a bool is neither 0 nor 1")
	errLength   = errors.New("a length is no shortest uvarint")
	errOverflow = errors.New("an int does not fit into the 32 bits of this machine")
)

// decodeMoves sets the value at p from the front of src and returns what is left.
func decodeMoves(src []byte, p unsafe.Pointer, moves []move) ([]byte, error) {
	var err error
	for i := range moves {
		m := &moves[i]
		at := unsafe.Add(p, m.offset)
		switch m.kind {
		case moveBytes:
			if uintptr(len(src)) < m.bytes {
				return nil, errShort
			}
			copyBytes(at, src, m.bytes)
			src = src[m.bytes:]
		case moveBools, moveWords2, moveWords4, moveWords8:
			src, err = decodeRun(src, at, m)
		case moveInt32s, moveUint32s:
			src, err = decodeNarrow(src, at, m.kind)
		case moveLoop:
			src, err = decodeLoop(src, at, m)
		default:
			src, err = decodeText(src, at, m.kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return src, nil
}

// copyBytes copies n bytes of src, which has as many. The sizes of most fields are
// done without a call of memmove, which is most of the cost (BenchmarkDecode).
func copyBytes(at unsafe.Pointer, src []byte, n uintptr) {
	switch n {
	case 1:
		*(*byte)(at) = src[0]
	case 4:
		*(*[4]byte)(at) = [4]byte(src)
	case 8:
		*(*[8]byte)(at) = [8]byte(src)
	default:
		copy(unsafe.Slice((*byte)(at), n), src)
	}
}

// decodeLoop decodes the elements of an array.
func decodeLoop(src []byte, at unsafe.Pointer, m *move) ([]byte, error) {
	var err error
	for n := range m.count {
		if src, err = decodeMoves(src, unsafe.Add(at, uintptr(n)*m.stride), m.body); err != nil {
			return nil, err
		}
	}
	return src, nil
}

// decodeRun decodes bools, or integers that are as wide in memory.
func decodeRun(src []byte, at unsafe.Pointer, m *move) ([]byte, error) {
	if uintptr(len(src)) < m.bytes {
		return nil, errShort
	}
	run := src[:m.bytes]
	switch m.kind {
	case moveBools:
		for _, v := range run {
			if v > 1 {
				return nil, errBool
			}
		}
		copy(unsafe.Slice((*byte)(at), m.bytes), run)
	case moveWords2:
		for i := range m.bytes / 2 {
			*(*uint16)(unsafe.Add(at, 2*i)) = binary.LittleEndian.Uint16(run[2*i:])
		}
	case moveWords4:
		for i := range m.bytes / 4 {
			*(*uint32)(unsafe.Add(at, 4*i)) = binary.LittleEndian.Uint32(run[4*i:])
		}
	case moveWords8:
		for i := range m.bytes / 8 {
			*(*uint64)(unsafe.Add(at, 8*i)) = binary.LittleEndian.Uint64(run[8*i:])
		}
	}
	return src[m.bytes:], nil
}

// decodeNarrow decodes an int or uint where those have 32 bits.
func decodeNarrow(src []byte, at unsafe.Pointer, kind moveKind) ([]byte, error) {
	if len(src) < 8 {
		return nil, errShort
	}
	v := binary.LittleEndian.Uint64(src)
	switch {
	case kind == moveUint32s && v <= math.MaxUint32:
		*(*uint32)(at) = uint32(v)
	case kind == moveInt32s && int64(v) == int64(int32(v)):
		*(*int32)(at) = int32(v)
	default:
		return nil, errOverflow
	}
	return src[8:], nil
}

// decodeText decodes a string or a byte slice into memory of its own.
func decodeText(src []byte, at unsafe.Pointer, kind moveKind) ([]byte, error) {
	n := uint64(len(src))
	if kind == moveString || kind == moveSlice {
		var err error
		if n, src, err = decodeLength(src); err != nil {
			return nil, err
		}
	}
	if kind == moveString || kind == moveWholeString {
		*(*string)(at) = string(src[:n])
	} else {
		*(*[]byte)(at) = append([]byte(nil), src[:n]...)
	}
	return src[n:], nil
}

// decodeLength reads a length of which as many bytes do follow, and what is behind it.
func decodeLength(src []byte) (n uint64, rest []byte, err error) {
	n, used := binary.Uvarint(src)
	switch {
	case used == 0:
		return 0, nil, errShort
	case used < 0 || used > 1 && src[used-1] == 0:
		return 0, nil, errLength
	case n > uint64(len(src)-used):
		return 0, nil, fmt.Errorf("%w: a length is %d", errShort, n)
	}
	return n, src[used:], nil
}
