package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// BenchmarkAcks measures durable acks without a goroutine for each: one goroutine with
// 1024 events in flight, through a Producer, or as Batches of that size, and the zero
// Options. row=null is the best that BenchmarkCall's null row can do. The counts of the
// states are checked.
func BenchmarkAcks(b *testing.B) {
	const inFlight = 1024
	b.Run(fmt.Sprintf("row=null/callers=%d", inFlight), func(b *testing.B) { callNull(b, inFlight) })
	b.Run(fmt.Sprintf("row=producer/in-flight=%d", inFlight), func(b *testing.B) {
		countCalls(b, engine.Options{}, func(table *callTable) { ackProducer(b, table, inFlight) })
	})
	b.Run(fmt.Sprintf("row=batch/in-flight=%d", inFlight), func(b *testing.B) {
		countCalls(b, engine.Options{}, func(table *callTable) { ackBatches(b, table, inFlight) })
	})
}

func ackProducer(b *testing.B, table *callTable, inFlight int) {
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{InFlightMax: inFlight})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range uint64(b.N) {
		if err := producer.Send(b.Context(), callKey(n%callKeys), foldEvent{Value: int64(n)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func ackBatches(b *testing.B, table *callTable, inFlight int) {
	results := make([]engine.Result[int64], inFlight)
	batch := table.batch()
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		n := min(inFlight, b.N-sent)
		for i := range n {
			table.Put(batch, callKey(uint64(sent+i)%callKeys), foldEvent{Value: int64(i)}, &results[i])
		}
		if err := batch.Do(b.Context()); err != nil {
			b.Fatal(err)
		}
		sent += n
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkCall measures calls in a closed loop: so many goroutines, each of which
// makes the next call when the last one has returned. row=null is the same driver on a
// store that does nothing, row=append one goroutine that appends a block as large as a
// frame with one event to a file and syncs it: what no durable call can be faster than.
// row=keyfold goes through acks, callers and the ways of waiting; options=zero is
// engine.Options{}. Compare within one run. The counts of the states are checked.
func BenchmarkCall(b *testing.B) {
	b.Run("row=append/callers=1", callAppend)
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("row=null/callers=%d", callers), func(b *testing.B) { callNull(b, callers) })
	}
	for _, ack := range callAcks {
		for _, callers := range []int{1, 64, 1024} {
			for _, o := range callOptions() {
				name := fmt.Sprintf("row=keyfold/ack=%s/callers=%d/%s", ack.name, callers, o.name)
				b.Run(name, func(b *testing.B) { callKeyfold(b, callers, ack.ack, o.options) })
			}
		}
	}
}

var callAcks = []struct {
	name string
	ack  engine.Ack
}{{"applied", engine.Applied}, {"durable", engine.Durable}}

type namedOptions struct {
	name    string
	options engine.Options
}

// spinLong is so long that a shard does not park between two calls of one caller.
const spinLong = time.Second

// callOptions are the zero Options, and every combination of shards, pinning and
// waiting.
func callOptions() []namedOptions {
	all := []namedOptions{{name: "options=zero"}}
	for _, shards := range []int{1, 2} {
		for _, pin := range []engine.PinMode{engine.PinOff, engine.PinOn} {
			for _, spin := range []time.Duration{-1, 0, spinLong} {
				all = append(all, namedOptions{
					name: fmt.Sprintf("shards=%d/pin=%s/spin=%s", shards,
						map[engine.PinMode]string{engine.PinOn: "on", engine.PinOff: "off"}[pin],
						map[time.Duration]string{-1: "none", 0: "default", spinLong: "long"}[spin]),
					options: engine.Options{Shards: shards, Pin: pin, Spin: spin},
				})
			}
		}
	}
	return all
}

// callLoop makes b.N calls from so many goroutines and reports rate and latencies.
// caller is called for each goroutine and returns what makes its n-th call.
func callLoop(b *testing.B, callers int, caller func() func(n uint64) error) {
	var next atomic.Uint64
	var group sync.WaitGroup
	times := callTimes{total: hdrhistogram.New(1, int64(time.Minute), 3)}
	ready := make(chan struct{})
	for range callers {
		call := caller()
		group.Go(func() {
			gathered := make([]int64, 0, timesGathered)
			<-ready
			for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
				began := time.Now()
				if err := call(n); err != nil {
					b.Error(err)
					return
				}
				gathered = times.record(gathered, int64(time.Since(began)))
			}
			times.add(gathered)
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	close(ready)
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(times.total.ValueAtQuantile(50))/1e3, "p50-us")
	b.ReportMetric(float64(times.total.ValueAtQuantile(99))/1e3, "p99-us")
}

// callTimes are the latencies of all callers. A caller gathers some of its own before
// it takes the lock: a histogram for each of a thousand would not fit in the cache, and
// its misses would be measured.
type callTimes struct {
	mu    sync.Mutex // of total
	total *hdrhistogram.Histogram
}

const timesGathered = 32

func (t *callTimes) record(gathered []int64, nanos int64) []int64 {
	gathered = append(gathered, nanos)
	if len(gathered) < timesGathered {
		return gathered
	}
	t.add(gathered)
	return gathered[:0]
}

func (t *callTimes) add(gathered []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, nanos := range gathered {
		_ = t.total.RecordValue(nanos) // a minute is enough
	}
}

func callNull(b *testing.B, callers int) {
	store := limit.NewNull()
	callLoop(b, callers, func() func(uint64) error {
		c := limit.NewNullCaller()
		return func(uint64) error { return store.Do(context.Background(), c) }
	})
	if n := store.Close(); n != uint64(b.N) {
		b.Errorf("the store has seen %d calls, want %d", n, b.N)
	}
}

// frameBytes is about what a frame with one event of this benchmark has.
const frameBytes = 144

func callAppend(b *testing.B) {
	file, err := limit.NewAppender(b.TempDir(), frameBytes)
	if err != nil {
		b.Fatal(err)
	}
	callLoop(b, 1, func() func(uint64) error { return func(uint64) error { return file.Append() } })
	bytes, err := file.Close()
	if err != nil || bytes != int64(b.N*frameBytes) {
		b.Errorf("the file has %d bytes, want %d: %v", bytes, b.N*frameBytes, err)
	}
}

func callKeyfold(b *testing.B, callers int, ack engine.Ack, o engine.Options) {
	countCalls(b, o, func(table *callTable) {
		callLoop(b, callers, func() func(uint64) error {
			return func(n uint64) error {
				_, err := table.Do(context.Background(), callKey(n%callKeys), foldEvent{Value: int64(n)}, ack)
				return err
			}
		})
	})
}

// A callTable is a table with its engine.
type callTable struct {
	*engine.Table[foldKey, limit.State, foldEvent, int64]
	batch func() *engine.Batch
}

// callKeys is how many keys calls go to.
const callKeys = 1_000

// countCalls opens an engine, has run make b.N calls, and counts them in the states.
func countCalls(b *testing.B, o engine.Options, run func(*callTable)) {
	ctx := context.Background()
	table := engine.NewTable(engine.Spec[foldKey, limit.State, foldEvent, int64]{
		Name: "calls",
		Apply: func(_ *engine.Context[foldKey], s *limit.State, e foldEvent) int64 {
			s.Count++
			s.Sum += e.Value
			s.Last = e.Value
			s.Max = max(s.Max, e.Value)
			return s.Count
		},
	})
	eng, err := engine.Open(ctx, b.TempDir(), o, table)
	if err != nil {
		b.Fatal(err)
	}
	run(&callTable{table, eng.Batch})
	reportGroups(b, eng)
	count := int64(0)
	for n := range uint64(callKeys) {
		state, _, err := table.Get(ctx, callKey(n))
		if err != nil {
			b.Fatal(err)
		}
		count += state.Count
	}
	if count != int64(b.N) {
		b.Errorf("the states have seen %d calls, want %d", count, b.N)
	}
	if err := eng.Close(); err != nil {
		b.Error(err)
	}
}

// reportGroups says how many calls went together: in a sync and in a run.
func reportGroups(b *testing.B, eng *engine.Engine) {
	stats, err := eng.Stats(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	var syncs, runs, parks uint64
	for _, s := range stats.Shards {
		syncs, runs, parks = syncs+s.Log.Syncs, runs+s.Runs, parks+s.Parks
	}
	b.ReportMetric(float64(b.N)/float64(max(syncs, 1)), "calls/sync")
	b.ReportMetric(float64(b.N)/float64(max(runs, 1)), "calls/run")
	b.ReportMetric(float64(parks)*1e3/float64(b.N), "parks/1000")
}

func callKey(n uint64) (k foldKey) {
	binary.LittleEndian.PutUint64(k[:], n)
	return k
}
