package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A twin is one of two stores that must not differ, with everything that a store can
// have: timers, deadlines that stop while it is down, ids, a producer with a name.
type twin struct {
	disk   *crashfs.FS
	dir    string
	rich   *engine.Table[string, chained, uint64, uint64]
	words  *engine.Table[string, string, uint64, struct{}]
	engine *engine.Engine
	fired  func(context.Context) error
	stops  bool // the clock of deadlines and timers, while the store is down
}

func (w *twin) open(t *testing.T, l *lab, o engine.Options) {
	t.Helper()
	ttl := engine.TTL{Idle: 300 * time.Second}
	if w.stops {
		ttl.Downtime = engine.DowntimeStops
	}
	w.rich = engine.NewTable(engine.Spec[string, chained, uint64, uint64]{
		Name: "rich", Once: engine.Once{IDs: 1000}, TTL: ttl,
		Apply: func(c *engine.Context[string], s *chained, e uint64) uint64 {
			s.Count, s.Chain = s.Count+1, (s.Chain^e)*0x9e3779b97f4a7c15
			if e%3 == 0 {
				c.SetTimer(c.Now().Add(time.Duration(20+e%200) * time.Second))
			}
			return s.Chain
		},
		OnTimer: func(_ *engine.Context[string], s *chained) { s.Chain = ^s.Chain },
	})
	w.words = engine.Fold("words", func(_ *engine.Context[string], s *string, e uint64) { *s += fmt.Sprint(e, " ") })
	o.Environment = &seam.Environment{
		FS: w.disk, Now: l.now.Load, Seed: 7, Hear: func(fired func(context.Context) error) { w.fired = fired },
	}
	e, err := engine.Open(t.Context(), w.dir, o, w.rich, w.words)
	must(t, err)
	w.engine = e
}

// events are how many each partition has had.
func (w *twin) events(t *testing.T) (all []uint64) {
	t.Helper()
	stats, err := w.engine.Stats(t.Context())
	must(t, err)
	for _, p := range stats.Partitions {
		all = append(all, p.Events)
	}
	return all
}

// states are all there are in some partitions, once nothing is due.
func (w *twin) states(t *testing.T, of []bool) map[string]any {
	t.Helper()
	must(t, w.fired(t.Context()))
	all := make(map[string]any)
	for e, err := range w.rich.All(t.Context()) {
		must(t, err)
		if of[twinPartition(e.Key)] {
			all["rich "+e.Key] = e.State
		}
	}
	for e, err := range w.words.All(t.Context()) {
		must(t, err)
		if of[twinPartition(e.Key)] {
			all["words "+e.Key] = e.State
		}
	}
	return all
}

func twinPartition(key string) int { return int(xxh3.HashSeed([]byte(key), 7) >> 61) }

// A richness is a store that ended in the middle of a life with two crashes and a close,
// hours apart.
type richness struct {
	*lab
	twin
	options engine.Options
	ids     uint64 // of the events with ids, from 1 on
	sent    uint64 // by the producer
}

func (r *richness) send(t *testing.T, n int) {
	t.Helper()
	p, err := r.words.Producer(engine.ProducerOptions[string, uint64]{Name: "sender"})
	must(t, err)
	_, err = p.Resume(t.Context())
	must(t, err)
	for range n {
		r.ids++
		_, err := r.rich.DoOnce(t.Context(), engine.EventIDOf(fmt.Sprint(r.ids)), twinKey(r.ids), r.ids)
		must(t, err)
		r.sent++
		must(t, p.SendAt(t.Context(), r.sent, twinKey(r.sent), r.sent))
		if r.lab.now.Add(int64(500 * time.Millisecond)); r.ids%8 == 0 {
			must(t, r.fired(t.Context()))
		}
	}
	must(t, p.Close(t.Context()))
	must(t, r.fired(t.Context()))
}

func twinKey(n uint64) string { return fmt.Sprint("key-", n%29) }

// live makes the store, without a word of it being open at the end.
func live(t *testing.T, stops bool) *richness {
	t.Helper()
	r := &richness{lab: &lab{tb: t}, options: engine.Options{
		Shards: 2, Partitions: 8, SegmentBytes: 4 << 10, SnapshotBytes: 1 << 30, Pin: engine.PinOff,
	}}
	r.lab.now.Store(1e18)
	r.twin.disk, r.dir, r.stops = crashfs.New(), "/store", stops
	for round := range 3 {
		r.twin.open(t, r.lab, r.options)
		r.send(t, 30)
		must(t, r.twin.engine.Move(t.Context(), round, 1-round%2))
		r.send(t, 30)
		if round < 2 {
			must(t, r.twin.engine.Snapshot(t.Context()))
			r.send(t, 20)
		}
		switch round {
		case 0:
			must(t, r.twin.engine.Close())
		default:
			next := r.twin.disk.Crash(crashfs.Model{Data: crashfs.Kept})
			_ = r.twin.engine.Close()
			r.twin.disk = next
		}
		if round < 2 {
			r.lab.now.Add(int64(100 * time.Second))
		}
	}
	r.lab.disk = r.twin.disk
	return r
}

// Goal: what a salvage keeps whole is whole in everything: states, timers that are pending,
// deadlines with the time that they have left, ids and their answers.
// Method: one store, and what is salvaged of it when a file is damaged, opened side by side
// from the moment on at which it ended. How long the store was up is known from its logs:
// a table whose clock stops while it is down is held to it where none is damaged.
func TestWhatSalvageKeepsGoesOnLikeTheStoreItself(t *testing.T) {
	seed := *salvageSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("repeat with: go test ./engine -run '^%s$' -salvage.seed %d", t.Name(), seed)
	whole := 0
	for round := range 12 {
		r := live(t, round < 2)
		damaged := r.twin.disk.Crash(crashfs.Model{Data: crashfs.Kept})
		r.twin.disk = r.twin.disk.Crash(crashfs.Model{Data: crashfs.Kept})
		r.lab.disk = damaged
		what := "nothing"
		if w := (&wreckage{lab: r.lab}); round > 1 {
			what = w.harm(random)
		}
		whole += r.compare(t, what, r.endsLog(what))
	}
	if whole < 12*8/2 {
		t.Errorf("only %d of %d partitions were whole", whole, 12*8)
	}
}

func differences(have, want map[string]any) (text string) {
	for key, state := range want {
		if have[key] != state {
			text += fmt.Sprintf("%s is %v, and must be %v; ", key, have[key], state)
		}
	}
	for key, state := range have {
		if _, ok := want[key]; !ok {
			text += fmt.Sprintf("%s is %v, and must not be; ", key, state)
		}
	}
	return text
}

// endsLog says that the file is the last one of a log. What is missing of it may never have
// been written, so a salvage cannot know that it was.
func (r *richness) endsLog(what string) bool {
	name, _, _ := strings.Cut(what, " ")
	generation := path.Dir(name)
	if path.Base(path.Dir(generation)) != "log" {
		return false
	}
	last := func(name string) bool {
		entries, err := r.twin.disk.ReadDir(path.Dir(name))
		must(r.lab.tb, err)
		return entries[len(entries)-1].Name() == path.Base(name)
	}
	return last(name) && last(generation)
}

// compare salvages what is damaged, and gives how many partitions are whole. If the end of a
// log is what is damaged, a loss need not be told.
func (r *richness) compare(t *testing.T, what string, end bool) (whole int) {
	t.Helper()
	at := r.lab.now.Load()
	r.lab.now.Add(int64(time.Hour)) // somebody has to come first
	found, err := engine.Salvage(t.Context(), "/store", "/new", engine.VerifyOptions{Environment: &seam.Environment{FS: r.lab.disk, Now: r.lab.now.Load}})
	must(t, err)
	r.lab.now.Store(at)
	saved := &twin{disk: r.lab.disk, dir: "/new", stops: r.stops}
	saved.open(t, r.lab, r.options)
	r.twin.open(t, r.lab, r.options)
	of := make([]bool, 8)
	lost := func(p int) bool {
		return slices.ContainsFunc(found.Losses, func(l engine.PartitionLoss) bool { return int(l.Partition) == p })
	}
	for p, events := range saved.events(t) {
		if of[p] = events == r.twin.events(t)[p]; of[p] {
			whole++
		}
		if of[p] == lost(p) && (of[p] || len(found.Notes) == 0 && !end) {
			t.Errorf("%s: partition %d has %d of %d events, and it says %+v", what, p, events, r.twin.events(t)[p], found)
		}
	}
	for _, later := range []time.Duration{0, 10 * time.Second, 60 * time.Second, 60 * time.Second, 150 * time.Second, 30 * time.Second} {
		r.lab.now.Add(int64(later))
		if want, have := r.states(t, of), saved.states(t, of); !maps.Equal(want, have) {
			t.Fatalf("%s: after %v more %s", what, later, differences(have, want))
		}
		must(t, saved.engine.Close())
		must(t, r.twin.engine.Close())
		r.lab.now.Add(int64(5 * time.Second))
		saved.open(t, r.lab, r.options)
		r.twin.open(t, r.lab, r.options)
	}
	for n := range r.ids {
		key := twinKey(n + 1)
		if !of[twinPartition(key)] {
			continue
		}
		id := engine.EventIDOf(fmt.Sprint(n + 1))
		want, wantErr := r.rich.DoOnce(t.Context(), id, key, n+1)
		have, err := saved.rich.DoOnce(t.Context(), id, key, n+1)
		if have != want || !errors.Is(err, wantErr) {
			t.Fatalf("%s: event %d again answers %d, %v, and must answer %d, %v", what, n+1, have, err, want, wantErr)
		}
	}
	must(t, saved.engine.Close())
	must(t, r.twin.engine.Close())
	return whole
}
