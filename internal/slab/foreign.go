package slab

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// ForeignRecords gives the keys and states of n records of a table whose Go type is not
// there, borrowed from data. stateBytes is the size of a state as its layout says. In
// memory one may be longer, by blank fields at its end: then the key area is the largest
// in which nothing lies behind any key.
func ForeignRecords(n int, data []byte, stateBytes int) (iter.Seq2[[]byte, []byte], error) {
	if n <= 0 || len(data)%n != 0 {
		return nil, fmt.Errorf("%w: %d of them in %d bytes", ErrRecords, n, len(data))
	}
	stride := len(data) / n
	inline := stride - entryBytes(0, uint32(stateBytes))
	longest := 0
	for at := 0; at+keyStart <= len(data); at += stride {
		longest = max(longest, int(binary.LittleEndian.Uint16(data[at+lengthStart:])))
	}
	for inline > inlineMax || inline >= inlineMin && longest <= inline && !emptyBehindKeys(data, stride, inline) {
		inline -= wordBytes
	}
	if inline < inlineMin || inlineFor(inline) != uint32(inline) || longest > inline {
		return nil, fmt.Errorf("%w: %d bytes, with a state of %d and a key of %d", ErrRecords, stride, stateBytes, longest)
	}
	return func(yield func(key, state []byte) bool) {
		for ; len(data) > 0; data = data[stride:] {
			length := int(binary.LittleEndian.Uint16(data[lengthStart:]))
			state := data[keyStart+inline:]
			if !yield(data[keyStart:keyStart+length], state[:stateBytes]) {
				return
			}
		}
	}, nil
}

// emptyBehindKeys says that nothing lies between the keys and the end of their areas.
func emptyBehindKeys(data []byte, stride, inline int) bool {
	for ; len(data) > 0; data = data[stride:] {
		length := int(binary.LittleEndian.Uint16(data[lengthStart:]))
		for _, b := range data[keyStart+length : keyStart+inline] {
			if b != 0 {
				return false
			}
		}
	}
	return true
}
