package engine_test

import (
	"context"
	"errors"
	"strings"
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

// Goal: the times of keys that are there when a table gets a TTL begin once, with the first
// open that has it, however the store is opened again, by itself or with events; and not
// with an open before that, of which another table with timers has told the log.
// Method: a key is made without a TTL, and must be gone an hour after the table got one.
func TestTheTimesOfKeysThatAreThereBeginOnce(t *testing.T) {
	for name, again := range map[string]func(l *lab){
		"killed":        func(l *lab) { l.crash(crashfs.Lost) },
		"kept and lost": func(l *lab) { l.crash(crashfs.Kept); l.crash(crashfs.Lost) },
		"closed":        func(l *lab) { l.reopen() },
		"resharded":     func(l *lab) { l.options.Shards = 3 - l.options.Shards; l.crash(crashfs.Lost) },
		"no snapshot": func(l *lab) {
			l.failing(errors.New("broken"), func(op crashfs.Op) bool { return strings.Contains(op.Name, "/snapshot/") })
			for range 2 { // the second begins when the first one's generation is valid
				if l.engine.Snapshot(context.Background()) == nil {
					l.tb.Fatal("the snapshot has not failed")
				}
			}
			l.crash(crashfs.Lost)
		},
		"snapshot": func(l *lab) { must(l.tb, l.engine.Snapshot(context.Background())); l.crash(crashfs.Lost) },
	} {
		for _, end := range []string{"crash", "close"} {
			t.Run(strings.ReplaceAll(name, " ", "-")+"/after="+end, func(t *testing.T) { beginOnce(t, end, again) })
		}
	}
}

// beginOnce has a table get a TTL after a crash or a close, and opens it again some times.
func beginOnce(t *testing.T, end string, again func(l *lab)) {
	table, other := counters("t"), stopped(time.Hour)
	l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table, other)
	do(t, table, "a", 1)
	must(t, l.engine.Snapshot(t.Context()))
	do(t, other, "b", -1) // so that the log has a clock
	l.crash(crashfs.Lost)
	do(t, other, "b", -1)
	l.now.Add(int64(2 * time.Hour))
	spec := table.Spec()
	spec.TTL = engine.TTL{Idle: time.Hour}
	table = engine.NewTable(spec)
	if l.with(table, other); end == "crash" {
		l.crash(crashfs.Lost)
	} else {
		l.reopen()
	}
	for range 5 {
		_, _, err := table.Get(t.Context(), "a", engine.OnlyDurable) // and the frame of the open is
		must(t, err)
		l.now.Add(int64(11 * time.Minute))
		again(l)
		must(t, l.moved(t.Context()))
		if _, ok := get(t, table, "a"); !ok {
			t.Fatal("it is gone before an hour is over")
		}
	}
	l.now.Add(int64(5 * time.Minute))
	must(t, l.moved(t.Context()))
	if _, ok := get(t, table, "a"); ok {
		t.Fatal("it is there after an hour")
	}
}

// Goal: what is pending keeps its distance when a table's clock begins to stop, or stops to,
// in a store that was down for some time before.
func TestTimersKeepTheirDistanceWhenTheClockChanges(t *testing.T) {
	with := func(mode engine.DowntimeMode) *engine.Table[string, wait, int64, int64] {
		return waits(func(s *engine.Spec[string, wait, int64, int64]) { s.TTL.Downtime = mode })
	}
	other := engine.NewTable(engine.Spec[string, int64, int64, int64]{ // whose clock always stops
		Name: "other", TTL: engine.TTL{Idle: 1000 * time.Hour, Downtime: engine.DowntimeStops},
		Apply: func(_ *engine.Context[string], s *int64, e int64) int64 { *s += e; return *s },
	})
	for name, modes := range map[string][2]engine.DowntimeMode{
		"stops to": {engine.DowntimeStops, engine.DowntimeCounts}, "begins to stop": {engine.DowntimeCounts, engine.DowntimeStops},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			table := with(modes[0])
			l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table, other)
			must(t, l.engine.Close())
			l.now.Add(int64(time.Hour)) // so that the two clocks differ
			l.open()
			do(t, table, "a", 10)
			table = with(modes[1])
			l.with(table, other).reopen()
			l.now.Add(int64(10*time.Second) - 1)
			must(t, l.moved(t.Context()))
			if a := mustGet(t, table, "a"); a.Calls != 0 {
				t.Fatalf("before 10 seconds: %+v", a)
			}
			l.now.Add(1)
			must(t, l.moved(t.Context()))
			if a := mustGet(t, table, "a"); a.Calls != 1 {
				t.Fatalf("after 10 seconds: %+v", a)
			}
		})
	}
}
