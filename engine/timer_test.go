package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A wait is a state with a timer: its events say when it is to be called.
type wait struct{ Events, Calls, At int64 }

// waits sets a timer so many seconds from now with each event; 0 stops it, less than 0
// leaves it.
func waits(change ...func(*engine.Spec[string, wait, int64, int64])) *engine.Table[string, wait, int64, int64] {
	spec := engine.Spec[string, wait, int64, int64]{
		Name: "waits",
		Apply: func(c *engine.Context[string], s *wait, seconds int64) int64 {
			s.Events++
			switch {
			case seconds > 0:
				c.SetTimer(c.Now().Add(time.Duration(seconds) * time.Second))
			case seconds == 0:
				c.StopTimer()
			}
			return s.Calls
		},
		OnTimer: func(c *engine.Context[string], s *wait) { s.Calls, s.At = s.Calls+1, c.Now().Unix() },
	}
	for _, f := range change {
		f(&spec)
	}
	return engine.NewTable(spec)
}

func TestTimerIsCalledOnceWhenItIsDue(t *testing.T) {
	table := waits()
	s := enginetest.Open(t, table)
	began := s.Now().Unix()
	do(t, table, "a", 10)
	do(t, table, "b", 5)
	s.Advance(5*time.Second - 1)
	if b, _ := get(t, table, "b"); b.Calls != 0 {
		t.Fatalf("it was called before: %+v", b)
	}
	s.Advance(1)
	if b, _ := get(t, table, "b"); b != (wait{1, 1, began + 5}) {
		t.Fatalf("%+v", b)
	}
	for _, crash := range []enginetest.Crash{enginetest.ProcessKilled, enginetest.PowerLost} {
		s.CrashAndReopen(crash)
		if a, _ := get(t, table, "a"); a.Calls != 0 {
			t.Fatalf("it was called before: %+v", a)
		}
	}
	s.Advance(time.Hour)
	s.Reopen(3)
	s.Advance(time.Hour)
	if a, _ := get(t, table, "a"); a != (wait{1, 1, began + 3605}) {
		t.Fatalf("%+v", a)
	}
	if b, _ := get(t, table, "b"); b.Calls != 1 {
		t.Fatalf("it was called again: %+v", b)
	}
}

func TestTimerReplacesTheOneBeforeAndCanBeStopped(t *testing.T) {
	table := waits()
	s := enginetest.Open(t, table)
	for key, times := range map[string][]int64{"later": {5, 20}, "sooner": {20, 5}, "stopped": {5, 0}, "left": {5, -1}, "again": {5, 0, 20}} {
		for _, seconds := range times {
			do(t, table, key, seconds)
		}
	}
	called := func() (keys []string) {
		for key, s := range everything(t, table) {
			if s.Calls > 0 {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		return keys
	}
	if s.Advance(10 * time.Second); !slices.Equal(called(), []string{"left", "sooner"}) {
		t.Fatal(called())
	}
	if s.Advance(10 * time.Second); !slices.Equal(called(), []string{"again", "later", "left", "sooner"}) {
		t.Fatal(called())
	}
}

func TestKeyLivesAsLongAsItsTTLSays(t *testing.T) {
	var ended []string
	table := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name:  "sessions",
		Apply: func(_ *engine.Context[string], s *int64, e int64) int64 { *s += e; return *s },
		TTL:   engine.TTL{Idle: 30 * time.Minute, Age: 2 * time.Hour},
		OnExpire: func(c *engine.Context[string], s *int64) {
			if *s < 0 {
				*s = 1
				c.Keep()
				return
			}
			ended = append(ended, c.Key())
		},
	})
	s := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
	do(t, table, "quiet", 1)
	do(t, table, "kept", -1)
	for range 7 {
		do(t, table, "busy", 1)
		s.Advance(20 * time.Minute)
	}
	if !slices.Equal(ended, []string{"quiet", "kept", "busy"}) {
		t.Fatal(ended)
	}
	if all := everything(t, table); len(all) != 1 || all["busy"] != 1 {
		t.Fatal(all) // made again after two hours
	}
}

// Goal: what looks at a store without its program counts firings as its partitions do.
func TestStoreWithTimersIsWholeForWhoeverLooksAtIt(t *testing.T) {
	table := waits(func(s *engine.Spec[string, wait, int64, int64]) { s.TTL = engine.TTL{Idle: time.Minute} })
	l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
	for i := range 20 {
		do(t, table, fmt.Sprint("key-", i), int64(i))
	}
	l.now.Add(int64(10 * time.Second))
	must(t, l.moved(t.Context()))
	must(t, l.engine.Snapshot(t.Context()))
	do(t, table, "key-0", 1)
	l.now.Add(int64(2 * time.Minute))
	must(t, l.moved(t.Context()))
	stats, err := l.engine.Stats(t.Context())
	must(t, err)
	l.die(crashfs.Kept)
	v, err := l.look()
	if must(t, err); !v.Whole() || len(v.Faults) > 0 {
		t.Fatalf("%+v", v)
	}
	i := l.inspector()
	timers, last := 0, make([]uint64, 4)
	for e, err := range i.Log(t.Context(), "", "") {
		if must(t, err); e.Stamp == "timer" {
			timers++
		}
		last[e.Partition] = e.Sequence
	}
	for p, want := range stats.Partitions {
		if last[p] != want.Events {
			t.Errorf("partition %d ends with %d, want %d", p, last[p], want.Events)
		}
	}
	if want := stats.Fired.Timers + stats.Fired.Expired; uint64(timers) != want || want < 30 {
		t.Errorf("%d firings are shown of %d", timers, want)
	}
	must(t, i.Close())
	l.open()
}
