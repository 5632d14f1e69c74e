package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/guest"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/engine"
)

// BenchmarkGuest measures what an engine at three tenths of its peak does to a service in
// the same process, with every way of running the shards: the p99 of a net/http handler,
// and its ratio to that without the engine, the median over rounds in turn. One operation
// is guestRounds rounds of two seconds: use -benchtime 1x. The states are checked.
func BenchmarkGuest(b *testing.B) {
	for _, o := range callOptions() {
		b.Run(o.name, func(b *testing.B) { serveBeside(b, o.options) })
	}
}

const guestRounds = 5

func serveBeside(b *testing.B, o engine.Options) {
	m, err := guest.Measure(b.Context(), guest.Options{
		Dir: b.TempDir(), Engine: o, Keys: 1_000_000, Dist: "zipf:0.99", Seed: 42,
		Part: 0.3, Rate: 2000, Round: time.Second, Rounds: guestRounds * b.N,
	})
	if err != nil {
		b.Fatal(err)
	}
	var ratios, with []float64
	for _, r := range m.Rounds {
		without := r.Without.Response.ValueAtPercentile(99)
		with = append(with, float64(r.With.Response.ValueAtPercentile(99))/1e3)
		ratios = append(ratios, with[len(with)-1]*1e3/float64(without))
	}
	b.ReportMetric(stats.SpreadOf(with).Median, "p99-us")
	b.ReportMetric(stats.SpreadOf(ratios).Median, "p99-ratio")
	b.ReportMetric(m.Load, "events/s")
}

func foldTable() *engine.Table[foldKey, limit.State, foldEvent, struct{}] {
	return engine.Fold("fold", func(_ *engine.Context[foldKey], s *limit.State, e foldEvent) {
		s.Count++
		s.Sum += e.Value
		s.Last = e.Value
		s.Max = max(s.Max, e.Value)
	})
}

// BenchmarkCollect measures a garbage collection with many keys in memory:
// row=keyfold is a table of the engine, row=map a Go map of pointers to states. It
// reports the CPU time of the collector for each collection.
func BenchmarkCollect(b *testing.B) {
	const keys = 10_000_000
	b.Run(fmt.Sprintf("keys=%d/row=keyfold", keys), func(b *testing.B) {
		ctx := context.Background()
		table := foldTable()
		eng, err := engine.Open(ctx, b.TempDir(), engine.Options{Sync: engine.SyncInterval, SnapshotBytes: 1 << 40}, table)
		if err != nil {
			b.Fatal(err)
		}
		fillTable(b, table, keys)
		collect(b)
		ended, cancel := context.WithCancel(ctx)
		cancel() // without a snapshot
		_ = eng.Shutdown(ended)
	})
	b.Run(fmt.Sprintf("keys=%d/row=map", keys), func(b *testing.B) {
		states := make(map[string]*limit.State)
		for n := range uint64(keys) {
			states[string(binary.LittleEndian.AppendUint64(make([]byte, 8, limit.KeyBytes), n))] = &limit.State{}
		}
		collect(b)
		runtime.KeepAlive(states)
	})
}

func fillTable(b *testing.B, table *engine.Table[foldKey, limit.State, foldEvent, struct{}], keys uint64) {
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{Ack: engine.Applied})
	if err != nil {
		b.Fatal(err)
	}
	for n := range keys {
		var key foldKey
		binary.LittleEndian.PutUint64(key[:], n)
		if err := producer.Send(b.Context(), key, foldEvent{}); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func collect(b *testing.B) {
	runtime.GC()
	before := collectorSeconds()
	b.ResetTimer()
	for range b.N {
		runtime.GC()
	}
	b.StopTimer()
	b.ReportMetric((collectorSeconds()-before)*1e3/float64(b.N), "gc-cpu-ms/op")
}

// collectorSeconds is the CPU time that the collector has taken, without idle time.
func collectorSeconds() float64 {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	metrics.Read(samples)
	total := 0.0
	for _, s := range samples {
		total += s.Value.Float64()
	}
	return total
}
