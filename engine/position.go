package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

// A Position says how far a reader of changes has come: for each partition, the sequence of
// the last event that it has. It is of a store, not of one of its tables, and knows nothing
// of shards: moves and another number of shards do not touch it. It is a value, and safe for
// concurrent use. The zero Position is in front of the first event of any store.
type Position struct {
	store     [16]byte
	sequences []uint64 // by partition; nil: all zero. Not changed any more
}

// ErrPosition is matched when a position is of another store, or of a future that this one
// does not have: a backup was restored. Begin again with [Table.States].
var ErrPosition = errors.New("keyfold: the position is not of this store")

// The encoding of a position, version 1, little-endian:
//
//	size     field
//	1        version, 1
//	16       store
//	uvarint  partitions
//	…        for each, a uvarint: its sequence; behind a 0, how many more have 0
//	8        xxh3 of all before
const (
	positionVersion = 1
	positionMax     = 1 + 16 + binary.MaxVarintLen64*(partitionsMax+1) + 8
)

// Sequence is that of the last event of a partition, numbered from 0.
func (p Position) Sequence(partition int) uint64 {
	if partition < 0 || partition >= len(p.sequences) {
		return 0
	}
	return p.sequences[partition]
}

// Covers says that a reader at p has all that one at other has.
func (p Position) Covers(other Position) bool {
	for i, sequence := range other.sequences {
		if sequence > p.Sequence(i) {
			return false
		}
	}
	return true
}

// AppendBinary appends the position, in about a byte or two for each partition.
func (p Position) AppendBinary(b []byte) ([]byte, error) {
	at := len(b)
	b = append(append(b, positionVersion), p.store[:]...)
	b = binary.AppendUvarint(b, uint64(len(p.sequences)))
	for i := 0; i < len(p.sequences); i++ {
		b = binary.AppendUvarint(b, p.sequences[i])
		if p.sequences[i] != 0 {
			continue
		}
		zeros := uint64(0)
		for ; i+1 < len(p.sequences) && p.sequences[i+1] == 0; i++ {
			zeros++
		}
		b = binary.AppendUvarint(b, zeros)
	}
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b[at:])), nil
}

// MarshalBinary is AppendBinary to nothing.
func (p Position) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// UnmarshalBinary reads what MarshalBinary wrote, and refuses everything else. It keeps
// nothing of b.
func (p *Position) UnmarshalBinary(b []byte) error {
	bad := fmt.Errorf("%w: %d bytes are no position", ErrPosition, len(b))
	if len(b) < 1+16+1+8 || len(b) > positionMax || b[0] != positionVersion {
		return bad
	}
	rest, end := b[17:len(b)-8], len(b)-8
	if xxh3.Hash(b[:end]) != binary.LittleEndian.Uint64(b[end:]) {
		return bad
	}
	take := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			rest = nil
			return 0
		}
		rest = rest[n:]
		return v
	}
	count := take()
	if count > partitionsMax {
		return bad
	}
	next := Position{store: [16]byte(b[1:17])}
	for uint64(len(next.sequences)) < count {
		if len(rest) == 0 {
			return bad
		}
		sequence := take()
		next.sequences = append(next.sequences, sequence)
		if sequence == 0 {
			zeros := take()
			if zeros > count-uint64(len(next.sequences)) {
				return bad
			}
			next.sequences = append(next.sequences, make([]uint64, zeros)...)
		}
	}
	if len(rest) != 0 {
		return bad
	}
	*p = next
	return nil
}

// positionOf is the position of a reader with these sequences, which are copied.
func (e *Engine) positionOf(sequences []uint64) Position {
	return Position{store: e.life(), sequences: slices.Clone(sequences)}
}

// life is the id of the store in its present life: a backup that was restored begins one.
func (e *Engine) life() (id [16]byte) {
	id = e.manifest.Store
	for i := range 8 {
		id[i] ^= byte(e.manifest.Life >> (8 * i))
	}
	return id
}

// startAt returns the sequences of a position that a reader of this store may begin at.
func (e *Engine) startAt(p Position) ([]uint64, error) {
	sequences := make([]uint64, e.manifest.Partitions)
	if p.sequences == nil {
		return sequences, nil
	}
	if p.store != e.life() || len(p.sequences) != len(sequences) {
		return nil, fmt.Errorf("%w: it is one of store %x with %d partitions", ErrPosition, p.store, len(p.sequences))
	}
	copy(sequences, p.sequences)
	return sequences, nil
}
