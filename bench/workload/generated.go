package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Generated describes a stream of generated events.
type Generated struct {
	// Keys is the count of keys, from 1 to KeysMax.
	Keys uint64 `json:"keys"`
	// Dist is how often a key is drawn: `uniform`, or `zipf:S` with an exponent
	// between 0 and 1.
	Dist string `json:"dist"`
	// Seed gives the stream.
	Seed uint64 `json:"seed"`
	// Events is the length of the stream; 0 is a stream without end.
	Events uint64 `json:"events"`
}

// Generator is the stream that a Generated describes. It must be used by one
// goroutine at a time.
type Generator struct {
	random  *rand.PCG
	next    uint64
	events  uint64
	keys    uint64
	zipf    *zipf
	scatter scramble
}

// NewGenerator begins the stream that g describes. Its error says which field is
// out of range.
func NewGenerator(g Generated) (*Generator, error) {
	if g.Keys < 1 || g.Keys > KeysMax {
		return nil, fmt.Errorf("workload: the count of keys must lie between 1 and %d, not %d", uint64(KeysMax), g.Keys)
	}
	gen := &Generator{
		random:  rand.NewPCG(g.Seed, 0x6b6579666f6c64),
		events:  g.Events,
		keys:    g.Keys,
		scatter: newScramble(g.Keys),
	}
	if g.Events == 0 {
		gen.events = math.MaxUint64
	}
	return gen, gen.draw(g.Dist)
}

// draw sets the distribution.
func (g *Generator) draw(dist string) error {
	if dist == "" || dist == "uniform" {
		return nil
	}
	exponent, ok := strings.CutPrefix(dist, "zipf:")
	theta, err := strconv.ParseFloat(exponent, 64)
	if !ok || err != nil {
		return fmt.Errorf("workload: unknown distribution %q: uniform, or zipf: and an exponent such as zipf:0.99", dist)
	}
	z, err := newZipf(g.keys, theta)
	if err != nil {
		return err
	}
	g.zipf = &z
	return nil
}

// Fill appends up to n events to b; io.EOF at the end of the stream.
func (g *Generator) Fill(b *Batch, n int) error {
	if g.next >= g.events {
		return io.EOF
	}
	end := g.next + min(uint64(n), g.events-g.next)
	for ; g.next < end; g.next++ {
		number, value := g.event()
		b.addNumbered(number, g.next, value)
	}
	return nil
}

// event draws once: the high bits give the key, the ten lowest the value.
func (g *Generator) event() (number uint64, value float64) {
	u := g.random.Uint64()
	value = float64(u & 1023)
	if g.zipf == nil {
		number, _ = bits.Mul64(u, g.keys)
		return number, value
	}
	return g.scatter.of(g.zipf.rank(float64(u>>11) / (1 << 53))), value
}

// ForEach calls fn with each event of a source, in order, until the end of the
// source or the first error. The key of the event is borrowed.
func ForEach(s Source, fn func(Event) error) error {
	var b Batch
	for {
		b.Reset()
		err := s.Fill(&b, 1024)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range b.Len() {
			if err := fn(b.At(i)); err != nil {
				return err
			}
		}
	}
}

// Limit is the first events of a source.
func Limit(s Source, events uint64) Source { return &limit{s, events} }

type limit struct {
	s    Source
	left uint64
}

func (l *limit) Fill(b *Batch, n int) error {
	if l.left == 0 {
		return io.EOF
	}
	before := b.Len()
	err := l.s.Fill(b, int(min(uint64(n), l.left)))
	l.left -= uint64(b.Len() - before)
	return err
}
