package fuzz

import (
	"fmt"
	"maps"
	"slices"
)

// A name says which state is meant: a key of one of the two tables.
type name struct {
	notes bool
	key   string
}

// An event is what was submitted, with the answer if there was one.
type event struct {
	name   name
	step   step
	answer *tally
}

// A line is the events of one partition in the order of their submission.
type line struct {
	events []event
	// safe is how many of the first no crash of the machine may take back, kept how
	// many none of the process, done how many were answered at all.
	safe, kept, done int
}

// An oracle knows what a store may hold. It must be used by one goroutine at a time.
type oracle struct {
	lines  []line
	number uint64 // of the last event
}

// states are the contents of one partition, or of several.
type states map[name]note

func newOracle(partitions int) *oracle { return &oracle{lines: make([]line, partitions)} }

// submit adds an event to a partition, and gives it its number.
func (o *oracle) submit(partition int, e event) *event {
	l := &o.lines[partition]
	l.events = append(l.events, e)
	return &l.events[len(l.events)-1]
}

// takeBack removes the last event of a partition: it was not done.
func (o *oracle) takeBack(partition int) {
	l := &o.lines[partition]
	l.events = l.events[:len(l.events)-1]
}

// applied notes that everything submitted is applied in memory.
func (l *line) applied() { l.done = len(l.events) }

// written notes that everything submitted survives the process.
func (l *line) written() { l.applied(); l.kept = len(l.events) }

// durable notes that everything submitted survives the machine.
func (l *line) durable() { l.written(); l.safe = len(l.events) }

func (o *oracle) each(note func(*line)) {
	for i := range o.lines {
		note(&o.lines[i])
	}
}

// fold applies event i of a partition to its states.
func (s states) fold(i int, e *event) {
	n, ok := s[e.name]
	if !ok {
		n.Tally.Chain = newborn(e.name.key)
	}
	if e.name.notes {
		n.write(e.step)
	}
	t := &n.Tally
	t.Events++
	t.Sequence = uint64(i + 1)
	t.Chain = chained(t.Chain, t.Sequence, e.step)
	t.Time, t.Draw = 0, 0
	if e.answer != nil {
		t.Time, t.Draw = e.answer.Time, e.answer.Draw
	}
	if e.step.Action == remove {
		delete(s, e.name)
		return
	}
	s[e.name] = n
}

// same says whether have is what want says. Time and random numbers are compared if
// the answer of the event is known.
func (want note) same(have note) bool {
	if want.Tally.Time == 0 {
		have.Tally.Time, have.Tally.Draw = 0, 0
	}
	return want == have
}

func (s states) equal(have states) bool {
	return maps.EqualFunc(s, have, note.same)
}

// after are the states of the partition after its first n events.
func (l *line) after(n int) states {
	s := states{}
	for i := range n {
		s.fold(i, &l.events[i])
	}
	return s
}

// prefixes lists every S from least on for which the first S events make have.
func (l *line) prefixes(least int, have states) []int {
	var found []int
	s := l.after(least)
	for n := least; ; n++ {
		if s.equal(have) {
			found = append(found, n)
		}
		if n == len(l.events) {
			return found
		}
		s.fold(n, &l.events[n])
	}
}

// explain says how have differs from every prefix.
func (l *line) explain(least int, have states) string {
	if found := l.prefixes(0, have); len(found) > 0 {
		return fmt.Sprintf("it holds the first %v events", found)
	}
	text := "it holds no prefix:"
	for name, n := range have {
		text += fmt.Sprintf("\n\t%v: %+v", name, n.Tally)
	}
	text += fmt.Sprintf("\nafter %d:", least)
	for name, n := range l.after(least) {
		text += fmt.Sprintf("\n\t%v: %+v", name, n.Tally)
	}
	text += fmt.Sprintf("\nafter %d:", len(l.events))
	for name, n := range l.after(len(l.events)) {
		text += fmt.Sprintf("\n\t%v: %+v", name, n.Tally)
	}
	return text
}

// history is the end of what was submitted, in words.
func (l *line) history() string {
	text := fmt.Sprintf("safe %d, kept %d, done %d of", l.safe, l.kept, l.done)
	for i := max(0, len(l.events)-6); i < len(l.events); i++ {
		e := &l.events[i]
		text += fmt.Sprintf("\n\t%d: %v number %d action %d answer %v", i+1, e.name, e.step.Number, e.step.Action, e.answer)
	}
	return text
}

// survive makes the first n events of the partition all that there are.
func (l *line) survive(n int) {
	l.events = l.events[:n]
	l.safe, l.kept, l.done = min(l.safe, n), min(l.kept, n), n
}

// clone is an oracle that goes its own way from here on.
func (o *oracle) clone() *oracle {
	c := &oracle{lines: make([]line, len(o.lines)), number: o.number}
	for i, l := range o.lines {
		c.lines[i] = l
		c.lines[i].events = slices.Clone(l.events)
	}
	return c
}
