package engine_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// feed sends n events on a few hundred keys through a producer.
func feed(t *testing.T, table *engine.Table[string, sum, int64, bool], next map[string]int64, n int) {
	t.Helper()
	p, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	for i := range n {
		k := fmt.Sprint("key-", i*31%257)
		must(t, p.Send(context.Background(), k, next[k]))
		next[k]++
	}
	must(t, p.Close(context.Background()))
}

func TestAnyNumberOfShardsComesToTheSameStates(t *testing.T) {
	var first map[string]sum
	for _, shards := range []int{1, 2, 3, 8} {
		table := lines("lines")
		store := enginetest.OpenOptions(t, engine.Options{Shards: shards, Partitions: 64}, table)
		next := map[string]int64{}
		feed(t, table, next, 3000)
		checkLines(t, table, next)
		store.CrashAndReopen(enginetest.PowerLostTorn)
		all := everything(t, table)
		if first == nil {
			first = all
		}
		if !maps.Equal(all, first) {
			t.Errorf("%d shards came to other states than one", shards)
		}
		if r := store.Engine().Recovery(); len(r.Shards) != shards || r.Events != 3000 || r.Keys != len(next) {
			t.Errorf("%d shards: recovery %+v", shards, r)
		}
	}
}

// Goal: the number of shards may go up and down at every open, after a close or a
// crash, with and without something to replay, and nothing is lost or done twice.
func TestShardsMayChangeAtEveryOpen(t *testing.T) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 32, SnapshotBytes: 16 << 10, SegmentBytes: 16 << 10}, table)
	next := map[string]int64{}
	for i, shards := range []int{3, 2, 8, 8, 1, 5, 40, 32, 2, 1} {
		feed(t, table, next, 700)
		if i%2 == 1 {
			store.CrashAndReopen(enginetest.Crash(i % 3))
			checkLines(t, table, next)
			feed(t, table, next, 300)
		}
		store.Reopen(shards)
		checkLines(t, table, next)
		stats, err := store.Engine().Stats(context.Background())
		must(t, err)
		least, most := 1<<30, 0
		for _, s := range stats.Shards {
			least, most = min(least, s.Partitions), max(most, s.Partitions)
		}
		if want := min(shards, 32); len(stats.Shards) != want || most-least > 1 {
			t.Errorf("%d shards, from %d to %d partitions each; want %d", len(stats.Shards), least, most, want)
		}
		store.CrashAndReopen(enginetest.Crash(i % 3))
		checkLines(t, table, next)
	}
}

// fewHashes are hashes that collide as often as a test can ask for.
var fewHashes = map[string]func([]byte, uint64) uint64{
	"constant": func([]byte, uint64) uint64 { return 0x1234567890abcdef },
	"zero":     func([]byte, uint64) uint64 { return 0 },
	"four-bits": func(key []byte, _ uint64) uint64 {
		h := uint64(0)
		for _, b := range key {
			h = h*31 + uint64(b)
		}
		return (h & 3) | (h>>2&3)<<62
	},
}

// Goal: nothing but speed depends on the hash: orders, states, snapshots, crashes,
// deletions and other numbers of shards are right when nearly all keys collide.
func TestEverythingHoldsWhenKeysCollide(t *testing.T) {
	for name, hash := range fewHashes {
		t.Run(name, func(t *testing.T) {
			table, words, times := lines("lines"), wordTable(nil), moments()
			l := (&lab{tb: t, options: smallStore(), hash: hash, tables: []engine.Definition{table, words, times}}).start()
			next := map[string]int64{}
			seen := map[string]moment{}
			for round := range 4 {
				feed(t, table, next, 600)
				for i := range 40 {
					k := fmt.Sprint("m", i%11)
					event := ""
					if i%4 == 3 {
						event = "gone"
					}
					seen[k] = do(t, times, k, event, engine.Applied)
					if event == "gone" {
						delete(seen, k)
					}
					do(t, words, k, fmt.Sprint(round), engine.Applied)
				}
				do(t, table, "last", next["last"])
				next["last"]++
				if round == 1 {
					must(t, l.engine.Snapshot(context.Background()))
				}
				l.options.Shards = 1 + round
				if round == 2 {
					l.reopen()
				} else {
					must(t, l.engine.Snapshot(context.Background())) // makes all durable
					l.crash(crashfs.Lost)
				}
				checkLines(t, table, next)
				if all := everything(t, times); !maps.Equal(all, seen) {
					t.Errorf("round %d: %v, want %v", round, all, seen)
				}
				for k := range 11 {
					if w, _ := get(t, words, fmt.Sprint("m", k)); len(w.Seen) != round+1 {
						t.Errorf("round %d: %v", round, w)
					}
				}
			}
		})
	}
}

// block is a state so large that a snapshot copies few of them at a time.
type block struct {
	Count   int64
	Ballast [1016]byte
}

// Goal: what is applied while a snapshot is taken is there once after a crash: in the
// image of its partition, or replayed behind it, and never both.
// Method: the writer of the snapshot is held up after the first partitions, and events
// of all of them are applied meanwhile.
func TestEventsDuringASnapshotAreThereOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := engine.Fold("blocks", func(_ *engine.Context[int64], s *block, e int64) { s.Count += e })
		l := newLab(t, engine.Options{Shards: 1, Partitions: 16}, table)
		const keys = 2000
		add := func() {
			p, err := table.Producer(engine.ProducerOptions[int64, int64]{})
			must(t, err)
			for k := range int64(keys) {
				must(t, p.Send(context.Background(), k, 1))
			}
			must(t, p.Close(context.Background()))
		}
		add()
		release := l.hold(func(op crashfs.Op) bool {
			return op.Kind == crashfs.Write && strings.Contains(op.Name, "/snapshot/")
		})
		taken := make(chan error, 1)
		go func() { taken <- l.engine.Snapshot(context.Background()) }()
		synctest.Wait()
		add()
		release()
		must(t, <-taken)
		add()
		l.crash(crashfs.Lost)
		r := l.engine.Recovery().Shards[0]
		if r.SnapshotKeys != keys || r.Skipped == 0 || r.Skipped >= keys || r.Skipped+r.Events != 2*keys {
			t.Errorf("%d keys loaded, %d events skipped, %d replayed", r.SnapshotKeys, r.Skipped, r.Events)
		}
		for k, s := range everything(t, table) {
			if s.Count != 3 {
				t.Fatalf("key %d: %d events, want 3", k, s.Count)
			}
		}
	})
}
