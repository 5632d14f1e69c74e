package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// shardKeys finds keys for each of the shards of an engine, by the shard whose event
// count rises.
func shardKeys(t *testing.T, l *lab, table *engine.Table[string, sum, int64, bool], each int) [][]string {
	t.Helper()
	events := func() []uint64 {
		stats, err := l.engine.Stats(context.Background())
		must(t, err)
		var out []uint64
		for _, s := range stats.Shards {
			out = append(out, s.Events)
		}
		return out
	}
	before := events()
	keys := make([][]string, len(before))
	for i := 0; ; i++ {
		k := fmt.Sprint("key-", i)
		do(t, table, k, 0)
		full := true
		for shard, n := range events() {
			if n > before[shard] {
				keys[shard] = append(keys[shard], k)
			}
			full = full && len(keys[shard]) >= each
		}
		if before = events(); full {
			return keys
		}
	}
}

// ofShard matches operations on the files of one shard.
func ofShard(index int, kinds ...crashfs.Kind) func(crashfs.Op) bool {
	return func(op crashfs.Op) bool {
		for _, k := range kinds {
			if op.Kind == k && strings.Contains(op.Name, fmt.Sprintf("/shard-%03d/log/", index)) {
				return true
			}
		}
		return false
	}
}

// Goal: a shard whose log fails stops alone. Its calls are told whether they were
// done, its reads too, the other shards go on, and opening the store again brings
// back everything that was acknowledged, there and elsewhere.
func TestShardWhoseLogFailsLeavesTheOthersWorking(t *testing.T) {
	for _, kind := range []crashfs.Kind{crashfs.Write, crashfs.Sync} {
		for _, shards := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v/shards=%d", kind, shards), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { failOne(t, kind, shards) })
			})
		}
	}
}

func failOne(t *testing.T, kind crashfs.Kind, shards int) {
	table := lines("lines")
	l := newLab(t, engine.Options{Shards: shards, Partitions: 16}, table)
	ctx := context.Background()
	keys := shardKeys(t, l, table, 3)
	next := map[string]int64{}
	for _, of := range keys {
		for _, k := range of {
			next[k] = 1
		}
	}
	failing := shards - 1
	bad := keys[failing]
	l.failing(crashfs.ErrIO, ofShard(failing, kind))

	_, err := table.Do(ctx, bad[0], next[bad[0]])
	checkFailed(t, "the call that met the failure", err, failing, engine.Unknown)
	_, err = table.Do(ctx, bad[1], next[bad[1]])
	checkFailed(t, "a later call", err, failing, engine.NotDone)
	_, err = table.TryDo(ctx, bad[1], next[bad[1]], engine.Applied)
	checkFailed(t, "a later try", err, failing, engine.NotDone)
	_, _, err = table.Get(ctx, bad[1])
	checkFailed(t, "a read", err, failing, engine.NotDone)
	_, err = table.View(ctx, bad[1], func(*sum) { t.Error("a failed shard showed a state") })
	checkFailed(t, "a view", err, failing, engine.NotDone)
	for _, failed := range table.All(ctx) {
		err = failed
	}
	checkFailed(t, "a scan", err, failing, engine.NotDone)
	checkFailed(t, "a snapshot", l.engine.Snapshot(ctx), failing, engine.NotDone)
	checkFailedBatch(t, l, table, bad[2], next, keys, failing)
	checkFailedProducer(t, table, bad[2], next, failing)

	for shard, of := range keys {
		for _, k := range of {
			if shard != failing {
				do(t, table, k, next[k])
				next[k]++
			}
		}
	}
	stats, err := l.engine.Stats(ctx)
	must(t, err)
	for i, failure := range stats.Failed {
		if (failure != nil) != (i == failing) {
			t.Errorf("stats: shard %d: %v", i, failure)
		}
	}
	checkFailed(t, "close", l.engine.Close(), failing, engine.NotDone)
	l.die(crashfs.Lost)
	l.open()
	for k, n := range next {
		s, _ := get(t, table, k)
		if unknown := k == bad[0]; s.Total != 0 || s.Count != n && !(unknown && s.Count == n+1) {
			t.Errorf("%s: %+v, %d were acknowledged", k, s, n)
		}
	}
	do(t, table, bad[1], next[bad[1]])
}

func checkFailed(t *testing.T, what string, err error, shard int, outcome engine.Outcome) {
	t.Helper()
	var failed *engine.FailedError
	if !errors.Is(err, engine.ErrShardFailed) || !errors.As(err, &failed) {
		t.Fatalf("%s: %v", what, err)
	}
	if failed.Shard != shard || engine.OutcomeOf(err) != outcome || !errors.Is(err, crashfs.ErrIO) {
		t.Errorf("%s: %v: shard %d, %v; want shard %d, %v", what, err, failed.Shard, engine.OutcomeOf(err), shard, outcome)
	}
}

// checkFailedBatch sends one operation to each shard.
func checkFailedBatch(t *testing.T, l *lab, table *engine.Table[string, sum, int64, bool], bad string, next map[string]int64, keys [][]string, failing int) {
	t.Helper()
	b := l.engine.Batch()
	results := make([]engine.Result[bool], len(keys))
	for shard, of := range keys {
		k := of[2]
		table.Put(b, k, next[k], &results[shard])
	}
	checkFailed(t, "a batch", b.Do(context.Background()), failing, engine.NotDone)
	for shard, r := range results {
		if shard == failing {
			checkFailed(t, "its result", r.Err, failing, engine.NotDone)
		} else if r.Err != nil || !r.Value {
			t.Errorf("shard %d, which is well: %+v", shard, r)
		} else {
			next[keys[shard][2]]++
		}
	}
}

func checkFailedProducer(t *testing.T, table *engine.Table[string, sum, int64, bool], bad string, next map[string]int64, failing int) {
	t.Helper()
	back := 0
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Refused: func(_ string, _ int64, err error) {
		checkFailed(t, "handed back", err, failing, engine.NotDone)
		back++
	}})
	must(t, err)
	for range 5 {
		must(t, p.Send(context.Background(), bad, next[bad]))
	}
	must(t, p.Close(context.Background()))
	if back != 5 {
		t.Errorf("%d of 5 events were handed back", back)
	}
}

// Goal: without room nothing is applied, what there is can be read, and the shard
// takes writes again by itself when there is room.
func TestFullDiskMakesReadOnlyUntilThereIsRoom(t *testing.T) {
	table := lines("lines")
	l := newLab(t, smallStore(), table)
	ctx := context.Background()
	next := map[string]int64{}
	feed(t, table, next, 500)
	for range 3 {
		l.disk.SetCapacity(l.disk.Used())
		refused := 0
		for i := range 4000 {
			k := fmt.Sprint("key-", i%257)
			_, err := table.Do(ctx, k, next[k])
			switch {
			case err == nil:
				next[k]++ // there was room left that had been reserved
			case !errors.Is(err, engine.ErrReadOnly) || engine.OutcomeOf(err) != engine.NotDone:
				t.Fatalf("without room: %v", err)
			default:
				refused++
			}
		}
		if refused == 0 {
			t.Fatal("the disk was never full")
		}
		checkLines(t, table, next)
		if err := l.engine.Snapshot(ctx); err == nil {
			t.Error("a snapshot was taken without room")
		}
		l.disk.SetCapacity(0)
		feed(t, table, next, 300)
		checkLines(t, table, next)
	}
	must(t, l.engine.Snapshot(ctx))
	l.crash(crashfs.Lost)
	checkLines(t, table, next)
}

// Goal: a store can be closed on a full disk, and loses nothing by it.
func TestCloseOnAFullDiskLosesNothing(t *testing.T) {
	table := lines("lines")
	l := newLab(t, smallStore(), table)
	next := map[string]int64{}
	feed(t, table, next, 500)
	l.disk.SetCapacity(l.disk.Used())
	l.broken = true
	t.Logf("close: %v", l.engine.Close())
	l.disk.SetCapacity(0)
	l.open()
	checkLines(t, table, next)
}
