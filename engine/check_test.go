package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/crashfs"
)

var errPoor = errors.New("not enough money")

// accounts refuse events that would leave less than nothing.
func accounts(checks *int) *engine.Table[string, int64, int64, int64] {
	return engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "accounts",
		Check: func(_ *engine.Context[string], s *int64, e int64) error {
			*checks++
			if *s+e < 0 {
				return fmt.Errorf("%w: %d", errPoor, *s)
			}
			return nil
		},
		Apply: func(_ *engine.Context[string], s *int64, e int64) int64 { *s += e; return *s },
	})
}

func TestRefusedEventsAreNotDoneNotLoggedAndNotReplayed(t *testing.T) {
	checks := 0
	table := accounts(&checks)
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 1}, table)
	do(t, table, "a", 5)
	for range 10 {
		_, err := table.Do(context.Background(), "a", -6)
		if !errors.Is(err, errPoor) || engine.OutcomeOf(err) != engine.NotDone {
			t.Fatal(err)
		}
		if _, err := table.Do(context.Background(), "b", -1); !errors.Is(err, errPoor) {
			t.Fatal(err)
		}
	}
	do(t, table, "a", -5)
	ran := checks
	store.CrashAndReopen(enginetest.PowerLost)
	if checks != ran {
		t.Errorf("Check ran %d times in the replay", checks-ran)
	}
	if events := store.Engine().Recovery().Events; events != 2 {
		t.Errorf("%d events were replayed, want the 2 that were accepted", events)
	}
	all := everything(t, table)
	if _, there := all["b"]; there || len(all) != 1 || all["a"] != 0 {
		t.Errorf("%v", all)
	}
}

// Goal: nobody is refused because of an event that a crash then takes back. So the
// refusal waits for the sync of the event that it looked at.
func TestRefusalWaitsForTheFrameThatWasOpenWhenItRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		table := accounts(&checks)
		l := newLab(t, engine.Options{Shards: 1, Partitions: 1}, table)
		do(t, table, "a", 5)
		release := l.holdSyncs()
		do(t, table, "a", -5, engine.Applied)
		told := make(chan error, 2)
		go func() { _, err := table.Do(context.Background(), "a", -1); told <- err }()
		synctest.Wait()
		go func() { _, err := table.Do(context.Background(), "z", -1); told <- err }()
		synctest.Wait()
		if checks != 4 || len(told) != 0 {
			t.Fatalf("%d checks ran, %d refusals were told before the sync", checks, len(told))
		}
		release()
		for range 2 {
			if err := <-told; !errors.Is(err, errPoor) {
				t.Error(err)
			}
		}
	})
}

func TestRefusalOfACrashedEngineIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		table := accounts(&checks)
		l := newLab(t, engine.Options{Shards: 1, Partitions: 1}, table)
		do(t, table, "a", 5)
		release := l.holdSyncs()
		do(t, table, "a", -5, engine.Applied)
		told := make(chan error, 1)
		go func() { _, err := table.Do(context.Background(), "a", -1); told <- err }()
		synctest.Wait()
		next := l.disk.Crash(crashfs.Model{})
		release()
		_ = l.engine.Close()
		if err := <-told; errors.Is(err, errPoor) {
			t.Errorf("told %v, because of an event that the crash took back", err)
		}
		l.disk = next
		l.open()
		if s, _ := get(t, table, "a"); s != 5 {
			t.Errorf("%d", s)
		}
	})
}

// Goal: Check cannot change anything where the engine can prevent it: neither a state
// that is there, nor one that is about to be, nor what Apply and a replay see.
func TestCheckChangesNothing(t *testing.T) {
	draws := [2]uint64{}
	table := engine.NewTable(engine.Spec[string, sum, int64, sum]{
		Name: "a",
		Init: func(c *engine.Context[string], s *sum) { s.Total = int64(c.Rand() >> 1) },
		Check: func(c *engine.Context[string], s *sum, e int64) error {
			draws[0] = c.Rand()
			*s = sum{99, 99, 99}
			c.Delete()
			return nil
		},
		Apply: func(c *engine.Context[string], s *sum, e int64) sum {
			draws[1] = c.Rand()
			s.Count, s.Last = s.Count+1, int64(c.Rand()>>1)
			return *s
		},
	})
	store := enginetest.Open(t, table)
	first := do(t, table, "k", 1)
	if first.Count != 1 || first.Total == 99 {
		t.Errorf("Check has changed the state of a new key: %+v", first)
	}
	second := do(t, table, "k", 1)
	if second.Count != 2 || second.Total != first.Total {
		t.Errorf("Check has changed the state: %+v", second)
	}
	if draws[0] == 0 || draws[1] == 0 {
		t.Error("Rand did not run")
	}
	store.CrashAndReopen(enginetest.PowerLost)
	if s, found := get(t, table, "k"); !found || s != second {
		t.Errorf("the replay came to %+v, want %+v", s, second)
	}
}

// moment is what Apply saw of its Context.
type moment struct {
	Key, Bytes     string
	Now            int64
	Sequence, Rand uint64
	Rand2          uint64
	Inits          int64
}

// moments keep, of each key, what its Context said; event "gone" deletes the key.
func moments() *engine.Table[string, moment, string, moment] {
	return engine.NewTable(engine.Spec[string, moment, string, moment]{
		Name: "moments",
		Init: func(c *engine.Context[string], s *moment) { s.Inits, s.Rand2 = s.Inits+1, c.Rand() },
		Apply: func(c *engine.Context[string], s *moment, e string) moment {
			*s = moment{
				Key: c.Key(), Bytes: string(c.KeyBytes()), Now: c.Now().UnixNano(),
				Sequence: c.Sequence(), Rand: c.Rand() ^ c.Rand()<<1, Rand2: s.Rand2, Inits: s.Inits,
			}
			if e == "gone" {
				c.Delete()
			}
			return *s
		},
	})
}

// Goal: Context tells a replay what it told the first run, in one partition and in
// many, over frames of several times.
func TestReplaySeesTheContextOfTheFirstRun(t *testing.T) {
	for _, partitions := range []int{1, 64} {
		table := moments()
		store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: partitions}, table)
		want := map[string]moment{}
		last := map[bool]moment{}
		for i := range 200 {
			k := fmt.Sprint("key", i%9)
			if i%3 == 0 {
				store.Advance(700 * time.Microsecond)
			}
			m := do(t, table, k, "", engine.Ack(i%3))
			want[k] = m
			if m.Key != k || m.Bytes != k {
				t.Fatalf("key %q: %+v", k, m)
			}
			if lag := store.Now().UnixNano() - m.Now; lag < 0 || lag >= int64(time.Millisecond) {
				t.Fatalf("event %d: Now lags by %v", i, time.Duration(lag))
			}
			if before := last[true]; m.Now < before.Now || partitions == 1 && m.Sequence != before.Sequence+1 || m.Rand == before.Rand {
				t.Fatalf("event %d: %+v after %+v", i, m, before)
			}
			last[true] = m
		}
		do(t, table, "end", "")
		delete(want, "end")
		for _, again := range []func(){
			func() { store.CrashAndReopen(enginetest.PowerLost) },
			func() { store.Reopen(2) },
			func() { store.CrashAndReopen(enginetest.ProcessKilled) },
		} {
			again()
			for k, w := range want {
				if s, _ := get(t, table, k); s != w {
					t.Fatalf("%s: %+v, was %+v", k, s, w)
				}
			}
		}
	}
}

func TestDeletedKeysAreGoneAndBeginAgainWithInit(t *testing.T) {
	table := moments()
	store := enginetest.Open(t, table)
	check := func(when string, want bool) {
		t.Helper()
		if _, found := get(t, table, "k"); found != want {
			t.Errorf("%s: found %v", when, found)
		}
		if _, there := everything(t, table)["k"]; there != want {
			t.Errorf("%s: All shows it: %v", when, there)
		}
	}
	do(t, table, "k", "gone")
	check("deleted by its first event", false)
	first := do(t, table, "k", "")
	do(t, table, "k", "gone")
	check("deleted", false)
	store.CrashAndReopen(enginetest.PowerLost)
	check("replayed", false)
	store.Reopen(0)
	check("loaded", false)
	second := do(t, table, "k", "")
	if second.Inits != 1 || second.Rand2 == first.Rand2 || second.Sequence <= first.Sequence {
		t.Errorf("made again: %+v, before it was %+v", second, first)
	}
	check("made again", true)
}

// Goal: the time of events never runs back, although the clock of the system does:
// while the engine runs, over a crash, a reopening and a change of the shards.
func TestTimeNeverRunsBackWhateverTheClockDoes(t *testing.T) {
	table := moments()
	l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
	last := int64(0)
	step := func(what string) {
		t.Helper()
		for _, k := range []string{"a", "b", "c", "d"} {
			m := do(t, table, k, "")
			if m.Now < last {
				t.Errorf("%s: the time ran back by %v", what, time.Duration(last-m.Now))
			}
			last = m.Now
		}
	}
	step("at first")
	l.now.Add(-int64(time.Hour))
	step("clock set back")
	l.crash(crashfs.Kept)
	step("after a crash")
	l.reopen()
	step("after a close")
	l.options.Shards = 2
	l.reopen()
	step("with two shards")
	l.now.Add(int64(2 * time.Hour))
	step("clock set right")
	l.now.Add(-int64(time.Hour))
	l.options.Shards = 1
	l.reopen()
	step("with one shard again")
}

// Goal: Now resolves a millisecond also within a frame that stays open for long, and
// a replay sees the same times.
func TestTimeMovesOnWithinAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := moments()
		l := newLab(t, engine.Options{Shards: 1, Partitions: 1}, table)
		release := l.holdSyncs()
		want := map[string]moment{}
		for i := range 10 { // the first is written, the others wait in the open frame
			k := fmt.Sprint(i)
			want[k] = do(t, table, k, "", engine.Applied)
			if lag := l.now.Load() - want[k].Now; lag < 0 || lag >= int64(time.Millisecond) {
				t.Errorf("event %d: Now lags by %v", i, time.Duration(lag))
			}
			l.now.Add(int64(3 * time.Millisecond))
		}
		release()
		do(t, table, "end", "")
		l.crash(crashfs.Lost)
		for k, w := range want {
			if s, _ := get(t, table, k); s != w {
				t.Errorf("replayed: %+v, was %+v", s, w)
			}
		}
	})
}

// Goal: times are in UTC wherever the program runs, so that an Apply that looks at the hour
// does the same in a replay on another machine. Method: the zone of the times that functions
// and readers see.
func TestTimesAreInUTC(t *testing.T) {
	table := engine.Fold("hours", func(c *engine.Context[string], utc *bool, _ int64) { *utc = c.Now().Location() == time.UTC })
	options := smallStore()
	options.KeepLog.Bytes = 1 << 20
	newLab(t, options, table)
	do(t, table, "k", 1)
	if utc, _ := get(t, table, "k"); !utc {
		t.Error("Context.Now is in the zone of the machine")
	}
	changes, err := table.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{})
	must(t, err)
	defer func() { must(t, changes.Close()) }()
	for change, err := range changes.All(t.Context()) {
		must(t, err)
		if change.Time.Location() != time.UTC {
			t.Errorf("Change.Time is %v", change.Time)
		}
		break
	}
}
