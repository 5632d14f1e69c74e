package job

import (
	"encoding/binary"
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
)

// StateBytes is the length of an encoded state.
const StateBytes = 32

// AppendState appends the encoding of a state to b: its fields in their order, eight
// bytes each, little-endian.
func AppendState(b []byte, s limit.State) []byte {
	for _, f := range [...]int64{s.Count, s.Sum, s.Last, s.Max} {
		b = binary.LittleEndian.AppendUint64(b, uint64(f))
	}
	return b
}

// DecodeState reads what AppendState wrote.
func DecodeState[B []byte | string](b B) (s limit.State, err error) {
	if len(b) != StateBytes {
		return s, fmt.Errorf("job: a state has %d bytes, not %d", StateBytes, len(b))
	}
	var text [StateBytes]byte
	copy(text[:], b)
	for i, f := range [...]*int64{&s.Count, &s.Sum, &s.Last, &s.Max} {
		*f = int64(binary.LittleEndian.Uint64(text[8*i:]))
	}
	return s, nil
}

// Merge folds the events behind later, which came after those of s, into s.
func Merge(s *limit.State, later limit.State) {
	s.Count += later.Count
	s.Sum += later.Sum
	s.Last = later.Last
	s.Max = max(s.Max, later.Max)
}

// A Delta is what the events of a batch do to one key.
type Delta struct {
	Key   limit.Key
	State limit.State
}

// A Folder folds batches by key, so that a store reads and writes each key once for
// each of them. It must be used by one goroutine at a time. The zero Folder is ready.
type Folder struct {
	places map[limit.Key]int
	deltas []Delta
}

// Fold returns one delta for each key of a batch. They are valid until the next Fold.
func (f *Folder) Fold(batch limit.Stream) []Delta {
	if f.places == nil {
		f.places = make(map[limit.Key]int)
	}
	clear(f.places)
	f.deltas = f.deltas[:0]
	for i, key := range batch.Keys {
		place, ok := f.places[key]
		if !ok {
			place = len(f.deltas)
			f.places[key] = place
			f.deltas = append(f.deltas, Delta{Key: key})
		}
		f.deltas[place].State.Fold(batch.Events[i].Value)
	}
	return f.deltas
}
