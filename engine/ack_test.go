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

var (
	ackNames   = map[engine.Ack]string{engine.Applied: "applied", engine.Written: "written", engine.Durable: "durable"}
	syncNames  = map[engine.SyncMode]string{engine.SyncAlways: "always", engine.SyncInterval: "interval", engine.SyncNever: "never"}
	crashNames = map[enginetest.Crash]string{enginetest.ProcessKilled: "process", enginetest.PowerLost: "power", enginetest.PowerLostTorn: "torn"}
)

// survives is the table of the README: whether an event that was acknowledged at ack
// is there after a crash. Where it says no, it may be.
func survives(ack engine.Ack, crash enginetest.Crash) bool {
	switch ack {
	case engine.Durable:
		return true
	case engine.Written:
		return crash == enginetest.ProcessKilled
	}
	return false
}

// Goal: every cell of ack, sync mode and kind of crash is what the README says.
// Method: acknowledged calls of one goroutine on one key, then the crash. What is
// there must be a prefix of them, and all of them where the cell says kept.
func TestAcknowledgedEventsSurviveAsTheTableSays(t *testing.T) {
	for sync, syncName := range syncNames {
		for ack, ackName := range ackNames {
			for crash, crashName := range crashNames {
				t.Run(fmt.Sprintf("sync=%s/ack=%s/crash=%s", syncName, ackName, crashName), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						checkCell(t, sync, ack, crash)
					})
				})
			}
		}
	}
}

func checkCell(t *testing.T, sync engine.SyncMode, ack engine.Ack, crash enginetest.Crash) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 8, Sync: sync, SyncInterval: time.Second}, table)
	ctx := context.Background()
	if ack == engine.Durable && sync == engine.SyncNever {
		if _, err := table.Do(ctx, "k", 0, ack); !errors.Is(err, engine.ErrNeverDurable) {
			t.Errorf("%v", err)
		}
		return
	}
	floor := int64(0) // what must be there
	for round := range int64(3) {
		last := floor
		if round == 1 {
			p, err := table.Producer(engine.ProducerOptions[string, int64]{Ack: ack})
			must(t, err)
			for range 20 {
				must(t, p.Send(ctx, "k", last))
				last++
			}
			must(t, p.Close(ctx))
		} else {
			for range 20 {
				do(t, table, "k", last, ack)
				last++
			}
		}
		store.CrashAndReopen(crash)
		s, _ := get(t, table, "k")
		if s.Total != 0 || s.Count > last || s.Count < floor || survives(ack, crash) && s.Count != last {
			t.Fatalf("round %d: %+v after %d events, %d of them kept before", round, s, last, floor)
		}
		floor = s.Count
	}
}

// Goal: the cells that may lose do so at the worst moment, so that the promises of
// the others are not kept by luck.
func TestWeakAcksAreToldBeforeTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ack := range []engine.Ack{engine.Applied, engine.Written} {
			table := lines("lines")
			l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
			do(t, table, "k", 0)
			release := l.holdSyncs()
			do(t, table, "k", 1, ack)
			next := l.disk.Crash(crashfs.Model{Data: crashfs.Lost})
			release()
			_ = l.engine.Close()
			l.disk = next
			l.open()
			checkLines(t, table, map[string]int64{"k": 1})
		}
	})
}

func TestDurableCallWaitsForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4, Sync: engine.SyncInterval, SyncInterval: time.Hour}, table)
		began := time.Now()
		do(t, table, "k", 0, engine.Written)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a call at Written waited %v", waited)
		}
		do(t, table, "k", 1)
		if waited := time.Since(began); waited < time.Hour || waited > 2*time.Hour {
			t.Errorf("a call at Durable waited %v", waited)
		}
	})
}

// Goal: OnlyDurable shows nothing that a crash can take back; other reads do.
func TestOnlyDurableWaitsForWhatItShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
		release := l.holdSyncs()
		do(t, table, "k", 0, engine.Applied)
		if s, found := get(t, table, "k"); !found || s.Count != 1 {
			t.Errorf("Get shows %+v", s)
		}
		told := make(chan int64, 2)
		go func() {
			s, _, err := table.Get(context.Background(), "k", engine.OnlyDurable)
			if err != nil {
				t.Error(err)
			}
			told <- s.Count
		}()
		go func() {
			count := int64(0)
			if _, err := table.View(context.Background(), "k", func(s *sum) { count = s.Count }, engine.OnlyDurable); err != nil {
				t.Error(err)
			}
			told <- count
		}()
		synctest.Wait()
		if len(told) != 0 {
			t.Fatal("shown before the sync")
		}
		release()
		if a, b := <-told, <-told; a != 1 || b != 1 {
			t.Errorf("shown: %d and %d", a, b)
		}
	})
}

// Goal: one engine's tables keep apart, over everything that rebuilds them.
func TestTablesOfOneEngineKeepApart(t *testing.T) {
	a, b, c := sums("a"), lines("b"), moments()
	store := enginetest.Open(t, a, b, c)
	for i := range int64(30) {
		do(t, a, "k", i)
		do(t, b, "k", i)
		do(t, c, "k", "")
	}
	check := func(when string) {
		t.Helper()
		x, _ := get(t, a, "k")
		y, _ := get(t, b, "k")
		z, _ := get(t, c, "k")
		if x != (sum{30, 435, 29}) || y != (sum{30, 0, 29}) || z.Sequence != 90 || z.Inits != 1 {
			t.Errorf("%s: %+v, %+v, %+v", when, x, y, z)
		}
	}
	check("applied")
	store.CrashAndReopen(enginetest.PowerLostTorn)
	check("replayed")
	store.Reopen(5)
	check("with another number of shards")
	store.CrashAndReopen(enginetest.ProcessKilled)
	check("after the next crash")
}
