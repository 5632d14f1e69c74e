package engine_test

import (
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// stopped is a table whose clock stops while the store is down.
func stopped(idle time.Duration) *engine.Table[string, wait, int64, int64] {
	return waits(func(s *engine.Spec[string, wait, int64, int64]) {
		s.TTL = engine.TTL{Idle: idle, Downtime: engine.DowntimeStops}
	})
}

// Goal: where the clock stops while the store is down, nothing is due earlier than it was
// up for so long, whatever becomes of the log. Method: a timer and a key that are due in ten and twenty
// seconds of it, and hours in between of all kinds.
func TestClockThatStopsCountsOnlyTheTimeThatTheStoreWasUp(t *testing.T) {
	table := stopped(20 * time.Second)
	l := newLab(t, engine.Options{Shards: 2, Partitions: 64}, table)
	do(t, table, "a", 10)
	pass := func(d time.Duration) {
		l.now.Add(int64(d))
		must(t, l.moved(t.Context()))
	}
	for i, down := range []func(){
		func() { must(t, l.engine.Close()) },
		func() { l.die(crashfs.Kept) },
		func() { l.die(crashfs.Lost) },
		func() { must(t, l.engine.Close()); l.options.Shards = 3 },
	} {
		if i == 1 { // a crash knows of the time up to the last frame
			do(t, table, "b", 1000)
		}
		down()
		l.now.Add(int64(time.Hour))
		l.open()
		if pass(2 * time.Second); i < 3 {
			do(t, table, "b", 1000)
		}
	}
	if a, ok := get(t, table, "a"); a.Calls != 0 || !ok {
		t.Fatalf("after 8 seconds: %+v, %v", a, ok)
	}
	if pass(2*time.Second - 1); mustGet(t, table, "a").Calls != 0 {
		t.Fatal("before 10 seconds")
	}
	if pass(1); mustGet(t, table, "a").Calls != 1 {
		t.Fatal("not after 10 seconds")
	}
	if pass(10*time.Second - 1); mustGet(t, table, "a").Calls != 1 {
		t.Fatal("before 20 seconds")
	}
	pass(1)
	if _, ok := get(t, table, "a"); ok {
		t.Fatal("it lives for more than 20 seconds")
	}
}

func mustGet[K comparable, S, E, R any](t *testing.T, table *engine.Table[K, S, E, R], k K) S {
	t.Helper()
	s, ok := get(t, table, k)
	if !ok {
		t.Fatalf("%v is not there", k)
	}
	return s
}

func TestWhatWasDueWhileTheStoreWasDownIsFiredAfterwards(t *testing.T) {
	table := waits()
	l := newLab(t, engine.Options{Shards: 2, Partitions: 64}, table)
	do(t, table, "a", 10)
	must(t, l.engine.Close())
	l.now.Add(int64(time.Hour))
	l.open()
	must(t, l.moved(t.Context()))
	if a := mustGet(t, table, "a"); a.Calls != 1 || a.At != l.now.Load()/1e9 {
		t.Fatalf("%+v", a)
	}
}

// Goal: the times of the keys go along when a table gets, changes or loses its TTL.
func TestTTLMayChangeBetweenTwoPrograms(t *testing.T) {
	with := func(ttl engine.TTL) *engine.Table[string, wait, int64, int64] {
		return waits(func(s *engine.Spec[string, wait, int64, int64]) { s.TTL = ttl })
	}
	table := with(engine.TTL{})
	l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
	do(t, table, "a", 7200)
	next := func(ttl engine.TTL, passed time.Duration, lives bool) {
		t.Helper()
		table = with(ttl)
		l.tables = []engine.Definition{table}
		l.reopen()
		l.now.Add(int64(passed))
		must(t, l.moved(t.Context()))
		do(t, table, "b", -1) // so that the log says when times have begun
		l.crash(crashfs.Lost)
		must(t, l.moved(t.Context()))
		if _, ok := get(t, table, "a"); ok != lives {
			t.Fatalf("%+v: it lives is %v", ttl, ok)
		}
	}
	next(engine.TTL{}, time.Hour, true)
	next(engine.TTL{Idle: time.Hour}, time.Hour-1, true) // which begins when the table gets it
	l.reopen()
	l.reopen()
	next(engine.TTL{Idle: 2 * time.Hour}, 1, true)
	if a := mustGet(t, table, "a"); a.Calls != 1 {
		t.Fatalf("its timer was lost: %+v", a)
	}
	next(engine.TTL{Age: time.Minute, Idle: 2 * time.Hour}, time.Minute-1, true)
	next(engine.TTL{Idle: 2 * time.Hour, Downtime: engine.DowntimeStops}, 0, true)
	next(engine.TTL{Idle: 2 * time.Hour}, 0, true)
	next(engine.TTL{Idle: time.Hour}, 0, false)
}
