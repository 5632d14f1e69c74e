package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/engine"
)

// A basket is a state with pointers, a buy an event with one.
type basket struct {
	Items map[string]int
	Last  []string
	total int // unexported, and kept all the same
}

type buy struct {
	Item   string
	Pieces int
	Tags   []string
}

// account is a key.
type account struct {
	Shop int
	Name string
}

// A jsonCodec encodes with encoding/json what of gives, and takes back with to.
type jsonCodec[T, J any] struct {
	of func(T) J
	to func(J) T
}

func (jsonCodec[T, J]) Name() string { return "json/1" }

func (c jsonCodec[T, J]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(c.of(v))
	return append(dst, b...), err
}

func (c jsonCodec[T, J]) Decode(src []byte, v *T) error {
	var j J
	err := json.Unmarshal(src, &j)
	*v = c.to(j)
	return err
}

func same[T any](v T) T { return v }

type basketJSON struct {
	Items map[string]int
	Last  []string
	Total int
}

type baskets = engine.Spec[account, basket, buy, int]

var errTooMany = errors.New("too many pieces")

// good declares a table that does everything right.
func good() baskets {
	return baskets{
		Name:     "baskets",
		KeyCodec: jsonCodec[account, account]{same[account], same[account]},
		StateCodec: jsonCodec[basket, basketJSON]{
			func(b basket) basketJSON { return basketJSON{b.Items, b.Last, b.total} },
			func(j basketJSON) basket { return basket{j.Items, j.Last, j.Total} },
		},
		EventCodec: jsonCodec[buy, buy]{same[buy], same[buy]},
		Check: func(_ *engine.Context[account], _ *basket, e buy) error {
			if e.Pieces > 8 {
				return errTooMany
			}
			return nil
		},
		Apply: func(c *engine.Context[account], s *basket, e buy) int {
			if e.Pieces == 0 && len(s.Items) > 3 {
				c.Delete()
				return 0
			}
			if s.Items == nil {
				s.Items = make(map[string]int)
			}
			s.Items[e.Item] += e.Pieces
			s.Last = append(s.Last, e.Item, fmt.Sprint(c.Now().UnixMilli(), c.Sequence(), c.Rand()%100))
			s.Last = append(s.Last[max(0, len(s.Last)-4):], e.Tags...)
			s.total += e.Pieces
			return s.total
		},
		Clone: func(s *basket) basket { return basket{maps.Clone(s.Items), slices.Clone(s.Last), s.total} },
	}
}

func generate(random *rand.Rand) (account, buy) {
	e := buy{Item: string(rune('a' + random.IntN(6))), Pieces: random.IntN(10)}
	for range random.IntN(3) {
		e.Tags = append(e.Tags, fmt.Sprint("tag-", random.IntN(4)))
	}
	return account{random.IntN(3), fmt.Sprint("n", random.IntN(6))}, e
}

func TestCheckPassesATableThatDoesEverythingRight(t *testing.T) {
	Check(t, engine.NewTable(good()), generate)
}

// A table without codecs and functions has nothing to get wrong but its fold.
func TestCheckPassesAPlainTable(t *testing.T) {
	type sum struct{ Count, Total int64 }
	table := engine.Fold("sums", func(_ *engine.Context[uint16], s *sum, e int64) { s.Count, s.Total = s.Count+1, s.Total+e })
	Check(t, table, func(random *rand.Rand) (uint16, int64) { return uint16(random.IntN(50)), random.Int64() })
}

// What time does to a table is as deterministic as what events do.
func TestCheckPassesATableWithTimers(t *testing.T) {
	spec := engine.Spec[uint16, visited, int64, struct{}]{
		Name: "visits",
		Apply: func(c *engine.Context[uint16], s *visited, e int64) struct{} {
			s.Open, s.Total = s.Open+1, s.Total+e
			c.SetTimer(c.Now().Add(20 * time.Millisecond))
			return struct{}{}
		},
		OnTimer:  func(_ *engine.Context[uint16], s *visited) { s.Open = 0 },
		TTL:      engine.TTL{Idle: 60 * time.Millisecond},
		OnExpire: func(*engine.Context[uint16], *visited) {},
	}
	Check(t, engine.NewTable(spec), func(random *rand.Rand) (uint16, int64) { return uint16(random.IntN(12)), random.Int64() })
}

type visited struct{ Open, Total int64 }

// A wrongness is a table that is wrong in one way: which check says so, and in what words.
type wrongness struct {
	what, check string
	words       string
	change      func(s *baskets)
}

// wrongFolds are wrong in their functions.
func wrongFolds() []wrongness {
	var outside atomic.Int64
	return []wrongness{
		{"a clock is read", "determinism", "not deterministic", func(s *baskets) {
			s.Apply = func(_ *engine.Context[account], s *basket, _ buy) int { s.total = int(time.Now().UnixNano()); return 0 }
		}},
		{"the order of a map", "determinism", "not deterministic", func(s *baskets) {
			apply := s.Apply
			s.Apply = func(c *engine.Context[account], s *basket, e buy) int {
				for item := range s.Items {
					s.Last = append(s.Last[:min(1, len(s.Last))], item)
					break
				}
				return apply(c, s, e)
			}
		}},
		{"a count outside of the state", "determinism", "not deterministic", func(s *baskets) {
			s.Apply = func(_ *engine.Context[account], s *basket, e buy) int {
				s.total = int(outside.Add(int64(e.Pieces)))
				return 0
			}
		}},
		{"a memory outside of the state, that begins anew", "determinism", "in other partitions", func(s *baskets) {
			last := ""
			s.Apply = func(c *engine.Context[account], s *basket, e buy) int {
				if c.Now().Equal(Epoch) { // where the clock stands still
					s.Last, last = []string{last}, e.Item
				}
				return 0
			}
		}},
		{"Init is random", "determinism", "not deterministic", func(s *baskets) {
			s.Init = func(_ *engine.Context[account], s *basket) { s.total = rand.IntN(1000) }
		}},
		{"Clone is shallow", "undo", "must copy all of it", func(s *baskets) {
			s.Clone = func(s *basket) basket { return *s }
		}},
		{"Clone forgets a field", "undo", "must copy all of it", func(s *baskets) {
			s.Clone = func(s *basket) basket { return basket{maps.Clone(s.Items), slices.Clone(s.Last), 0} }
		}},
		{"Check changes the state", "check", "has changed the state", func(s *baskets) {
			s.Check = func(_ *engine.Context[account], s *basket, _ buy) error { s.total++; return nil }
		}},
		{"Apply panics", "determinism", "panicked", func(s *baskets) {
			s.Apply = func(_ *engine.Context[account], s *basket, e buy) int { s.Items[e.Item]++; return 0 }
		}},
		{"a clock is read, and found by crashes", "crashes", "events had been acknowledged", func(s *baskets) {
			s.Apply = func(_ *engine.Context[account], s *basket, _ buy) int { s.total = int(time.Now().UnixNano()); return 0 }
		}},
	}
}

// wrongCodecs are wrong in what they write.
func wrongCodecs() []wrongness {
	return []wrongness{
		{"the state codec loses a field", "codecs", "StateCodec: a value does not come back", func(s *baskets) {
			s.StateCodec = jsonCodec[basket, basketJSON]{
				func(b basket) basketJSON { return basketJSON{b.Items, b.Last, b.total} },
				func(j basketJSON) basket { return basket{j.Items, j.Last, 0} },
			}
		}},
		{"the event codec loses a field", "codecs", "EventCodec: a value does not come back", func(s *baskets) {
			s.EventCodec = jsonCodec[buy, buy]{func(e buy) buy { e.Tags = nil; return e }, same[buy]}
		}},
		{"the event codec keeps what it borrows", "codecs", "or keeps them", func(s *baskets) { s.EventCodec = borrowing{} }},
		{"keys that share bytes", "codecs", "different keys must have different bytes", func(s *baskets) { s.KeyCodec = short{new(account)} }},
		{"a key with bytes of two kinds", "codecs", "equal keys must have equal bytes", func(s *baskets) { s.KeyCodec = &fickle{jsonCodec: s.KeyCodec.(jsonCodec[account, account])} }},
		{"Append forgets what was there", "codecs", "does not keep what was there before", func(s *baskets) { s.EventCodec = alone{} }},
		{"a state codec that loses a field, found by crashes", "crashes", "events had been acknowledged", func(s *baskets) {
			s.StateCodec = jsonCodec[basket, basketJSON]{
				func(b basket) basketJSON { return basketJSON{b.Items, b.Last, 0} },
				func(j basketJSON) basket { return basket{j.Items, j.Last, j.Total} },
			}
		}},
	}
}

// Goal: each check fails for a table that is wrong in what it checks, and says so in
// words that name it.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	for _, c := range append(wrongFolds(), wrongCodecs()...) {
		t.Run(c.what, func(t *testing.T) {
			spec := good()
			c.change(&spec)
			r := &trial[account, basket, buy, int]{spec: spec, generate: generate, seed: rand.Uint64()}
			for _, one := range r.checks() {
				if one.name != c.check {
					continue
				}
				if err := one.run(); err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("seed %d: %v, want words like %q", r.seed, err, c.words)
				}
			}
		})
	}
}

// short gives keys the same bytes that differ in their shop only, and remembers which it
// was asked for last: so each comes back, and only together they are wrong.
type short struct{ last *account }

func (short) Name() string { return "short" }
func (c short) Append(dst []byte, v account) ([]byte, error) {
	*c.last = v
	return append(dst, v.Name...), nil
}
func (c short) Decode(_ []byte, v *account) error { *v = *c.last; return nil }

// fickle encodes a key in one way or another.
type fickle struct {
	jsonCodec[account, account]
	calls int
}

func (f *fickle) Append(dst []byte, v account) ([]byte, error) {
	if f.calls++; f.calls%5 == 0 {
		dst = append(dst, ' ')
	}
	return f.jsonCodec.Append(dst, v)
}

// borrowing keeps the bytes that it is lent.
type borrowing struct{}

func (borrowing) Name() string { return "borrowing" }
func (borrowing) Append(dst []byte, v buy) ([]byte, error) {
	return append(append(dst, byte(v.Pieces)), strings.Join(append([]string{v.Item}, v.Tags...), ",")...), nil
}
func (borrowing) Decode(src []byte, v *buy) error {
	text := unsafeString(src[1:])
	all := strings.Split(text, ",")
	*v = buy{Item: all[0], Pieces: int(src[0]), Tags: all[1:]}
	return nil
}

// alone returns the encoding and nothing else.
type alone struct{}

func (alone) Name() string                           { return "alone" }
func (alone) Append(_ []byte, v buy) ([]byte, error) { return json.Marshal(v) }
func (alone) Decode(src []byte, v *buy) error        { return json.Unmarshal(src, v) }

func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
