package engine_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A lab is a store in memory with the test's hands on its disk, clock and hash.
type lab struct {
	tb      testing.TB
	disk    *crashfs.FS
	options engine.Options
	tables  []engine.Definition
	engine  *engine.Engine
	hash    func(key []byte, seed uint64) uint64
	now     atomic.Int64                // the test's store publishes to the engine
	broken  bool                        // the engine may fail to close
	moved   func(context.Context) error // waits until what is due by the clock was fired
}

// smallStore are options under which little happens to be much.
func smallStore() engine.Options {
	return engine.Options{Shards: 2, Partitions: 64, SegmentBytes: 64 << 10}
}

func newLab(tb testing.TB, options engine.Options, tables ...engine.Definition) *lab {
	tb.Helper()
	return (&lab{tb: tb, options: options, tables: tables}).start()
}

// start opens a new store, which is closed when the test ends.
func (l *lab) start() *lab {
	l.tb.Helper()
	l.disk = crashfs.New()
	l.now.Store(1e18)
	l.open()
	l.tb.Cleanup(func() {
		if err := l.engine.Close(); err != nil && !l.broken {
			l.tb.Errorf("close: %v", err)
		}
	})
	return l
}

// tryOpen opens what is on the disk.
func (l *lab) tryOpen(options engine.Options, tables ...engine.Definition) (*engine.Engine, error) {
	options.Environment = &seam.Environment{FS: l.disk, Now: l.now.Load, Seed: 7, Hash: l.hash,
		Hear: func(moved func(context.Context) error) { l.moved = moved }}
	return engine.Open(context.Background(), "/store", options, tables...)
}

func (l *lab) open() {
	l.tb.Helper()
	e, err := l.tryOpen(l.options, l.tables...)
	if err != nil {
		l.tb.Fatalf("open: %v", err)
	}
	l.engine, l.broken = e, false
}

// reopen closes the store and opens it with the present options.
func (l *lab) reopen() {
	l.tb.Helper()
	if err := l.engine.Close(); err != nil {
		l.tb.Fatalf("close: %v", err)
	}
	l.open()
}

// crash replaces the disk by what a crash leaves of it, and opens that.
func (l *lab) crash(data crashfs.Survival) {
	l.tb.Helper()
	l.die(data)
	l.open()
}

// die replaces the disk by what a crash leaves of it, and gives the tables back.
func (l *lab) die(data crashfs.Survival) {
	next := l.disk.Crash(crashfs.Model{Data: data, Seed: 1})
	l.disk.SetHook(nil)
	_ = l.engine.Close() // on a disk that is gone
	l.disk = next
}

// holdSyncs stops every sync of a log until release is called.
func (l *lab) holdSyncs() (release func()) {
	return l.hold(func(op crashfs.Op) bool {
		return op.Kind == crashfs.Sync && strings.Contains(op.Name, "/log/")
	})
}

// hold stops the operations that match until release is called.
func (l *lab) hold(match func(crashfs.Op) bool) (release func()) {
	gate := make(chan struct{})
	l.disk.SetHook(func(op crashfs.Op) error {
		if match(op) {
			<-gate
		}
		return nil
	})
	release = sync.OnceFunc(func() { close(gate) })
	l.tb.Cleanup(release)
	return release
}

// failing makes the operations that match fail with err.
func (l *lab) failing(err error, match func(crashfs.Op) bool) {
	l.broken = true
	l.disk.SetHook(func(op crashfs.Op) error {
		if match(op) {
			return err
		}
		return nil
	})
}

// sum is a state without pointers.
type sum struct{ Count, Total, Last int64 }

func sums(name string) *engine.Table[string, sum, int64, struct{}] {
	return engine.Fold(name, func(_ *engine.Context[string], s *sum, e int64) {
		s.Count, s.Total, s.Last = s.Count+1, s.Total+e, e
	})
}

// counters answer how many events a key has had.
func counters(name string) *engine.Table[string, int64, int64, int64] {
	return engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name:  name,
		Apply: func(_ *engine.Context[string], s *int64, e int64) int64 { *s += e; return *s },
	})
}

// must fails the test on an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// do sends an event that has to succeed.
func do[K comparable, S, E, R any](tb testing.TB, t *engine.Table[K, S, E, R], k K, e E, ack ...engine.Ack) R {
	tb.Helper()
	value, err := t.Do(context.Background(), k, e, ack...)
	if err != nil {
		tb.Fatalf("do %v: %v", k, err)
	}
	return value
}

// get reads a state that has to be readable; found says whether there is one.
func get[K comparable, S, E, R any](tb testing.TB, t *engine.Table[K, S, E, R], k K) (state S, found bool) {
	tb.Helper()
	state, found, err := t.Get(context.Background(), k)
	if err != nil {
		tb.Fatalf("get %v: %v", k, err)
	}
	return state, found
}

// everything reads a whole table.
func everything[K comparable, S, E, R any](tb testing.TB, t *engine.Table[K, S, E, R]) map[K]S {
	tb.Helper()
	all := make(map[K]S)
	for entry, err := range t.All(context.Background()) {
		if err != nil {
			tb.Fatalf("all: %v", err)
		}
		if _, twice := all[entry.Key]; twice {
			tb.Fatalf("all shows %v twice", entry.Key)
		}
		all[entry.Key] = entry.State
	}
	return all
}
