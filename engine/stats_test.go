package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: what is said of the engine, of its shards, its partitions and its tables are the
// same events and keys.
func TestStatsAddUp(t *testing.T) {
	users, pages := sums("users"), engine.Fold("pages", func(_ *engine.Context[int64], s *int64, e int64) { *s += e })
	store := enginetest.OpenOptions(t, engine.Options{Shards: 3, Partitions: 32}, users, pages)
	for i := range 400 {
		do(t, users, fmt.Sprint("user-", i%50), 1)
		do(t, pages, int64(i%20), 1)
	}
	for range 10 {
		get(t, users, "user-7")
	}
	stats, err := store.Engine().Stats(context.Background())
	must(t, err)
	checkSums(t, stats)
	if stats.Events != 800 || stats.Reads != 10 || stats.Keys != 70 || stats.Refused != 0 {
		t.Errorf("%d events, %d reads, %d keys, %d refused", stats.Events, stats.Reads, stats.Keys, stats.Refused)
	}
	for i, want := range []engine.TableStats{{Name: "users", Operations: 410, Keys: 50}, {Name: "pages", Operations: 400, Keys: 20}} {
		if have := stats.Tables[i]; have.Name != want.Name || have.Operations != want.Operations || have.Keys != want.Keys || have.StateBytes <= 0 {
			t.Errorf("table %+v, want %+v", have, want)
		}
	}
	store.CrashAndReopen(enginetest.ProcessKilled)
	again, err := store.Engine().Stats(context.Background())
	must(t, err)
	for i, p := range again.Partitions {
		if p.Events != stats.Partitions[i].Events || p.Keys != stats.Partitions[i].Keys {
			t.Errorf("partition %+v, and %+v before it was recovered", p, stats.Partitions[i])
		}
	}
}

// checkSums fails the test unless the figures of partitions, shards and tables have the
// same sums as those of the engine.
func checkSums(t *testing.T, s engine.Stats) {
	t.Helper()
	var partitions, shards, tables struct{ keys, bytes int }
	events, accepted := uint64(0), uint64(0)
	owned := make([]int, len(s.Shards))
	for id, p := range s.Partitions {
		if p.Partition != uint32(id) {
			t.Errorf("partition %d says that it is %d", id, p.Partition)
		}
		owned[p.Shard]++
		events += p.Events
		partitions.keys += p.Keys
		partitions.bytes += p.StateBytes
	}
	for i, sh := range s.Shards {
		if sh.Partitions != owned[i] {
			t.Errorf("shard %d owns %d partitions, %d say so", i, sh.Partitions, owned[i])
		}
		accepted += sh.Events
		shards.keys += sh.Keys
		shards.bytes += sh.StateBytes
	}
	for _, table := range s.Tables {
		tables.keys += table.Keys
		tables.bytes += table.StateBytes
	}
	if partitions != shards || tables != shards || shards.keys != s.Keys || shards.bytes != s.StateBytes {
		t.Errorf("keys and bytes: partitions %v, shards %v, tables %v, engine %d %d", partitions, shards, tables, s.Keys, s.StateBytes)
	}
	if events != accepted || accepted != s.Events {
		t.Errorf("events: partitions %d, shards %d, engine %d", events, accepted, s.Events)
	}
}

// Goal: hot keys are shown as a reader of the program would write them.
func TestHotKeysAreNamed(t *testing.T) {
	type place struct {
		Country string
		Zip     int32
	}
	hot := place{"NL", 1017}
	fold := func(_ *engine.Context[place], s *int64, e int64) { *s += e }
	places := engine.Fold("places", fold)
	l := newLab(t, engine.Options{Shards: 1, Partitions: 8}, places, sums("others"))
	p, err := places.Producer(engine.ProducerOptions[place, int64]{Ack: engine.Applied})
	must(t, err)
	for i := range 100_000 {
		k := hot
		if i%2 == 0 {
			k = place{strings.Repeat("long", 40), int32(i)}
		}
		must(t, p.Send(context.Background(), k, 1))
	}
	must(t, p.Flush(context.Background()))
	must(t, p.Close(context.Background()))
	stats, err := l.engine.Stats(context.Background())
	must(t, err)
	if len(stats.Hot) < 2 || stats.Hot[0].Table != "places" || stats.Hot[0].Key != fmt.Sprint(hot) || stats.Hot[0].Share < 0.25 {
		t.Fatalf("%+v", stats.Hot)
	}
	if cold := stats.Hot[1].Key; !strings.HasSuffix(cold, "...") {
		t.Errorf("a key that is too long to keep is shown as %s", cold)
	}
}

// Goal: the figures of a failed shard stay, so that no count runs back.
func TestStatsKeepTheFiguresOfAFailedShard(t *testing.T) {
	table := sums("sums")
	l := newLab(t, engine.Options{Shards: 1, Partitions: 8}, table)
	do(t, table, "a", 1)
	l.failing(crashfs.ErrIO, func(op crashfs.Op) bool { return op.Kind == crashfs.Sync })
	if _, err := table.Do(context.Background(), "a", 1); err == nil {
		t.Fatal("the shard has not failed")
	}
	for { // until the shard is gone
		if _, _, err := table.Get(context.Background(), "a"); errors.Is(err, engine.ErrShardFailed) {
			break
		}
	}
	stats, err := l.engine.Stats(context.Background())
	must(t, err)
	if stats.Failed[0] == nil || stats.Events < 1 || stats.Keys != 1 || stats.Shards[0].Events != stats.Events {
		t.Errorf("failed with %v; %+v", stats.Failed[0], stats.Shards[0])
	}
}

// BenchmarkStats is what the figures of an engine cost that is asked for them, and what
// all of its shards together do in the meantime: a shard with a thousand partitions
// stands still for a quarter of the time that this takes with four thousand. The keys of
// every table are counted, and checked.
func BenchmarkStats(b *testing.B) {
	for _, partitions := range []int{256, 4096, 65536} {
		for _, shards := range []int{1, 2} {
			b.Run(fmt.Sprintf("partitions=%d/shards=%d/keys=1M", partitions, shards), func(b *testing.B) {
				table := benchTable()
				eng := openBench(b, engine.Options{Shards: shards, Partitions: partitions}, table)
				p, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{Ack: engine.Applied})
				must(b, err)
				for i := range uint64(1_000_000) {
					must(b, p.Send(context.Background(), benchKeyOf(i), benchEvent{}))
				}
				must(b, p.Flush(context.Background()))
				must(b, p.Close(context.Background()))
				b.ReportAllocs()
				for b.Loop() {
					stats, err := eng.Stats(context.Background())
					if err != nil || stats.Keys != stats.Tables[0].Keys || stats.Keys == 0 {
						b.Fatal(stats.Keys, err)
					}
				}
			})
		}
	}
}
