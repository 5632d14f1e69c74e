package bench_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/engine"
)

// BenchmarkRound measures what a snapshot round costs under full load: a Producer
// streams events as fast as it can into a store of 16-byte keys with 32-byte states, and
// one caller makes calls that ask for Written, in turn without a round and while one is under way.
// An iteration is a pair of the two.
//
// rate is the throughput with a round over that without, p99.9 the same of the caller's
// latency. longest-ms is the longest pause of the shard: between two acks of a caller
// that asks for Applied only.
func BenchmarkRound(b *testing.B) {
	for _, keys := range []int{1_000_000, 10_000_000} {
		for _, partitions := range []int{4096, 64, 1} {
			b.Run(fmt.Sprintf("keys=%d/partitions=%d", keys, partitions), func(b *testing.B) { roundUnderLoad(b, keys, partitions) })
		}
	}
}

func roundUnderLoad(b *testing.B, keys, partitions int) {
	ctx := context.Background()
	table := foldTable()
	eng, err := engine.Open(ctx, b.TempDir(), engine.Options{
		Sync: engine.SyncInterval, Shards: 1, Partitions: partitions, SnapshotBytes: 1 << 40,
	}, table)
	if err != nil {
		b.Fatal(err)
	}
	store := recoveryStore{keys: keys}
	store.send(b, table, 0, keys)
	if err := eng.Snapshot(ctx); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	load := startRoundLoad(b, table, keys)
	var without, with roundFigures
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		if err := load.measure(&with, func() error { return eng.Snapshot(ctx) }); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		pause := func() error { <-time.After(max(took, time.Second)); return nil }
		if err := load.measure(&without, pause); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := load.stop(); err != nil {
		b.Fatal(err)
	}
	stats, err := eng.Stats(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if want := load.sent.Load() + uint64(keys); stats.Shards[0].Events < want {
		b.Fatalf("%d events were accepted, of %d", stats.Shards[0].Events, want)
	}
	b.ReportMetric(without.rate()/1e6, "without-M/s")
	b.ReportMetric(with.rate()/without.rate(), "rate")
	b.ReportMetric(float64(without.calls.ValueAtQuantile(99.9))/1e6, "without-p99.9-ms")
	b.ReportMetric(float64(with.calls.ValueAtQuantile(99.9))/float64(without.calls.ValueAtQuantile(99.9)), "p99.9")
	b.ReportMetric(float64(with.calls.Max())/1e6, "longest-ms")
	b.ReportMetric(float64(without.calls.Max())/1e6, "without-longest-ms")
	b.ReportMetric(with.seconds/float64(b.N), "s/round")
	hurry, cancel := context.WithCancel(ctx)
	cancel()
	_ = eng.Shutdown(hurry)
}

// roundFigures are what came of the time with rounds, or without.
type roundFigures struct {
	events  uint64
	seconds float64
	calls   *hdrhistogram.Histogram
}

func (f *roundFigures) rate() float64 { return float64(f.events) / f.seconds }

// A roundLoad is a stream of events and a caller beside it.
type roundLoad struct {
	sent    atomic.Uint64 // the stream's store publishes to measure and to the check
	ended   atomic.Bool   // stop's store ends both goroutines
	mu      sync.Mutex
	figures *roundFigures // of the caller; mu guards it
	group   sync.WaitGroup
	errs    [2]error
}

func startRoundLoad(b *testing.B, table foldTableType, keys int) *roundLoad {
	l := &roundLoad{}
	ctx := context.Background()
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{})
	if err != nil {
		b.Fatal(err)
	}
	l.group.Go(func() {
		for i := 0; !l.ended.Load(); i++ {
			key := recoveryKey(int(uint64(i) * 0x9e3779b97f4a7c15 % uint64(keys)))
			if l.errs[0] = producer.Send(ctx, key, foldEvent{Value: int64(i)}); l.errs[0] != nil {
				return
			}
			l.sent.Store(uint64(i + 1))
		}
		l.errs[0] = producer.Flush(ctx)
	})
	l.group.Go(func() {
		for i := 0; !l.ended.Load(); i++ {
			began := time.Now()
			if _, l.errs[1] = table.Do(ctx, recoveryKey(i%keys), foldEvent{}, engine.Written); l.errs[1] != nil {
				return
			}
			l.mu.Lock()
			if l.figures != nil {
				_ = l.figures.calls.RecordValue(time.Since(began).Nanoseconds())
			}
			l.mu.Unlock()
		}
	})
	return l
}

// measure adds what happens during do to figures.
func (l *roundLoad) measure(figures *roundFigures, do func() error) error {
	if figures.calls == nil {
		figures.calls = hdrhistogram.New(1, int64(time.Hour), 3)
	}
	l.mu.Lock()
	l.figures = figures
	l.mu.Unlock()
	before, began := l.sent.Load(), time.Now()
	err := do()
	figures.seconds += time.Since(began).Seconds()
	figures.events += l.sent.Load() - before
	l.mu.Lock()
	l.figures = nil
	l.mu.Unlock()
	return err
}

func (l *roundLoad) stop() error {
	l.ended.Store(true)
	l.group.Wait()
	for _, err := range l.errs {
		if err != nil {
			return err
		}
	}
	return nil
}
