package job

import (
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

func draw(t *testing.T, s Spec, lanes int) []limit.Stream {
	t.Helper()
	parts, err := Draw(s, lanes)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

var spec = Spec{Keys: 300, Dist: "zipf:0.99", Seed: 11, Events: 5000}

func TestPartsAreTheStreamByKeyInItsOrder(t *testing.T) {
	whole, parts := draw(t, spec, 1)[0], draw(t, spec, 3)
	next := make([]int, len(parts))
	for i, key := range whole.Keys {
		lane := key.Part(len(parts))
		at := next[lane]
		if parts[lane].Keys[at] != key || parts[lane].Events[at] != whole.Events[i] {
			t.Fatalf("event %d is not the %d. of lane %d", i, at, lane)
		}
		next[lane]++
	}
	for lane, n := range next {
		if n != len(parts[lane].Keys) {
			t.Errorf("lane %d has %d events more", lane, len(parts[lane].Keys)-n)
		}
	}
}

func TestNextGoesRound(t *testing.T) {
	s := draw(t, Spec{Keys: 5, Seed: 1, Events: 10}, 1)[0]
	var keys []limit.Key
	for position := uint64(0); position < 25; {
		batch := Next(s, position, 4)
		keys = append(keys, batch.Keys...)
		position += uint64(len(batch.Keys))
	}
	for i, key := range keys[:25] {
		if key != s.Keys[i%10] {
			t.Errorf("event %d is not that of %d", i, i%10)
		}
	}
}

func TestFillHasEachKeyOnceInItsLane(t *testing.T) {
	const keys = 10_001
	seen := make(map[limit.Key]bool)
	err := Fill(keys, 3, func(lane int, batch limit.Stream) error {
		for _, key := range batch.Keys {
			if seen[key] || key.Part(3) != lane {
				t.Errorf("%s twice, or in lane %d", key[:], lane)
			}
			seen[key] = true
		}
		return nil
	})
	if err != nil || len(seen) != keys {
		t.Errorf("%d keys, %v", len(seen), err)
	}
}

func TestDeltasComeToWhatTheirEventsDo(t *testing.T) {
	s := draw(t, spec, 1)[0]
	direct, folded := make(map[limit.Key]limit.State), make(map[limit.Key]limit.State)
	var f Folder
	for position := uint64(0); position < spec.Events; {
		batch := Next(s, position, 256)
		for i, key := range batch.Keys {
			state := direct[key]
			state.Fold(batch.Events[i].Value)
			direct[key] = state
		}
		for _, d := range f.Fold(batch) {
			state := folded[d.Key]
			Merge(&state, d.State)
			folded[d.Key] = state
		}
		position += uint64(len(batch.Keys))
	}
	for key, want := range direct {
		if folded[key] != want {
			t.Errorf("%s: %+v, want %+v", key[:], folded[key], want)
		}
	}
}

func TestStatesSurviveTheirEncoding(t *testing.T) {
	want := limit.State{Count: 1, Sum: -2, Last: 3, Max: 1 << 60}
	b := AppendState(nil, want)
	if got, err := DecodeState(string(b)); err != nil || got != want || len(b) != StateBytes {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := DecodeState(b[1:]); err == nil {
		t.Error("a short state was accepted")
	}
	e := eventOf(77, 5)
	if ValueOf(Bytes(&e)) != 77 {
		t.Error("the value of an event is not at its beginning")
	}
}

// Goal: a store with the states that the events come to passes, and one with any other
// states does not. With many keys only the sums are known.
func TestCompareKnowsTheStatesOfFewKeysAndTheSumOfMany(t *testing.T) {
	for _, keys := range []uint64{100, PerKeyMax + 1} {
		part := draw(t, Spec{Keys: keys, Seed: 1, Events: 1000}, 1)[0]
		states := make(map[limit.Key]limit.State)
		for number := range keys {
			states[KeyOf(number)] = limit.State{Count: 1}
		}
		for i := range 1500 {
			s := states[part.Keys[i%1000]]
			s.Fold(part.Events[i%1000].Value)
			states[part.Keys[i%1000]] = s
		}
		first := part.Keys[0]
		for name, c := range map[string]struct {
			change func(*limit.State)
			raced  bool
			ok     bool
		}{
			"nothing":       {func(*limit.State) {}, false, true},
			"a count":       {func(s *limit.State) { s.Count-- }, false, false},
			"a sum":         {func(s *limit.State) { s.Sum++ }, false, keys > PerKeyMax},
			"a last":        {func(s *limit.State) { s.Last++ }, false, keys > PerKeyMax},
			"a last, raced": {func(s *limit.State) { s.Last++ }, true, true},
		} {
			e := NewExpect(keys)
			e.Filled()
			if err := e.Sent(part, 1500, c.raced); err != nil {
				t.Fatal(err)
			}
			got, err := e.Compare(All, func(fn func([]byte, limit.State) error) error {
				for key, s := range states {
					if key == first {
						c.change(&s)
					}
					if err := fn(key[:], s); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil || got.OK != c.ok || (got.Err() == nil) != c.ok {
				t.Errorf("%d keys, %s: %+v, %v", keys, name, got, err)
			}
		}
	}
}

func TestDrawRefusesWhatItCannotDraw(t *testing.T) {
	for _, s := range []Spec{{}, {Keys: 1, Dist: "normal", Events: 1}} {
		if _, err := Draw(s, 1); err == nil {
			t.Errorf("%+v was drawn", s)
		}
	}
	if _, err := Draw(Spec{Keys: 1, Events: 10}, 2); err == nil {
		t.Error("a lane has no events")
	}
	if n, err := workload.KeyNumber(func() []byte { k := KeyOf(42); return k[:] }()); n != 42 || err != nil {
		t.Errorf("key 42 has number %d, %v", n, err)
	}
}
