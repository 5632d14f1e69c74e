package workload

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Stats is the state under load: what is known of one key after its events so
// far. It holds no pointers. The zero Stats is that of a key without events.
type Stats struct {
	Count uint64
	Sum   float64
	Min   float64
	Max   float64
	Last  float64
	// Order is a hash of the ordinals and values of all events in the order in
	// which they were folded: any event lost, doubled or exchanged changes it.
	Order uint64
}

// Fold applies one event.
func (s *Stats) Fold(ordinal uint64, value float64) {
	if s.Count == 0 || value < s.Min {
		s.Min = value
	}
	if s.Count == 0 || value > s.Max {
		s.Max = value
	}
	s.Count++
	s.Sum += value
	s.Last = value
	s.Order = mix(s.Order, ordinal, math.Float64bits(value))
}

// Mean is the mean of the values; 0 of no events.
func (s *Stats) Mean() float64 {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / float64(s.Count)
}

// mix is one step of a hash that depends on the order of its steps.
func mix(h, a, b uint64) uint64 {
	h ^= a*0x9e3779b97f4a7c15 ^ bits.RotateLeft64(b*0xc2b2ae3d27d4eb4f, 29)
	h *= 0xff51afd7ed558ccd
	return h ^ h>>32
}

// digest says in 64 bits what the state is.
func (s *Stats) digest() uint64 {
	h := mix(s.Order, s.Count, math.Float64bits(s.Sum))
	h = mix(h, math.Float64bits(s.Min), math.Float64bits(s.Max))
	return mix(h, math.Float64bits(s.Last), 1)
}

// StatsBytes is the length of an encoded Stats.
const StatsBytes = 48

// Append appends the encoded state to b: the six fields in their order, eight
// bytes each, little-endian.
func (s *Stats) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, s.Count)
	for _, f := range [...]float64{s.Sum, s.Min, s.Max, s.Last} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return binary.LittleEndian.AppendUint64(b, s.Order)
}

// Decode reads what Append wrote.
func (s *Stats) Decode(b []byte) error {
	if len(b) != StatsBytes {
		return fmt.Errorf("workload: a state has %d bytes, not %d", StatsBytes, len(b))
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	s.Count, s.Order = word(0), word(5)
	for i, f := range [...]*float64{&s.Sum, &s.Min, &s.Max, &s.Last} {
		*f = math.Float64frombits(word(i + 1))
	}
	return nil
}
