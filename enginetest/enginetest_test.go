package enginetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// visit is the state of a key: how many events, and when the last one came.
type visit struct{ Count, Last int64 }

func visits() *engine.Table[string, visit, int64, int64] {
	return engine.NewTable(engine.Spec[string, visit, int64, int64]{
		Name: "visits",
		Apply: func(c *engine.Context[string], s *visit, e int64) int64 {
			s.Count, s.Last = s.Count+e, c.Now().UnixNano()
			return s.Count
		},
	})
}

func count(t *testing.T, table *engine.Table[string, visit, int64, int64]) visit {
	t.Helper()
	s, _, err := table.Get(context.Background(), "k")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t *testing.T, table *engine.Table[string, visit, int64, int64], ack engine.Ack) {
	t.Helper()
	if _, err := table.Do(context.Background(), "k", 1, ack); err != nil {
		t.Fatal(err)
	}
}

func TestClockIsTheTests(t *testing.T) {
	table := visits()
	store := enginetest.Open(t, table)
	if !store.Now().Equal(enginetest.Epoch) {
		t.Errorf("it begins at %v", store.Now())
	}
	send(t, table, engine.Durable)
	if last := count(t, table).Last; last != enginetest.Epoch.UnixNano() {
		t.Errorf("the first event came at %v", time.Unix(0, last))
	}
	store.Advance(90 * time.Minute)
	send(t, table, engine.Durable)
	want := enginetest.Epoch.Add(90 * time.Minute)
	if last := count(t, table).Last; last != want.UnixNano() || !store.Now().Equal(want) {
		t.Errorf("the second event came at %v", time.Unix(0, last))
	}
	store.CrashAndReopen(enginetest.PowerLost)
	if last := count(t, table).Last; last != want.UnixNano() || !store.Now().Equal(want) {
		t.Errorf("after a crash it came at %v", time.Unix(0, last))
	}
}

// Goal: each kind of crash keeps what it says. What is durable survives all of them;
// what was only written survives the end of the process.
func TestCrashesKeepWhatTheySay(t *testing.T) {
	for crash, keeps := range map[enginetest.Crash]int64{
		enginetest.ProcessKilled: 2,
		enginetest.PowerLost:     1,
	} {
		table := visits()
		store := enginetest.OpenOptions(t, engine.Options{
			Shards: 1, Partitions: 2, Sync: engine.SyncInterval, SyncInterval: time.Hour,
		}, table)
		send(t, table, engine.Written)
		if err := store.Engine().Snapshot(context.Background()); err != nil { // forces a sync
			t.Fatal(err)
		}
		send(t, table, engine.Written)
		store.CrashAndReopen(crash)
		if n := count(t, table).Count; n != keeps {
			t.Errorf("crash %d kept %d events, want %d", crash, n, keeps)
		}
	}
}

func TestReopenChangesTheNumberOfShards(t *testing.T) {
	table := visits()
	store := enginetest.Open(t, table)
	send(t, table, engine.Durable)
	for _, shards := range []int{5, 0, 1} {
		before := store.Engine()
		store.Reopen(shards)
		if store.Engine() == before {
			t.Error("Engine is still the old one")
		}
		stats, err := store.Engine().Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if shards == 0 {
			shards = 5
		}
		if len(stats.Shards) != shards || count(t, table).Count != 1 {
			t.Errorf("%d shards, %d events; want %d and 1", len(stats.Shards), count(t, table).Count, shards)
		}
	}
}

func TestStoresOfOneTestAreApart(t *testing.T) {
	a, b := visits(), visits()
	enginetest.Open(t, a)
	enginetest.Open(t, b)
	send(t, a, engine.Durable)
	if n := count(t, b).Count; n != 0 {
		t.Errorf("the other store has %d events", n)
	}
}

// Goal: what a program does to stores by itself happens on the disk and by the clock of the
// test. Method: a second engine beside the store, with a timer; a replay of its log; a crash
// of both.
func TestEnginesOfOneEnvironmentShareDiskAndClock(t *testing.T) {
	ctx := context.Background()
	table, other := visits(), visits()
	store := enginetest.Open(t, table)
	options := engine.Options{Shards: 1, Partitions: 2, Environment: store.Environment()}
	second, err := engine.Open(ctx, "/second", options, other)
	if err != nil {
		t.Fatal(err)
	}
	store.Advance(time.Hour)
	send(t, other, engine.Durable)
	if last := count(t, other).Last; last != store.Now().UnixNano() {
		t.Errorf("its event came at %v", time.Unix(0, last))
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	store.Advance(time.Hour) // it waits for nobody who is closed
	v, err := engine.Verify(ctx, "/second", engine.VerifyOptions{Environment: store.Environment()})
	if err != nil || v.Refused() != nil {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := engine.Verify(ctx, enginetest.Dir, engine.VerifyOptions{Environment: store.Environment()}); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("a store that is open: %v", err)
	}
	again := visits()
	if _, err := engine.Open(ctx, "/second", engine.Options{Environment: &engine.Environment{}}, again); err == nil {
		t.Error("an environment without a disk was taken")
	}
	store.CrashAndReopen(enginetest.PowerLost)
	options.Environment = store.Environment()
	if second, err = engine.Open(ctx, "/second", options, other); err != nil {
		t.Fatal(err)
	}
	if n := count(t, other).Count; n != 1 {
		t.Errorf("%d events are there behind the crash", n)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
