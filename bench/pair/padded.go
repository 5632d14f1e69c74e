package pair

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"

	"github.com/keyfold/keyfold/bench/limit"
)

// padded is an event of more than limit.EventBytes bytes.
type padded struct {
	Value int64
	Bytes int64
}

// padEvents makes the events of a stream longer.
func padEvents(s limit.Stream, bytes int) stream[padded] {
	out := stream[padded]{s.Keys, make([]padded, len(s.Events))}
	for i, e := range s.Events {
		out.events[i] = padded{e.Value, int64(bytes)}
	}
	return out
}

// padding encodes padded events: the value, and random bytes that no device can
// compress.
type padding struct{}

// fillerBytes is the size of the random block from which events are filled.
const fillerBytes = 1 << 20

var filler = func() []byte {
	b := make([]byte, 2*fillerBytes)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}()

// valueBytes is the size of an event without its padding.
const valueBytes = 8

// Name is recorded in the store.
func (padding) Name() string { return "pair event 1" }

// Append appends an event of e.Bytes bytes, which are valueBytes at least.
func (padding) Append(dst []byte, e padded) ([]byte, error) {
	from := int(uint64(e.Value) * 64 % fillerBytes)
	left := max(int(e.Bytes)-valueBytes, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Value))
	return append(dst, filler[from:from+left]...), nil
}

// Decode reads the value.
func (padding) Decode(src []byte, e *padded) error {
	if len(src) < valueBytes {
		return errors.New("pair: an event is too short")
	}
	e.Value = int64(binary.LittleEndian.Uint64(src))
	e.Bytes = int64(len(src))
	return nil
}
