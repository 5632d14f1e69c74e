package shard

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/keyfold/keyfold/internal/fsys"
)

// starts are what a generation begins with: the payload of its header.
type starts struct {
	copied uint64             // frames of the generation before that come again first
	held   map[uint32]holding // by partition, behind those frames
	gone   map[uint32]uint64  // epochs at which partitions were adopted elsewhere, durably
}

// startsOf are the starts of a generation of which the first frames are copied. A
// partition that left is in it as it left until it is known to be adopted durably:
// until then this log answers for it.
func startsOf(copied int, held []*Partition, leaving []*Transit, gone map[uint32]uint64) *starts {
	s := &starts{copied: uint64(copied), held: make(map[uint32]holding), gone: gone}
	for _, t := range leaving {
		s.held[t.Partition] = t.left
	}
	for _, p := range held {
		if !p.empty() {
			s.held[p.ID] = p.holding()
		}
	}
	return s
}

// encode writes the starts as the package comment says.
func (s *starts) encode() []byte {
	b := make([]byte, 0, 16+20*len(s.held)+12*len(s.gone))
	b = binary.LittleEndian.AppendUint64(b, s.copied)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.held)))
	for _, id := range slices.Sorted(maps.Keys(s.held)) {
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint64(b, s.held[id].epoch)
		b = binary.LittleEndian.AppendUint64(b, s.held[id].sequence)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.gone)))
	for _, id := range slices.Sorted(maps.Keys(s.gone)) {
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint64(b, s.gone[id])
	}
	return b
}

// decodeStarts reads what encode wrote.
func decodeStarts(b []byte) (*starts, error) {
	r := fsys.FieldsOf(b)
	s := &starts{copied: r.U64(), held: make(map[uint32]holding), gone: make(map[uint32]uint64)}
	for range r.Count(holdingBytes) {
		id := r.U32()
		s.held[id] = holding{epoch: r.U64(), sequence: r.U64()}
	}
	for range r.Count(12) {
		id := r.U32()
		s.gone[id] = r.U64()
	}
	if !r.Whole() {
		return nil, fmt.Errorf("%w: the header of the generation holds %d bytes that are not sequences", errJoin, len(b))
	}
	return s, nil
}
