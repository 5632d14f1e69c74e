package job

import (
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
)

// Goal: what a kill may leave is accepted, more events than were acknowledged among it,
// and whatever it must not leave is found.
func TestASurveyFindsWhatAKillMustNotLeave(t *testing.T) {
	const keys, acked, sent = 300, 6000, 7000 // the stream has 5,000: it is gone through again
	parts := draw(t, spec, 2)
	k := &Killed{Keys: keys, Parts: parts, Lanes: []Sent{{sent, acked}, {sent, acked}}}
	after := func(n uint64) map[limit.Key]limit.State {
		states := make(map[limit.Key]limit.State)
		for number := range uint64(keys) {
			states[KeyOf(number)] = limit.State{Count: 1}
		}
		for _, p := range parts {
			for at := uint64(0); at < n; at++ {
				one := Next(p, at, 1)
				s := states[one.Keys[0]]
				s.Fold(one.Events[0].Value)
				states[one.Keys[0]] = s
			}
		}
		return states
	}
	hot := parts[0].Keys[0]
	change := func(states map[limit.Key]limit.State, fn func(*limit.State)) map[limit.Key]limit.State {
		s := states[hot]
		fn(&s)
		states[hot] = s
		return states
	}
	without := after(acked)
	delete(without, hot)
	strange := after(acked)
	strange[limit.Key{1}] = limit.State{Count: 1}
	for name, c := range map[string]struct {
		states map[limit.Key]limit.State
		lost   bool
		wrong  string
	}{
		"what was acknowledged":   {after(acked), false, ""},
		"all that was sent":       {after(sent), false, ""},
		"some of the rest":        {after(acked + 500), false, ""},
		"less than was promised":  {after(acked - 1), true, ""},
		"nothing of the load":     {after(0), true, ""},
		"more than was sent":      {after(sent + 1), false, "first events come to"},
		"another sum":             {change(after(acked), func(s *limit.State) { s.Sum++ }), false, "first events come to"},
		"another last":            {change(after(acked), func(s *limit.State) { s.Last++ }), false, "first events come to"},
		"a key that was not sent": {strange, false, "never sent"},
		"a key less":              {without, true, ""},
	} {
		s, err := k.Compare(All, func(fn func([]byte, limit.State) error) error {
			for key, state := range c.states {
				if err := fn(key[:], state); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || (s.Lost > 0) != c.lost || s.OK != (c.wrong == "") || !strings.Contains(s.Example, c.wrong) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}
