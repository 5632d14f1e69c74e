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
	eras   []era              // the last one is that of what is not copied
	paused int64              // how long the store was down, before the frames that are copied
}

// startsOf are the starts of a generation of which the first frames are copied. A
// partition that left is in it as it left until it is known to be adopted durably:
// until then this log answers for it.
func startsOf(copied int, held []*Partition, leaving []*Transit, gone map[uint32]uint64, eras []era) *starts {
	s := &starts{copied: uint64(copied), held: make(map[uint32]holding), gone: gone, eras: eras}
	for _, t := range leaving {
		for i, p := range t.passengers {
			s.held[p.id] = t.left[i]
		}
	}
	for _, p := range held {
		if !p.empty() {
			s.held[p.ID] = p.holding()
		}
	}
	return s
}

// after says how long the store was down before, by the clock that the log holds.
func (s *starts) after(paused int64) *starts {
	s.paused = paused
	return s
}

// encode writes the starts as the package comment says.
func (s *starts) encode() []byte {
	b := make([]byte, 0, 32+20*len(s.held)+12*len(s.gone))
	b = binary.LittleEndian.AppendUint64(b, s.copied|startsFormat<<startsFormatBit)
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
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.eras)))
	for _, e := range s.eras {
		b = e.schemas.appendTo(binary.LittleEndian.AppendUint64(b, e.last))
	}
	return binary.LittleEndian.AppendUint64(b, uint64(s.paused))
}

// startsFormat is the format of the starts, in the high bits of their first field. In
// format 0 there are no eras: manifests of version 1 go with it.
const (
	startsFormat    = 1
	startsFormatBit = 48
)

// decodeStarts reads what encode wrote, in this format or the one before.
func decodeStarts(b []byte) (*starts, error) {
	r := fsys.FieldsOf(b)
	first := r.U64()
	format := first >> startsFormatBit
	s := &starts{copied: first & (1<<startsFormatBit - 1), held: make(map[uint32]holding), gone: make(map[uint32]uint64)}
	if format > startsFormat {
		return nil, fmt.Errorf("%w: the header of the generation is of format %d", errJoin, format)
	}
	for range r.Count(holdingBytes) {
		id := r.U32()
		s.held[id] = holding{epoch: r.U64(), sequence: r.U64()}
	}
	for range r.Count(12) {
		id := r.U32()
		s.gone[id] = r.U64()
	}
	s.eras = []era{{last: eraOpen}}
	if format > 0 {
		eras, err := takeEras(r)
		if err != nil {
			return nil, err
		}
		s.eras, s.paused = eras, int64(r.U64())
	}
	if !r.Whole() {
		return nil, fmt.Errorf("%w: the header of the generation holds %d bytes that are not sequences", errJoin, len(b))
	}
	return s, nil
}
