package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// A reuser is a codec of byte slices that decodes into the memory that it finds, as
// the contract of Codec allows.
type reuser struct{}

func (reuser) Name() string                                { return "reuser/1" }
func (reuser) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (reuser) Decode(src []byte, v *[]byte) error          { *v = append((*v)[:0], src...); return nil }

// bags keep the last event of each key, as it was handed to Apply.
func bags() *engine.Table[string, []byte, []byte, struct{}] {
	return engine.NewTable(engine.Spec[string, []byte, []byte, struct{}]{
		Name:       "bags",
		Apply:      func(_ *engine.Context[string], s *[]byte, e []byte) struct{} { *s = e; return struct{}{} },
		StateCodec: reuser{},
		EventCodec: reuser{},
	})
}

// Goal: a codec that decodes into memory it finds does not mix up keys: neither when
// Apply keeps its event, nor when snapshots are loaded, nor in a replay.
func TestKeysShareNoMemoryWhateverTheCodecReuses(t *testing.T) {
	table := bags()
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 1}, table)
	want := map[string]string{}
	fill := func(round string) {
		for _, k := range []string{"a", "b", "c", "d"} {
			want[k] = round + k
			do(t, table, k, []byte(want[k]))
		}
	}
	check := func(when string) {
		t.Helper()
		got := map[string]string{}
		for k, s := range everything(t, table) {
			got[k] = string(s)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	fill("x")
	check("applied")
	store.Reopen(0)
	check("loaded from a snapshot")
	fill("y")
	store.CrashAndReopen(enginetest.ProcessKilled)
	check("replayed")
}

// A document is a codec by way of JSON.
type document[T any] struct{}

func (document[T]) Name() string { return "json/1" }

func (document[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

func (document[T]) Decode(src []byte, v *T) error {
	var fresh T
	err := json.Unmarshal(src, &fresh)
	*v = fresh
	return err
}

// words is a state of maps and slices.
type words struct {
	Seen  map[string]int
	Order []string
}

// add panics in the middle of its change if word is "panic".
func (w *words) add(word string) {
	if w.Seen == nil {
		w.Seen = map[string]int{}
	}
	w.Seen[word]++
	if word == "panic" {
		panic("half done")
	}
	w.Order = append(w.Order, word)
}

func (w *words) clone() words {
	return words{Seen: maps.Clone(w.Seen), Order: slices.Clone(w.Order)}
}

func wordTable(clone func(*words) words) *engine.Table[string, words, string, int] {
	return engine.NewTable(engine.Spec[string, words, string, int]{
		Name:       "words",
		Apply:      func(_ *engine.Context[string], s *words, e string) int { s.add(e); return len(s.Order) },
		StateCodec: document[words]{},
		Clone:      clone,
	})
}

// Goal: a state of maps and slices is what its events made of it, also after a panic
// in the middle of a change, with Clone and without.
func TestStatesWithPointersSurvivePanicsSnapshotsAndCrashes(t *testing.T) {
	for name, clone := range map[string]func(*words) words{"clone": (*words).clone, "codec": nil} {
		t.Run(name, func(t *testing.T) {
			table := wordTable(clone)
			store := enginetest.Open(t, table)
			want := map[string]words{}
			for i := range 60 {
				k, word := fmt.Sprint("k", i%7), fmt.Sprint("w", i%5)
				w := want[k]
				w = w.clone()
				w.add(word)
				want[k] = w
				if n := do(t, table, k, word); n != len(w.Order) {
					t.Fatalf("%s: answer %d, want %d", k, n, len(w.Order))
				}
				if _, err := table.Do(context.Background(), k, "panic"); engine.OutcomeOf(err) != engine.NotDone || err == nil {
					t.Fatalf("panic: %v", err)
				}
			}
			checkWords(t, table, want)
			must(t, store.Engine().Snapshot(context.Background()))
			checkWords(t, table, want)
			store.Reopen(3)
			checkWords(t, table, want)
			store.CrashAndReopen(enginetest.PowerLost)
			checkWords(t, table, want)
		})
	}
}

func (w words) equal(o words) bool {
	return maps.Equal(w.Seen, o.Seen) && slices.Equal(w.Order, o.Order)
}

func checkWords(t *testing.T, table *engine.Table[string, words, string, int], want map[string]words) {
	t.Helper()
	if got := everything(t, table); !maps.EqualFunc(got, want, words.equal) {
		t.Errorf("%v, want %v", got, want)
	}
	for k, w := range want {
		if s, _ := get(t, table, k); !w.equal(s) {
			t.Errorf("%s: %v, want %v", k, s, w)
		}
	}
}

func TestCopiesOfStatesAreTheReadersOwn(t *testing.T) {
	for name, clone := range map[string]func(*words) words{"clone": (*words).clone, "codec": nil} {
		t.Run(name, func(t *testing.T) {
			table := wordTable(clone)
			enginetest.Open(t, table)
			do(t, table, "k", "a")
			s, _ := get(t, table, "k")
			s.Seen["mine"], s.Order[0] = 1, "mine"
			for _, all := range everything(t, table) {
				all.Seen["mine"], all.Order[0] = 1, "mine"
			}
			if s, _ := get(t, table, "k"); len(s.Seen) != 1 || s.Order[0] != "a" {
				t.Errorf("a reader has changed the state: %v", s)
			}
		})
	}
}

// point is a key, a state and an event of several fields.
type point struct {
	Name string
	X    int32
	On   bool
}

func TestBuiltInLayoutsCarryStructsOfStringsAndIntegers(t *testing.T) {
	table := engine.NewTable(engine.Spec[point, point, point, point]{
		Name:  "points",
		Apply: func(_ *engine.Context[point], s *point, e point) point { old := *s; *s = e; return old },
	})
	store := enginetest.Open(t, table)
	first, second := point{"a", -1, true}, point{"a", -1, false}
	do(t, table, first, point{"one", 1, true})
	do(t, table, second, point{"two", 2, false})
	store.CrashAndReopen(enginetest.PowerLost)
	if old := do(t, table, first, point{}); old != (point{"one", 1, true}) {
		t.Errorf("%+v", old)
	}
	if s, _ := get(t, table, second); s != (point{"two", 2, false}) {
		t.Errorf("%+v", s)
	}
}

// A rotten codec fails or panics when its turn comes.
type rotten struct {
	document[words]
	mode *string
}

func (r rotten) Append(dst []byte, v words) ([]byte, error) {
	switch *r.mode {
	case "error":
		return dst, errRotten
	case "panic":
		panic("rotten")
	}
	return r.document.Append(dst, v)
}

var errRotten = fmt.Errorf("rotten")

func TestCodecThatFailsOnASnapshotHurtsOnlyTheSnapshot(t *testing.T) {
	for _, mode := range []string{"error", "panic"} {
		t.Run(mode, func(t *testing.T) {
			now := ""
			table := engine.NewTable(engine.Spec[string, words, string, struct{}]{
				Name:       "words",
				Apply:      func(_ *engine.Context[string], s *words, e string) struct{} { s.add(e); return struct{}{} },
				StateCodec: rotten{mode: &now},
				Clone:      (*words).clone,
			})
			store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
			do(t, table, "k", "a")
			now = mode
			if err := store.Engine().Snapshot(context.Background()); err == nil {
				t.Error("a snapshot was taken of what cannot be encoded")
			}
			for _, err := range table.All(context.Background()) {
				if err == nil {
					t.Error("All showed what cannot be encoded")
				}
			}
			do(t, table, "k", "b")
			now = ""
			must(t, store.Engine().Snapshot(context.Background()))
			store.Reopen(0)
			if s, _ := get(t, table, "k"); !slices.Equal(s.Order, []string{"a", "b"}) {
				t.Errorf("%v", s)
			}
		})
	}
}

// A picky codec of strings refuses the empty one, panics at "panic", and gives
// nothing back when it fails.
type picky struct{}

func (picky) Name() string { return "picky/1" }

func (picky) Append(dst []byte, v string) ([]byte, error) {
	switch v {
	case "":
		return nil, errRotten
	case "panic":
		panic("picky")
	case "short":
		return dst[:0], nil
	}
	return append(dst, v...), nil
}

func (picky) Decode(src []byte, v *string) error {
	if string(src) == "unreadable" {
		return errRotten
	}
	*v = string(src)
	return nil
}

// Goal: what a codec cannot encode or decode is an error of that one call, on
// whatever goroutine the codec ran.
func TestErrorsAndPanicsOfCodecsBelongToTheirCall(t *testing.T) {
	table := engine.NewTable(engine.Spec[string, string, string, string]{
		Name:       "strings",
		Apply:      func(_ *engine.Context[string], s *string, e string) string { *s += e; return *s },
		KeyCodec:   picky{},
		EventCodec: picky{},
	})
	store := enginetest.Open(t, table)
	ctx := context.Background()
	for _, c := range []struct{ key, event string }{
		{"", "x"}, {"panic", "x"}, {"short", "x"}, {"k", ""}, {"k", "panic"}, {"k", "short"}, {"k", "unreadable"},
	} {
		_, err := table.Do(ctx, c.key, c.event)
		if err == nil || engine.OutcomeOf(err) != engine.NotDone {
			t.Errorf("key %q, event %q: %v", c.key, c.event, err)
		}
		var result engine.Result[string]
		b := store.Engine().Batch()
		table.Put(b, c.key, c.event, &result)
		table.Put(b, "good", "x", nil)
		if err := b.Do(ctx); err == nil || result.Err == nil {
			t.Errorf("batch, key %q, event %q: %v", c.key, c.event, err)
		}
	}
	if v := do(t, table, "k", "y"); v != "y" {
		t.Errorf("the state was %q", v)
	}
	store.CrashAndReopen(enginetest.PowerLost)
	if s, _ := get(t, table, "good"); s != "xxxxxxx" {
		t.Errorf("the rest of the batches came to %q", s)
	}
}
