package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// BenchmarkGuest measures what an engine does to a service in the same process: the
// latency of a net/http handler over loopback, one request after the other at a pace of
// 2000 a second, beside no engine, an idle one with the zero Options, and one that takes
// three tenths of the events that it could take, with every way of running the shards.
// The rows go in turn; compare within one run, with those of engine=none at both ends.
func BenchmarkGuest(b *testing.B) {
	b.Run("engine=none", serveRequests)
	b.Run("engine=idle/options=zero", func(b *testing.B) { serveBeside(b, engine.Options{}, false) })
	for _, o := range callOptions() {
		b.Run("engine=loaded/"+o.name, func(b *testing.B) { serveBeside(b, o.options, true) })
	}
	b.Run("engine=none", serveRequests)
}

func serveBeside(b *testing.B, o engine.Options, loaded bool) {
	stop := openGuest(b, o, loaded)
	defer stop()
	serveRequests(b)
}

// serveRequests makes b.N requests and reports their latencies.
func serveRequests(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	}))
	defer server.Close()
	latencies := hdrhistogram.New(1, int64(10*time.Second), 3)
	pace := time.NewTicker(500 * time.Microsecond)
	defer pace.Stop()
	b.ResetTimer()
	for range b.N {
		<-pace.C
		began := time.Now()
		response, err := server.Client().Get(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
		if err := latencies.RecordValue(int64(time.Since(began))); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	for _, q := range []float64{50, 99} {
		b.ReportMetric(float64(latencies.ValueAtQuantile(q))/1e3, fmt.Sprintf("p%.0f-us", q))
	}
}

// openGuest opens an engine, and loads it if told to.
func openGuest(b *testing.B, o engine.Options, loaded bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	table := foldTable()
	eng, err := engine.Open(ctx, b.TempDir(), o, table)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if loaded {
			loadPart(ctx, b, table)
		}
	}()
	return func() {
		cancel()
		<-done
		if err := eng.Close(); err != nil {
			b.Error(err)
		}
	}
}

func foldTable() *engine.Table[foldKey, limit.State, foldEvent, struct{}] {
	return engine.Fold("fold", func(_ *engine.Context[foldKey], s *limit.State, e foldEvent) {
		s.Count++
		s.Sum += e.Value
		s.Last = e.Value
		s.Max = max(s.Max, e.Value)
	})
}

// loadPart sends bursts of 256 events, each followed by a pause of 7/3 of the time that
// it took, so that the engine works three tenths of the time: the load of a service,
// which arrives all the time, rather than that of a batch job.
func loadPart(ctx context.Context, b *testing.B, table *engine.Table[foldKey, limit.State, foldEvent, struct{}]) {
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{})
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = producer.Close(context.Background()) }()
	for n := uint64(0); ctx.Err() == nil; {
		began := time.Now()
		for range 256 {
			n++
			var key foldKey
			binary.LittleEndian.PutUint64(key[:], n*0x9e3779b97f4a7c15%1_000_000)
			if producer.Send(ctx, key, foldEvent{Value: int64(n)}) != nil {
				return
			}
		}
		if producer.Flush(ctx) != nil {
			return
		}
		<-time.After(time.Since(began) * 7 / 3)
	}
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
