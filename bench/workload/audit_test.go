package workload

import (
	"testing"
)

// sent is a small stream, folded one event at a time into a map: the store of
// these tests.
type sent struct {
	events []Event
	states map[string]*Stats
}

func newSent(keys ...string) *sent {
	s := &sent{states: map[string]*Stats{}}
	for i, k := range keys {
		s.events = append(s.events, Event{[]byte(k), uint64(i), float64(i * i)})
	}
	return s
}

// hold folds the events with these ordinals.
func (s *sent) hold(ordinals ...int) *sent {
	for _, i := range ordinals {
		e := s.events[i]
		if s.states[string(e.Key)] == nil {
			s.states[string(e.Key)] = &Stats{}
		}
		s.states[string(e.Key)].Fold(e.Ordinal, e.Value)
	}
	return s
}

// audit runs a round; the first acked events were acknowledged.
func (s *sent) audit(a *Audit, acked int) Finding {
	a.Begin()
	for k, st := range s.states {
		a.Have([]byte(k), st)
	}
	for i, e := range s.events {
		a.Event(e, i < acked)
	}
	return a.End()
}

func TestAuditTellsEachWayToBeWrong(t *testing.T) {
	keys := []string{"a", "b", "a", "a", "b", "c"}
	for name, c := range map[string]struct {
		hold                        []int
		acked                       int
		lost, wrong, unacknowledged uint64
	}{
		"all there":                  {hold: []int{0, 1, 2, 3, 4, 5}, acked: 6},
		"a prefix with all acked":    {hold: []int{0, 1, 2}, acked: 3, unacknowledged: 3},
		"a prefix with more":         {hold: []int{0, 1, 2, 4}, acked: 1, unacknowledged: 2},
		"an acked event is lost":     {hold: []int{0, 1, 2}, acked: 4, lost: 1, unacknowledged: 2},
		"an acked key is lost":       {hold: []int{0, 1, 2, 3, 4}, acked: 6, lost: 1},
		"a hole":                     {hold: []int{0, 1, 3, 4, 5}, acked: 1, wrong: 1, unacknowledged: 1},
		"two events exchanged":       {hold: []int{0, 1, 3, 2, 4, 5}, acked: 6, wrong: 1},
		"an event doubled":           {hold: []int{0, 0, 1, 2, 3, 4, 5}, acked: 6, wrong: 1},
		"an event doubled in prefix": {hold: []int{0, 0, 1}, wrong: 1, unacknowledged: 3},
	} {
		got := newSent(keys...).hold(c.hold...).audit(NewNamed(), c.acked)
		if got.Lost != c.lost || got.Wrong != c.wrong || got.Unacknowledged != c.unacknowledged {
			t.Errorf("%s: %+v", name, got)
		}
		if ok := c.lost+c.wrong == 0; got.OK() != ok || (got.Err() == nil) != ok {
			t.Errorf("%s: OK %v, error %v", name, got.OK(), got.Err())
		}
	}
}

func TestAuditFindsPhantoms(t *testing.T) {
	a, err := NewNumbered(10)
	if err != nil {
		t.Fatal(err)
	}
	a.Begin()
	s := Stats{Count: 1}
	a.Have(AppendKey(nil, 3), &s)  // never sent
	a.Have(AppendKey(nil, 10), &s) // no such key
	a.Have([]byte("other"), &s)
	if f := a.End(); f.Wrong != 3 || f.Keys != 3 {
		t.Errorf("%+v", f)
	}
}

func TestAuditFindsAKeyThatIsThereTwice(t *testing.T) {
	a := NewNamed()
	a.Begin()
	var s Stats
	s.Fold(0, 1)
	a.Have([]byte("k"), &s)
	a.Have([]byte("k"), &s)
	a.Event(Event{[]byte("k"), 0, 1}, true)
	if f := a.End(); f.Wrong != 1 {
		t.Errorf("%+v", f)
	}
}

func TestAuditGoesOnFromTheRoundBefore(t *testing.T) {
	a := NewNamed()
	first := newSent("a", "b", "a").hold(0, 1)
	if f := first.audit(a, 2); !f.OK() || f.Unacknowledged != 1 {
		t.Fatalf("first round: %+v", f)
	}
	second := newSent("b", "a")
	second.states = first.states
	if f := second.hold(0, 1).audit(a, 2); !f.OK() || f.Events != 4 {
		t.Fatalf("second round: %+v", f)
	}
	delete(second.states, "a")
	second.events = nil
	if f := second.audit(a, 0); f.Lost != 2 {
		t.Errorf("a key of the rounds before is gone: %+v", f)
	}
}

func TestStatsSurviveTheirEncoding(t *testing.T) {
	var s, got Stats
	for i := range 5 {
		s.Fold(uint64(i), float64(3-i)/3)
	}
	b := s.Append(nil)
	if err := got.Decode(b); err != nil || got != s || len(b) != StatsBytes {
		t.Errorf("%+v, %v; %+v was encoded in %d bytes", got, err, s, len(b))
	}
	if got.Decode(b[1:]) == nil {
		t.Error("a state that is too short was accepted")
	}
	if s.Min != -1.0/3 || s.Max != 1 || s.Last != -1.0/3 || s.Count != 5 {
		t.Errorf("fold: %+v", s)
	}
}

// Goal: a key that has had lives must have had them all, each with the events that came
// behind those of the one before.
func TestAuditTellsWhatIsWrongWithLives(t *testing.T) {
	for name, c := range map[string]struct {
		lives [][]int // ordinals of "a", which are 0, 2, 3, 5
		now   []int
		wrong uint64
		lost  uint64
	}{
		"one after the other": {lives: [][]int{{0}, {2, 3}}, now: []int{5}},
		"all over":            {lives: [][]int{{0, 2, 3, 5}}},
		"ended since":         {lives: [][]int{{0}, {2, 3, 5}}, now: []int{2, 3, 5}},
		"one lost between":    {lives: [][]int{{0}, {3}}, now: []int{5}, wrong: 1, lost: 1},
		"one doubled":         {lives: [][]int{{0, 2}, {2, 3}}, now: []int{5}, wrong: 1},
		"exchanged":           {lives: [][]int{{2, 0}}, now: []int{3, 5}, wrong: 1},
		"more than was sent":  {lives: [][]int{{0, 2, 3, 5, 5}}, wrong: 1, lost: 4},
		"last one lost":       {lives: [][]int{{0}}, now: []int{2, 3}, lost: 1},
	} {
		s, a := newSent("a", "b", "a", "a", "b", "a"), NewNamed()
		a.Begin()
		if now := newSent("a", "b", "a", "a", "b", "a").hold(c.now...).states["a"]; now != nil {
			a.Have([]byte("a"), now)
		}
		var lives []Life
		for _, ordinals := range c.lives {
			lives = append(lives, newSent("a", "b", "a", "a", "b", "a").hold(ordinals...).states["a"].Life())
		}
		a.Lived([]byte("a"), lives)
		for _, i := range []int{0, 2, 3, 5} {
			a.Event(s.events[i], true)
		}
		if f := a.End(); (f.Wrong > 0) != (c.wrong > 0) || (f.Lost > 0) != (c.lost > 0) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
