package pair_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

var small = workload.Generated{Keys: 500, Dist: "zipf:0.99", Seed: 7, Events: 10_000}

func options(door pair.Door) pair.Options {
	return pair.Options{Door: door, Producers: 1, Store: store.Options{
		Ack: "written", Sync: "5ms", EventBytes: limit.EventBytes, Shards: 2,
	}}
}

// rig is a drawn stream with what it comes to.
type rig struct {
	keys     []limit.Key
	stream   limit.Stream
	expected pair.Expected
}

func draw(t *testing.T, g workload.Generated) rig {
	t.Helper()
	keys, stream, err := pair.Draw(g)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := pair.Expect(g.Keys, stream)
	if err != nil {
		t.Fatal(err)
	}
	return rig{keys, stream, expected}
}

// rows opens both limit rows.
func (r *rig) rows(t *testing.T, cores int) (owners, pipeline pair.Side) {
	t.Helper()
	o, err := limit.NewOwners(t.TempDir(), cores, r.keys, r.stream)
	if err != nil {
		t.Fatal(err)
	}
	p, err := limit.NewPipeline(t.TempDir(), r.keys, r.stream)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Row(o), pair.Row(p)
}

// Goal: every way to the engine, and every row, hold what one thread computes after a
// contest, whose rounds all have a rate.
func TestContestantsComeToTheSameStates(t *testing.T) {
	r := draw(t, small)
	owners, pipeline := r.rows(t, 2)
	all := []pair.Contestant{
		{Name: "L4b", Side: owners, Events: len(r.stream.Keys), Expected: r.expected, Ordered: true},
		{Name: "L5", Side: pipeline, Events: len(r.stream.Keys), Expected: r.expected, Ordered: true},
	}
	for _, door := range pair.Doors() {
		for name, change := range map[string]func(*pair.Options){
			"plain": func(*pair.Options) {}, "four producers": func(o *pair.Options) { o.Producers = 4 },
			"long events":    func(o *pair.Options) { o.Store.EventBytes = 300 },
			"few partitions": func(o *pair.Options) { o.Partitions = 4 },
			"few in flight":  func(o *pair.Options) { o.InFlight = 10; o.Store.Ack = "applied" },
		} {
			o := options(door)
			change(&o)
			if door == pair.Source && o.Producers > 1 {
				continue
			}
			o.Store.Dir = filepath.Join(t.TempDir(), "store")
			side, err := pair.Open(t.Context(), o, r.keys, r.stream)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pair.Contestant{
				Name: string(door) + ", " + name, Side: side, Events: len(r.stream.Keys), Expected: r.expected, Ordered: o.Ordered(),
			})
		}
	}
	told := make(map[int]int) // passes by round
	rates, err := pair.Contest(t.Context(), all, 2, func(round int, _ string, _ float64) { told[round]++ })
	if err != nil || len(rates) != len(all) || len(told) != 2 || told[1] != len(all) || told[2] != len(all) {
		t.Errorf("%v, %v, told %v", rates, err, told)
	}
	for i, list := range rates {
		if len(list) != 2 || slices.Min(list) <= 0 || math.IsInf(slices.Max(list), 1) {
			t.Errorf("%s: %v", all[i].Name, list)
		}
		if err := all[i].Side.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongStateIsFound(t *testing.T) {
	r := draw(t, small)
	owners, pipeline := r.rows(t, 1)
	if _, err := owners.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.expected.Check(t.Context(), owners, 1, true); err != nil {
		t.Error(err)
	}
	busy := 0
	for i, s := range r.expected {
		if s.Count > r.expected[busy].Count {
			busy = i
		}
	}
	for name, spoil := range map[string]func(*limit.State){
		"count": func(s *limit.State) { s.Count++ }, "sum": func(s *limit.State) { s.Sum-- },
		"last": func(s *limit.State) { s.Last++ }, "max": func(s *limit.State) { s.Max++ },
	} {
		spoiled := slices.Clone(r.expected)
		spoil(&spoiled[busy])
		err := spoiled.Check(t.Context(), owners, 1, true)
		if _, wrong := errors.AsType[*pair.WrongError](err); !wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := []pair.Contestant{{Name: "L5", Side: pipeline, Events: 1, Expected: r.expected[:499], Ordered: true}}
	_, err := pair.Contest(t.Context(), all, 1, nil)
	if _, wrong := errors.AsType[*pair.WrongError](err); !wrong || !strings.HasPrefix(err.Error(), "L5: ") {
		t.Error(err)
	}
	if err := append(r.expected, limit.State{}).Check(t.Context(), owners, 1, true); err == nil || !strings.Contains(err.Error(), "501") {
		t.Error(err)
	}
	if err := errors.Join(owners.Close(), pipeline.Close()); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreRefusedInWords(t *testing.T) {
	for name, spoil := range map[string]func(*pair.Options){
		"door": func(o *pair.Options) { o.Door = "window" }, "producers": func(o *pair.Options) { o.Producers = 0 },
		"bytes": func(o *pair.Options) { o.Store.EventBytes = 31 }, "in flight": func(o *pair.Options) { o.InFlight = -1 },
		"producers need": func(o *pair.Options) { o.Door, o.Producers = pair.Source, 2 },
		"durable":        func(o *pair.Options) { o.Store.Sync, o.Store.Ack = "never", "durable" },
	} {
		o := options(pair.Producer)
		spoil(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, g := range []workload.Generated{{Keys: 10}, {Keys: 10, Events: pair.EventsMax + 1}, {Events: 10}, {Keys: 10, Events: 10, Dist: "none"}} {
		if _, _, err := pair.Draw(g); err == nil {
			t.Errorf("%+v was drawn", g)
		}
	}
	if _, err := pair.Contest(t.Context(), nil, 0, nil); err == nil {
		t.Error("a contest without rounds")
	}
}
