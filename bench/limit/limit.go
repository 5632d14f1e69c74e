// Package limit is the work of the engine without the engine: what one core can do
// with the same events when nothing stands between them and the memory. It is the
// yardstick that the engine's figures are ratios of.
//
// One goroutine owns a part of the keys. For each event it hashes the key, finds the
// state by batched probing, changes it, and copies the event to a buffer; a full buffer
// is hashed and written to a file. There is no dispatcher, no acknowledgement, no sync
// and no snapshot.
package limit

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// Sizes of the job, in bytes.
const (
	KeyBytes    = 16
	EventBytes  = 32
	bufferBytes = 256 << 10
	// batch is how many events are probed together.
	batch = 32
)

// A State is what events are folded into.
type State struct{ Count, Sum, Last, Max int64 }

// Fold is the fold of an event into a state.
func (s *State) Fold(event []byte) {
	value := int64(binary.LittleEndian.Uint64(event))
	s.Count++
	s.Sum += value
	s.Last = value
	s.Max = max(s.Max, value)
}

// A slot holds one key.
type slot struct {
	key   [KeyBytes]byte
	state State
}

// An Owner folds the events of its keys. It must be used by one goroutine at a time.
type Owner struct {
	index  []uint32 // slot plus one; open addressing, linear probing
	slots  []slot
	buffer []byte
	log    io.Writer
	hashes [batch]uint64
	loads  uint32 // what the touch passes have loaded, so that they are not left out
}

// NewOwner makes an owner for at most keys keys, which logs to w.
func NewOwner(keys int, w io.Writer) *Owner {
	size := 1
	for size < 2*keys {
		size *= 2
	}
	return &Owner{
		index:  make([]uint32, size),
		slots:  make([]slot, 0, keys),
		buffer: make([]byte, 0, bufferBytes+batch*(KeyBytes+EventBytes)),
		log:    w,
	}
}

// Apply folds the events whose keys are given, and logs them. events holds EventBytes
// for each key.
func (o *Owner) Apply(keys [][KeyBytes]byte, events []byte) error {
	for len(keys) > 0 {
		n := min(batch, len(keys))
		o.touch(keys[:n])
		for i := range n {
			event := events[i*EventBytes : (i+1)*EventBytes]
			o.state(o.hashes[i], &keys[i]).Fold(event)
			o.buffer = append(append(o.buffer, keys[i][:]...), event...)
		}
		keys, events = keys[n:], events[n*EventBytes:]
		if len(o.buffer) >= bufferBytes {
			if err := o.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// touch hashes a batch, loads all its index words, then all its slots.
func (o *Owner) touch(keys [][KeyBytes]byte) {
	mask := uint64(len(o.index) - 1)
	var words [batch]uint32
	for i := range keys {
		o.hashes[i] = xxh3.Hash(keys[i][:])
		words[i] = o.index[o.hashes[i]&mask]
	}
	for i := range keys {
		if words[i] != 0 {
			o.loads += uint32(o.slots[words[i]-1].key[0])
		}
	}
}

// state finds or makes the state of a key.
func (o *Owner) state(hash uint64, key *[KeyBytes]byte) *State {
	mask := uint64(len(o.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		word := o.index[at]
		if word == 0 {
			o.slots = append(o.slots, slot{key: *key})
			o.index[at] = uint32(len(o.slots))
			return &o.slots[len(o.slots)-1].state
		}
		if s := &o.slots[word-1]; s.key == *key {
			return &s.state
		}
	}
}

// Flush hashes the buffer and writes it.
func (o *Owner) Flush() error {
	sum := xxh3.Hash(o.buffer)
	if _, err := o.log.Write(binary.LittleEndian.AppendUint64(o.buffer, sum)); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	o.buffer = o.buffer[:0]
	return nil
}

// Count is how many events all states have seen together.
func (o *Owner) Count() int64 {
	total := int64(0)
	for i := range o.slots {
		total += o.slots[i].state.Count
	}
	return total
}
