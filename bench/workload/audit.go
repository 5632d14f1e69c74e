package workload

import (
	"fmt"
	"math"
	"strings"
)

// Audit compares the states that a store holds with those that a single thread
// computes from the streams that the store was sent. It goes in rounds, each of
// them: Begin; Have for each state of the store; Event for each event that was
// sent since the round before, in the order of the stream; End.
//
// A key of a table whose keys come to an end has had lives: each of them must be the fold
// of the events that came behind those of the life before. Lived tells them, between Have
// and Event, of all lives that had ended when the last Have was told, or later.
//
// For each key the store must hold the fold of a prefix of what it was sent, and
// that prefix must contain every event that was acknowledged. A state that passes
// is where the next round goes on from. It must be used by one goroutine at a time.
type Audit struct {
	find  places
	want  []Stats
	have  []Life
	lived map[int][]Life // by place: those that were not found in the stream yet
	found Finding
}

// A Life is what a key came to, in short: the count of its events and a hash of its state.
type Life struct{ count, digest uint64 }

// Life is that of a state.
func (s *Stats) Life() Life { return Life{s.Count, s.digest()} }

// places numbers the keys of an audit. The place of a key that it does not know
// and does not add is negative.
type places interface {
	of(key []byte) int
	key(place int) string
}

// Finding is the result of a round.
type Finding struct {
	// Keys is the count of keys that the store holds.
	Keys uint64 `json:"keys"`
	// Events is the count of events in these states.
	Events uint64 `json:"events"`
	// Lost is the count of events that were acknowledged, or there in the round
	// before, and are not in the store.
	Lost uint64 `json:"lost"`
	// Unacknowledged is the count of events that were sent, are not in the store
	// and need not be.
	Unacknowledged uint64 `json:"unacknowledged"`
	// Wrong is the count of keys whose state is no fold of a prefix: an event is
	// missing in the middle, doubled, exchanged, altered, or was never sent.
	Wrong uint64 `json:"wrong"`
	// Examples are the first few of these, in words.
	Examples []string `json:"examples,omitempty"`
}

// examplesMax is how many examples a Finding keeps.
const examplesMax = 5

// OK says that nothing is lost and nothing wrong.
func (f *Finding) OK() bool { return f.Lost == 0 && f.Wrong == 0 }

// Err is nil if the finding is OK, and else says in one sentence what is not.
func (f *Finding) Err() error {
	if f.OK() {
		return nil
	}
	return fmt.Errorf("workload: %d acknowledged events are lost and %d keys have a wrong state: %s",
		f.Lost, f.Wrong, strings.Join(f.Examples, "; "))
}

// Add counts things that are wrong besides the states, with an example.
func (f *Finding) Add(wrong uint64, example string) {
	f.Wrong += wrong
	f.example("%s", example)
}

// Join adds what was found elsewhere.
func (f *Finding) Join(where string, o *Finding) {
	f.Lost += o.Lost
	f.Wrong += o.Wrong
	for _, e := range o.Examples {
		f.example("%s: %s", where, e)
	}
}

func (f *Finding) example(format string, a ...any) {
	if len(f.Examples) < examplesMax {
		f.Examples = append(f.Examples, fmt.Sprintf(format, a...))
	}
}

// NewNumbered audits generated keys with numbers below keys. It takes 64 bytes of
// memory for each of them.
func NewNumbered(keys uint64) (*Audit, error) {
	if keys < 1 || keys > math.MaxInt32 {
		return nil, fmt.Errorf("workload: cannot audit %d keys: 1 to %d", keys, math.MaxInt32)
	}
	return &Audit{find: numbered(keys), want: make([]Stats, keys), have: make([]Life, keys)}, nil
}

// NewNamed audits any keys, and takes memory for each that it is told of.
func NewNamed() *Audit { return &Audit{find: &named{places: map[string]int{}}} }

// numbered are the keys of AppendKey with numbers below it.
type numbered uint64

func (n numbered) of(key []byte) int {
	number, err := KeyNumber(key)
	if err != nil || number >= uint64(n) {
		return -1
	}
	return int(number)
}

func (n numbered) key(place int) string { return string(AppendKey(nil, uint64(place))) }

// named are keys in the order of their first use.
type named struct {
	places map[string]int
	keys   []string
}

func (n *named) of(key []byte) int {
	if place, ok := n.places[string(key)]; ok {
		return place
	}
	name := string(key)
	n.places[name] = len(n.keys)
	n.keys = append(n.keys, name)
	return len(n.keys) - 1
}

func (n *named) key(place int) string { return n.keys[place] }

// Begin begins a round.
func (a *Audit) Begin() {
	clear(a.have)
	a.lived = nil
	a.found = Finding{}
}

// Have tells a state of the store.
func (a *Audit) Have(key []byte, s *Stats) {
	a.found.Keys++
	a.found.Events += s.Count
	place := a.place(key)
	if place < 0 {
		a.found.Wrong++
		a.found.example("key %q was never sent", key)
		return
	}
	if a.have[place].count != 0 {
		a.found.Wrong++
		a.found.example("key %q is there twice", key)
	}
	a.have[place] = s.Life()
}

// Lived tells what a key was each time when it came to its end, in order.
func (a *Audit) Lived(key []byte, lives []Life) {
	place := a.place(key)
	if place < 0 {
		a.found.Add(1, fmt.Sprintf("key %q was never sent", key))
		return
	}
	if n := len(lives); n > 0 && lives[n-1] == a.have[place] {
		lives = lives[:n-1] // it has ended since
	}
	if len(lives) == 0 {
		return
	}
	for _, l := range lives {
		a.found.Events += l.count
	}
	if a.lived == nil {
		a.lived = map[int][]Life{}
	}
	a.lived[place] = append(a.lived[place], lives...)
}

// live folds an event into a life that has ended, if there is one left.
func (a *Audit) live(place int, e Event) bool {
	lives := a.lived[place]
	if len(lives) == 0 {
		return false
	}
	want := &a.want[place]
	want.Fold(e.Ordinal, e.Value)
	if want.Count < lives[0].count {
		return true
	}
	if want.Life() != lives[0] {
		a.found.Add(1, fmt.Sprintf("key %q has come to its end with %d events, but not those of its stream in their order", a.find.key(place), want.Count))
	}
	*want = Stats{}
	if a.lived[place] = lives[1:]; len(lives) == 1 {
		delete(a.lived, place)
	}
	return true
}

// place finds room for a key.
func (a *Audit) place(key []byte) int {
	place := a.find.of(key)
	for place >= len(a.want) {
		a.want = append(a.want, Stats{})
		a.have = append(a.have, Life{})
	}
	return place
}

// Event tells the next event that was sent, and whether it was acknowledged. It
// returns whether the store holds it, as far as the count of its key's events says.
func (a *Audit) Event(e Event, acknowledged bool) bool {
	place := a.place(e.Key)
	if place < 0 {
		a.found.Wrong++
		a.found.example("key %q does not belong to the stream", e.Key)
		return false
	}
	if a.live(place, e) {
		return true
	}
	want := &a.want[place]
	if want.Count < a.have[place].count {
		want.Fold(e.Ordinal, e.Value)
		return true
	}
	if !acknowledged {
		a.found.Unacknowledged++
		return false
	}
	a.found.Lost++
	a.found.example("event %d of key %q was acknowledged and is not there", e.Ordinal, e.Key)
	return false
}

// Expect folds an event that the store must hold, before the round begins: for
// streams that cannot be read again.
func (a *Audit) Expect(e Event) {
	if place := a.place(e.Key); place >= 0 {
		a.want[place].Fold(e.Ordinal, e.Value)
	}
}

// Events is how many events are in the states of this round, so far.
func (a *Audit) Events() uint64 { return a.found.Events }

// End ends the round.
func (a *Audit) End() Finding {
	for place := range a.lived {
		a.found.Add(1, fmt.Sprintf("key %q has come to its end with more events than were sent", a.find.key(place)))
	}
	for place := range a.want {
		a.compare(place)
	}
	return a.found
}

func (a *Audit) compare(place int) {
	want, have := &a.want[place], a.have[place]
	switch {
	case want.Count > have.count:
		a.found.Lost += want.Count - have.count
		a.found.example("key %q must have %d events and has %d", a.find.key(place), want.Count, have.count)
	case want.Count < have.count:
		a.found.Wrong++
		a.found.example("key %q has %d events and was sent %d", a.find.key(place), have.count, want.Count)
	case want.Count > 0 && want.digest() != have.digest:
		a.found.Wrong++
		a.found.example("key %q has %d events, but not the first %d of its stream in their order", a.find.key(place), have.count, have.count)
	}
}

// Want is what a single thread computed for key, as far as the rounds came.
func (a *Audit) Want(key []byte) Stats {
	place := a.place(key)
	if place < 0 {
		return Stats{}
	}
	return a.want[place]
}
