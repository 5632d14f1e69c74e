package engine_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// goldenLayers are tables of what golden stores hold from the third on: timers and deadlines,
// ids with their answers, the sequences of a producer, the position of a reader of changes,
// and the events of two versions in a log that is kept.
type goldenLayers struct {
	timed    *engine.Table[string, wait, int64, int64]
	answered *engine.Table[string, int64, int64, int64]
	deeds    *engine.Table[string, card2, paid2, struct{}]
}

const (
	goldenReader   = "golden reader"
	goldenProducer = "golden producer"
	goldenRead     = 60 // changes of answered that the reader has
	goldenSent     = 25 // events that the producer has sent
	goldenLater    = time.Minute
	goldenIdle     = time.Hour
)

func newGoldenLayers() *goldenLayers {
	g := &goldenLayers{}
	g.timed = waits(func(s *engine.Spec[string, wait, int64, int64]) {
		s.Name, s.TTL = "timed", engine.TTL{Idle: goldenIdle, Age: 2 * goldenIdle}
	})
	spec := counters("answered").Spec()
	spec.Once = engine.Once{IDs: 1 << 12}
	g.answered = engine.NewTable(spec)
	g.deeds = called("deeds", cards2(engine.UpgradeState(1, 2, stateTo2), engine.UpgradeEvent(1, 2, eventTo2)))
	return g
}

func (g *goldenLayers) all() []engine.Definition {
	return []engine.Definition{g.timed, g.answered, g.deeds}
}

// called is a table like another one with a name of its own.
func called[K comparable, S, E, R any](name string, like *engine.Table[K, S, E, R]) *engine.Table[K, S, E, R] {
	spec := like.Spec()
	spec.Name = name
	return engine.NewTable(spec)
}

// keepsAll is a store that keeps its log.
func keepsAll(o engine.Options) engine.Options {
	o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	return o
}

// goldenID is the id of event i.
func goldenID(i int) engine.EventID { return engine.EventIDOf(fmt.Sprint("golden ", i)) }

// send sends event i. Keys with an even number have a timer.
func (g *goldenLayers) send(t *testing.T, i int) {
	do(t, g.timed, fmt.Sprint("timed-", i%20), int64(goldenLater/time.Second)*int64(1-i%2))
	_, err := g.answered.DoOnce(t.Context(), goldenID(i), fmt.Sprint("key-", i%9), int64(i))
	must(t, err)
}

// finish sends what the producer sends, and has a reader read some changes.
func (g *goldenLayers) finish(t *testing.T, e *engine.Engine) {
	p, err := g.answered.Producer(engine.ProducerOptions[string, int64]{Name: goldenProducer})
	must(t, err)
	for i := range int64(goldenSent) {
		must(t, p.Send(t.Context(), "produced", i))
	}
	must(t, p.Flush(t.Context())) // without a Close, which would write down where it resumes
	cursor, err := e.Cursor(t.Context(), goldenReader)
	must(t, err)
	changes, err := g.answered.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{Stop: true})
	must(t, err)
	defer changes.Close()
	for range goldenRead {
		_, err := changes.Next(t.Context())
		must(t, err)
	}
	must(t, cursor.Commit(t.Context(), changes.Position()))
}

// check compares what an open store holds, and does with it, with what it must. It was
// closed for no time at all, by its clock.
func (g *goldenLayers) check(t *testing.T, l *lab) {
	t.Helper()
	g.checkChanges(t, l)
	totals := make(map[string]int64)
	for i := range goldenAll {
		key := fmt.Sprint("key-", i%9)
		totals[key] += int64(i)
		if answer, err := g.answered.DoOnce(t.Context(), goldenID(i), key, int64(i)); err != nil || answer != totals[key] {
			t.Fatalf("event %d was answered with %d, %v; want %d", i, answer, err, totals[key])
		}
	}
	totals["produced"] = goldenSent * (goldenSent - 1) / 2
	if have := everything(t, g.answered); !maps.Equal(have, totals) {
		t.Fatalf("answered holds %v, want %v", have, totals)
	}
	p, err := g.answered.Producer(engine.ProducerOptions[string, int64]{Name: goldenProducer})
	must(t, err)
	next, err := p.Resume(t.Context())
	if err != nil || next > goldenSent {
		t.Fatalf("the producer goes on with %d, %v", next, err)
	}
	for i := int64(next) - 1; i < goldenSent; i++ {
		must(t, p.Send(t.Context(), "produced", i))
	}
	must(t, p.Close(t.Context()))
	if have := everything(t, g.answered); !maps.Equal(have, totals) {
		t.Fatalf("after the producer has sent again answered holds %v, want %v", have, totals)
	}
	g.checkTimes(t, l)
}

// checkTimes lets time pass until the timers, and then the keys, are due.
func (g *goldenLayers) checkTimes(t *testing.T, l *lab) {
	t.Helper()
	for _, c := range []struct {
		later time.Duration
		keys  int
		calls int64
	}{{goldenLater - 1, 20, 0}, {1, 20, 1}, {goldenIdle - goldenLater - 1, 20, 1}, {1, 0, 0}} {
		l.now.Add(int64(c.later))
		must(t, l.moved(t.Context()))
		have := everything(t, g.timed)
		if len(have) != c.keys {
			t.Fatalf("after %v there are %d keys with times, want %d", c.later, len(have), c.keys)
		}
		for i := range c.keys {
			if calls := have[fmt.Sprint("timed-", i)].Calls; calls != c.calls*int64(1-i%2) {
				t.Fatalf("after %v: OnTimer was called %d times for key %d", c.later, calls, i)
			}
		}
	}
}

// checkChanges reads the changes of two versions, and those behind the cursor.
func (g *goldenLayers) checkChanges(t *testing.T, l *lab) {
	t.Helper()
	changes, err := g.deeds.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{Stop: true})
	must(t, err)
	defer changes.Close()
	have := make(ledger)
	for c, err := range changes.All(t.Context()) {
		must(t, err)
		have[c.Key] = append(have[c.Key], c.Event)
	}
	if want := goldenLedger(); !maps.EqualFunc(have, want, slices.Equal) {
		t.Fatalf("the changes of deeds are %v, want %v", have, want)
	}
	cursor, err := l.engine.Cursor(context.Background(), goldenReader)
	must(t, err)
	rest, err := g.answered.Changes(t.Context(), cursor.Position(), engine.ChangesOptions{Stop: true})
	must(t, err)
	defer rest.Close()
	n := 0
	for _, err := range rest.All(t.Context()) {
		must(t, err)
		n++
	}
	if want := goldenAll + goldenSent - goldenRead; n != want {
		t.Fatalf("there are %d changes behind the cursor, want %d", n, want)
	}
}

// goldenLedger are the events of deeds: of version 1, then of version 2.
func goldenLedger() ledger {
	want := make(ledger)
	for i := range int64(40) {
		key := fmt.Sprint("card-", i%6)
		want[key] = append(want[key], paid2{i, map[bool]string{true: "eur", false: "chf"}[i < 20]})
	}
	return want
}

// Goal: what the layers of a release keep, timers and deadlines, ids, producers, cursors and
// a log of two versions, is there in every later one.
func TestGoldenStoresKeepTheirLayers(t *testing.T) {
	stores, err := filepath.Glob("testdata/store-*")
	must(t, err)
	for _, dir := range stores {
		if !hasLayers(dir) {
			continue
		}
		for _, shards := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/shards=%d", filepath.Base(dir), shards), func(t *testing.T) {
				g, layers := newGoldenTables(), newGoldenLayers()
				options := keepsAll(smallStore())
				options.Shards, options.Partitions = shards, 0
				l := &lab{tb: t, options: options, tables: append(g.all(), layers.all()...), disk: diskOf(t, dir)}
				l.now.Store(1e18)
				l.open()
				defer func() { must(t, l.engine.Close()) }()
				layers.checkChanges(t, l)
				l.crash(crashfs.Lost)
				layers.check(t, l)
			})
		}
	}
}

// hasLayers says whether the golden store in dir has them: the first two are older.
func hasLayers(dir string) bool {
	return !slices.Contains([]string{"store-1", "store-2"}, filepath.Base(dir))
}
