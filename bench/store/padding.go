package store

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
)

// padding encodes padded events: ordinal, value, and random bytes that no device
// can compress.
type padding struct{}

// fillerBytes is the size of the random block from which all events are filled.
const fillerBytes = 64 << 10

var filler = func() []byte {
	b := make([]byte, fillerBytes)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}()

// Name is recorded in the store.
func (padding) Name() string { return "loadgen event 1" }

// Append appends an event of e.Bytes bytes.
func (padding) Append(dst []byte, e padded) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint64(dst, e.Ordinal)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.Value))
	left := int(e.Bytes) - EventBytesMin
	for from := int(e.Ordinal*64) % fillerBytes; left > 0; from = 0 {
		n := min(left, fillerBytes-from)
		dst = append(dst, filler[from:from+n]...)
		left -= n
	}
	return dst, nil
}

// Decode reads the ordinal and the value.
func (padding) Decode(src []byte, e *padded) error {
	if len(src) < EventBytesMin {
		return errors.New("store: an event is too short")
	}
	e.Ordinal = binary.LittleEndian.Uint64(src)
	e.Value = math.Float64frombits(binary.LittleEndian.Uint64(src[8:]))
	e.Bytes = int64(len(src))
	return nil
}
