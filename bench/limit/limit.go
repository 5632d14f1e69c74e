// Package limit is the work of the engine without the engine: what the cores can do
// with the same events when nothing stands between them and the memory. Its rows are
// the yardstick that the engine's figures are ratios of.
//
// Every row hashes the key of an event, finds the state by batched probing, changes
// it, and copies the event to a buffer; a full buffer is hashed and written to a file.
// Nothing is acknowledged, nothing is synced, and there are no snapshots.
//
//   - L4b, [Owners]: one pinned goroutine for each core, each with its part of the
//     keys and its own stream. There is no dispatcher.
//   - L5, [Pipeline]: one pinned dispatcher that hashes, a ring, and one pinned
//     goroutine that does the rest.
//
// The parts, [Owner] and [Log], can be had alone.
package limit

import (
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"

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

// A Key names a state.
type Key [KeyBytes]byte

// Hash is the hash of the key.
func (k *Key) Hash() uint64 { return xxh3.Hash(k[:]) }

// Part is which of n parts the key belongs to.
func (k *Key) Part(n int) int { return int(k.Hash() >> 32 * uint64(n) >> 32) }

// An Event is what is folded: a value, and as many bytes as events of the job have.
type Event struct {
	Value int64
	Rest  [3]int64
}

// bytes is the memory of the event.
func (e *Event) bytes() []byte { return (*[EventBytes]byte)(unsafe.Pointer(e))[:] }

// A State is what events are folded into.
type State struct{ Count, Sum, Last, Max int64 }

// Fold is the fold of a value into the state.
func (s *State) Fold(value int64) {
	s.Count++
	s.Sum += value
	s.Last = value
	s.Max = max(s.Max, value)
}

// A Stream is events in memory, so that drawing them is not measured. Events and Keys
// are of one length.
type Stream struct {
	Keys   []Key
	Events []Event
}

// slot holds one key.
type slot struct {
	key   Key
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

// Apply folds the events of a stream and logs them.
func (o *Owner) Apply(s Stream) error {
	for len(s.Keys) > 0 {
		n := min(batch, len(s.Keys))
		keys, events := s.Keys[:n], s.Events[:n]
		for i := range keys {
			o.hashes[i] = keys[i].Hash()
		}
		o.touch(n)
		for i := range keys {
			o.fold(o.hashes[i], &keys[i], &events[i])
		}
		if err := o.write(); err != nil {
			return err
		}
		s.Keys, s.Events = s.Keys[n:], s.Events[n:]
	}
	return nil
}

// touch loads the index words of a batch of hashes, then all its slots.
func (o *Owner) touch(n int) {
	mask := uint64(len(o.index) - 1)
	var words [batch]uint32
	for i, hash := range o.hashes[:n] {
		words[i] = o.index[hash&mask]
	}
	for _, word := range words[:n] {
		if word != 0 {
			s := &o.slots[word-1] // its end may be in the next cache line
			o.loads += uint32(s.key[0]) + uint32(s.state.Max)
		}
	}
}

// fold applies one event and copies it to the buffer.
func (o *Owner) fold(hash uint64, key *Key, event *Event) {
	o.state(hash, key).Fold(event.Value)
	o.buffer = append(append(o.buffer, key[:]...), event.bytes()...)
}

// state finds or makes the state of a key.
func (o *Owner) state(hash uint64, key *Key) *State {
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

// write writes the buffer if it is full.
func (o *Owner) write() error {
	if len(o.buffer) < bufferBytes {
		return nil
	}
	return o.Flush()
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

// Each calls fn with each key and state, in the order in which they came, until fn
// returns an error. Both are borrowed.
func (o *Owner) Each(fn func(*Key, *State) error) error {
	for i := range o.slots {
		if err := fn(&o.slots[i].key, &o.slots[i].state); err != nil {
			return err
		}
	}
	return nil
}
