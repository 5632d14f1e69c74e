package fuzz

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
)

// A tally is a state without pointers. It shows which events made it, in which order.
type tally struct {
	Events   uint64 // since the key was made
	Chain    uint64 // of hashes over the events
	Sequence uint64 // of the last event in its partition
	Time     int64  // of the last event, as it is logged
	Draw     uint64 // the first random number of the last event
}

// A note is a state with pointers.
type note struct {
	Tally tally
	Text  string // the fillers of the last events
}

// noteBytesMax is how long a note's text gets.
const noteBytesMax = 64

// action is what an event does besides being counted.
type action uint8

const (
	count  action = iota
	remove        // Apply deletes the key
	refuse        // Check refuses it
	panics        // Apply panics in the middle
)

// A step is an event.
type step struct {
	Number uint64
	Action action
	Filler string
}

var errUnwanted = errors.New("unwanted")

// newborn is the chain of a key that has no events.
func newborn(key string) uint64 { return xxh3.HashString(key) }

func chained(chain, sequence uint64, e step) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], chain)
	binary.LittleEndian.PutUint64(b[8:], sequence)
	binary.LittleEndian.PutUint64(b[16:], e.Number)
	return xxh3.HashStringSeed(e.Filler, xxh3.Hash(b[:]))
}

// fold is what both tables do with an event.
func (t *tally) fold(c *engine.Context[string], e step) {
	if e.Action == panics {
		t.Chain++
		panic("on purpose")
	}
	t.Events++
	t.Sequence = c.Sequence()
	t.Chain = chained(t.Chain, t.Sequence, e)
	t.Time = c.Now().UnixNano()
	t.Draw = c.Rand()
	if e.Action == remove {
		c.Delete()
	}
}

func (n *note) write(e step) {
	n.Text += e.Filler
	n.Text = n.Text[max(0, len(n.Text)-noteBytesMax):]
}

func check(e step) error {
	if e.Action == refuse {
		return errUnwanted
	}
	return nil
}

// A tallies is a table of states without pointers, a notes one of states with them.
type (
	tallies = engine.Table[string, tally, step, tally]
	notes   = engine.Table[string, note, step, tally]
)

func newTallies() *tallies {
	return engine.NewTable(engine.Spec[string, tally, step, tally]{
		Name:  "tallies",
		Init:  func(c *engine.Context[string], s *tally) { s.Chain = newborn(c.Key()) },
		Check: func(_ *engine.Context[string], _ *tally, e step) error { return check(e) },
		Apply: func(c *engine.Context[string], s *tally, e step) tally { s.fold(c, e); return *s },
	})
}

func newNotes() *notes {
	return engine.NewTable(engine.Spec[string, note, step, tally]{
		Name:  "notes",
		Init:  func(c *engine.Context[string], s *note) { s.Tally.Chain = newborn(c.Key()) },
		Check: func(_ *engine.Context[string], _ *note, e step) error { return check(e) },
		Apply: func(c *engine.Context[string], s *note, e step) tally {
			s.write(e)
			s.Tally.fold(c, e)
			return s.Tally
		},
	})
}

// A hash is one that a store may use.
type hash func(key []byte, seed uint64) uint64

var hashes = map[string]hash{
	"full":     xxh3.HashSeed,
	"four-bit": func(key []byte, seed uint64) uint64 { return xxh3.HashSeed(key, seed) & 15 * 0x1111111111111111 },
	"constant": func([]byte, uint64) uint64 { return 0x5a5a5a5a5a5a5a5a },
}

// filler is a text of n bytes that depends on seed.
func filler(n int, seed uint64) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	for i := range n {
		b.WriteByte(letters[(seed>>(i%8*8)+uint64(i))%uint64(len(letters))])
	}
	return b.String()
}
