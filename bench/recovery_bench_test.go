package bench_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/shard"
)

// BenchmarkRecovery measures the opening of a store of 16-byte keys with states of 32
// bytes. log=idle has a snapshot of all keys and no event behind it; log=grown has as
// many events behind it as SnapshotBytes allow at most before the next round, which is
// what a kill under full load leaves, but for the tail that was never synced.
//
// Rates are per core: of a second that a worker has spent. The rival is the live apply: live-M/s is the rate at which a Producer has brought
// those events into the same store. The count of all states is checked.
func BenchmarkRecovery(b *testing.B) {
	for _, keys := range []int{1_000_000, 10_000_000} {
		for _, shards := range []int{1, 2} {
			store := recoveryStore{dir: b.TempDir(), keys: keys, shards: shards}
			name := fmt.Sprintf("keys=%d/shards=%d/log=", keys, shards)
			b.Run(name+"idle", func(b *testing.B) { store.recover(b, 0) })
			b.Run(name+"grown", func(b *testing.B) { store.recover(b, max(256<<20, keys*50)/56) })
		}
	}
}

type foldTableType = *engine.Table[foldKey, limit.State, foldEvent, struct{}]

// A recoveryStore is made by the first benchmark that wants it.
type recoveryStore struct {
	dir    string
	keys   int
	shards int
	events int // behind the snapshot
	live   float64
	made   bool
}

// open opens the store. It is left without a last snapshot, so that each open finds
// the same.
func (r *recoveryStore) open(b *testing.B, use func(*engine.Engine, foldTableType)) engine.Recovery {
	b.Helper()
	table := foldTable()
	eng, err := engine.Open(context.Background(), r.dir, engine.Options{
		Sync: engine.SyncInterval, Shards: r.shards, SnapshotBytes: 1 << 40,
	}, table)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	defer b.StartTimer()
	use(eng, table)
	recovery := eng.Recovery()
	hurry, cancel := context.WithCancel(context.Background())
	cancel()
	if err := eng.Shutdown(hurry); !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
	return recovery
}

// send brings one event for each of so many keys into the store, again and again.
func (r *recoveryStore) send(b *testing.B, table foldTableType, from, count int) {
	b.Helper()
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{})
	if err != nil {
		b.Fatal(err)
	}
	const step = 0x9e3779b97f4a7c15 // walks over all keys in no order
	for i := range count {
		at := from + i
		if from >= r.keys {
			at = int(uint64(at) * step % uint64(r.keys))
		}
		if err := producer.Send(context.Background(), recoveryKey(at), foldEvent{Value: int64(i)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func recoveryKey(i int) (key foldKey) {
	binary.LittleEndian.PutUint64(key[:], uint64(i))
	copy(key[8:], "recovery")
	return key
}

// make fills the store.
func (r *recoveryStore) make(b *testing.B) {
	r.made = true
	r.open(b, func(eng *engine.Engine, table foldTableType) {
		r.send(b, table, 0, r.keys)
		if err := eng.Snapshot(context.Background()); err != nil {
			b.Fatal(err)
		}
	})
}

// grow brings the events behind the snapshot to so many.
func (r *recoveryStore) grow(b *testing.B, events int) {
	if more := events - r.events; more > 0 {
		r.open(b, func(_ *engine.Engine, table foldTableType) {
			began := time.Now()
			r.send(b, table, r.keys, more)
			r.live = float64(more) / time.Since(began).Seconds()
		})
		r.events = events
	}
}

func (r *recoveryStore) recover(b *testing.B, events int) {
	if !r.made {
		r.make(b)
	}
	r.grow(b, events)
	var sum recoverySum
	b.ResetTimer()
	for range b.N {
		found := r.open(b, func(_ *engine.Engine, table foldTableType) {
			r.check(b, table)
		})
		if found.Keys != r.keys || found.Events != uint64(r.events) {
			b.Fatalf("recovered %d keys and %d events, want %d and %d", found.Keys, found.Events, r.keys, r.events)
		}
		sum.add(&found)
	}
	sum.report(b)
	if events > 0 {
		b.ReportMetric(r.live/1e6, "live-M/s")
	}
}

// A recoverySum adds up what opens took.
type recoverySum struct {
	seconds      float64
	keys, events float64
	times        shard.Times // sums over the shards
	waits        [3]float64  // the longest of the shards: load, replay, resume
}

func (s *recoverySum) add(r *engine.Recovery) {
	s.seconds += r.Duration.Seconds()
	s.events += float64(r.Events)
	var longest [3]time.Duration
	for _, sh := range r.Shards {
		s.keys += float64(sh.SnapshotKeys)
		s.times.Read += sh.Times.Read
		s.times.Build += sh.Times.Build
		s.times.Scan += sh.Times.Scan
		s.times.Apply += sh.Times.Apply
		for i, d := range []time.Duration{sh.Times.Load, sh.Times.Replay, sh.Times.Resume} {
			longest[i] = max(longest[i], d)
		}
	}
	for i, d := range longest {
		s.waits[i] += d.Seconds()
	}
}

// report reports the mean of an open in seconds, and per core what came of a second of
// reading and building, of scanning and applying.
func (s *recoverySum) report(b *testing.B) {
	n := float64(b.N)
	b.ReportMetric(s.seconds/n, "s/open")
	for i, name := range []string{"load-s", "replay-s", "resume-s"} {
		b.ReportMetric(s.waits[i]/n, name)
	}
	rate := func(count float64, in ...time.Duration) float64 {
		sum := time.Duration(0)
		for _, d := range in {
			sum += d
		}
		return count / 1e6 / sum.Seconds()
	}
	t := &s.times
	b.ReportMetric(rate(s.keys, t.Read), "read-Mkeys/s")
	b.ReportMetric(rate(s.keys, t.Build), "build-Mkeys/s")
	b.ReportMetric(rate(s.keys, t.Read, t.Build), "load-Mkeys/s")
	if s.events > 0 {
		b.ReportMetric(rate(s.events, t.Scan), "scan-M/s")
		b.ReportMetric(rate(s.events, t.Apply), "apply-M/s")
		b.ReportMetric(rate(s.events, t.Scan, t.Apply), "replay-M/s")
	}
}

// check counts the events of a few keys.
func (r *recoveryStore) check(b *testing.B, table foldTableType) {
	b.Helper()
	for i := 0; i < r.keys; i += r.keys / 100 {
		if s, ok, err := table.Get(context.Background(), recoveryKey(i)); err != nil || !ok || s.Count < 1 {
			b.Fatalf("key %d: %+v, %v, %v", i, s, ok, err)
		}
	}
}
