package drive

import (
	"fmt"
	"maps"

	"github.com/keyfold/keyfold/fuzz/torture/load"
)

// A partition is what a store must hold of one: the fold of its first events.
type partition struct {
	events uint64
	states map[load.Name]load.Note
}

// advance folds the events of a life up to the n-th.
func (m *partition) advance(l *load.Life, number int, n uint64) {
	for ; m.events < n; m.events++ {
		name, step := l.Planned(number, m.events)
		s, ok := m.states[name]
		if !ok {
			s = load.Born(name.Key)
		}
		if s.Fold(name, l.Sequence(m.events), step); step.Remove {
			delete(m.states, name)
			continue
		}
		m.states[name] = s
	}
}

// clone is a copy that goes its own way.
func (m *partition) clone() partition { return partition{m.events, maps.Clone(m.states)} }

// differs says how what a store holds differs from the model; "" if it does not. What a
// model cannot know, the time of an event and its random numbers, is not compared.
func (m *partition) differs(have map[load.Name]load.Note) string {
	for name, h := range have {
		if h.Tally.Broken > 0 {
			return fmt.Sprintf("the time of %v has run back, or a timer has fired early or twice", name)
		}
		want, ok := m.states[name]
		if !ok {
			return fmt.Sprintf("%v is there after %d events, and must not be: %+v", name, m.events, h)
		}
		h.Tally.Time, h.Tally.Draw = 0, 0
		if want != h {
			return fmt.Sprintf("%v after %d events is\n\t%+v, and must be\n\t%+v", name, m.events, h, want)
		}
	}
	for name := range m.states {
		if _, ok := have[name]; !ok {
			return fmt.Sprintf("%v is missing after %d events", name, m.events)
		}
	}
	return ""
}
