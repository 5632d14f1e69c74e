package load

import (
	"encoding/binary"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
)

// A Tally is a state without pointers. It shows which events made it, in which order.
type Tally struct {
	Events   uint64 // since the key was made
	Chain    uint64 // of hashes over the events
	Sequence uint64 // of the last event in its partition
	Time     int64  // of the last event, as it is logged
	Draw     uint64 // the first random number of the last event
	Last     uint64 // the number of the last event
	Broken   uint64 // how often something happened that must not, such as time that runs back
}

// A Note is a state with pointers.
type Note struct {
	Tally Tally
	Text  string // the end of the fillers
}

// noteBytesMax is how long a note's text gets.
const noteBytesMax = 64

// Born is the state of a key that has no events.
func Born(key string) Note { return Note{Tally: Tally{Chain: xxh3.HashString(key)}} }

// An Alarm is a state with a timer, which each of its events sets again.
type Alarm struct {
	Tally Tally // without sequences
	Due   int64 // when the timer is to fire; 0: there is none
	Fired uint64
	Reset uint64 // timers that an event has replaced
}

// delayMax is how long a timer is set to at most.
const delayMax = 30 * time.Millisecond

// apply counts an event and sets the timer.
func (a *Alarm) apply(c *engine.Context[string], e Step) {
	a.Tally.apply(c, 0, e)
	if a.Due != 0 {
		a.Reset++
	}
	at := c.Now().Add(time.Duration(e.Number % uint64(delayMax)))
	a.Due = at.UnixNano()
	c.SetTimer(at)
}

// fire is what the timer does: never before its time, never twice.
func (a *Alarm) fire(c *engine.Context[string]) {
	if a.Due == 0 || c.Now().UnixNano() < a.Due {
		a.Tally.Broken++
	}
	a.Due = 0
	if a.Fired++; a.Fired+a.Reset != a.Tally.Events {
		a.Tally.Broken++
	}
}

// Fold applies an event of a key that has a sequence in its partition.
func (n *Note) Fold(of Name, sequence uint64, e Step) {
	n.Tally.fold(sequence, e)
	if of.Notes {
		n.write(e)
	}
}

func (n *Note) write(e Step) {
	text := n.Text + e.Filler
	n.Text = text[max(0, len(text)-noteBytesMax):]
}

func (t *Tally) fold(sequence uint64, e Step) {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], t.Chain)
	binary.LittleEndian.PutUint64(b[8:], sequence)
	binary.LittleEndian.PutUint64(b[16:], e.Number)
	t.Chain = xxh3.HashStringSeed(e.Filler, xxh3.Hash(b[:]))
	t.Events++
	t.Sequence, t.Last = sequence, e.Number
}

// apply is what all tables do with an event.
func (t *Tally) apply(c *engine.Context[string], sequence uint64, e Step) {
	t.fold(sequence, e)
	now := c.Now().UnixNano()
	if now < t.Time {
		t.Broken++
	}
	t.Time, t.Draw = now, c.Rand()
}

// applyOrRemove is what tables do whose events may remove their key.
func (t *Tally) applyOrRemove(c *engine.Context[string], e Step) {
	t.apply(c, c.Sequence(), e)
	if e.Remove {
		c.Delete()
	}
}

type (
	tallies = engine.Table[string, Tally, Step, Tally]
	notes   = engine.Table[string, Note, Step, Tally]
	alarms  = engine.Table[string, Alarm, Step, Tally]
)

func newTallies() *tallies {
	return engine.NewTable(engine.Spec[string, Tally, Step, Tally]{
		Name:  "tallies",
		Once:  engine.Once{IDs: 1024},
		Init:  func(c *engine.Context[string], s *Tally) { *s = Born(c.Key()).Tally },
		Apply: func(c *engine.Context[string], s *Tally, e Step) Tally { s.applyOrRemove(c, e); return *s },
	})
}

func newNotes() *notes {
	return engine.NewTable(engine.Spec[string, Note, Step, Tally]{
		Name: "notes",
		Init: func(c *engine.Context[string], s *Note) { *s = Born(c.Key()) },
		Apply: func(c *engine.Context[string], s *Note, e Step) Tally {
			s.Tally.applyOrRemove(c, e)
			s.write(e)
			return s.Tally
		},
		Clone: func(s *Note) Note { return *s },
	})
}

func newAlarms() *alarms {
	return engine.NewTable(engine.Spec[string, Alarm, Step, Tally]{
		Name:    "alarms",
		Init:    func(c *engine.Context[string], s *Alarm) { s.Tally = Born(c.Key()).Tally },
		Apply:   func(c *engine.Context[string], s *Alarm, e Step) Tally { s.apply(c, e); return s.Tally },
		OnTimer: func(c *engine.Context[string], s *Alarm) { s.fire(c) },
	})
}
