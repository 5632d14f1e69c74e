package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/fsys"
)

type benchKey [16]byte
type benchState struct{ Count, Sum, Last, Max int64 }
type benchEvent struct{ Value, A, B, C int64 }

func benchTable() *engine.Table[benchKey, benchState, benchEvent, int64] {
	return engine.NewTable(engine.Spec[benchKey, benchState, benchEvent, int64]{
		Name: "bench",
		Apply: func(_ *engine.Context[benchKey], s *benchState, e benchEvent) int64 {
			s.Count++
			s.Sum += e.Value
			s.Last = e.Value
			s.Max = max(s.Max, e.Value)
			return s.Count
		},
	})
}

func benchKeyOf(n uint64) (k benchKey) {
	binary.LittleEndian.PutUint64(k[:], n*0x9e3779b97f4a7c15%1_000_000)
	return k
}

func openBench(b *testing.B, o engine.Options, table engine.Definition) *engine.Engine {
	b.Helper()
	eng, err := engine.Open(context.Background(), b.TempDir(), o, table)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := eng.Close(); err != nil {
			b.Error(err)
		}
	})
	return eng
}

// BenchmarkDo measures calls a second, with the zero Options, of as many goroutines as
// callers says. row=file is what a durable call cannot be faster than: one goroutine
// that appends 4 KiB to a file and syncs it. The sum of all counts is checked.
func BenchmarkDo(b *testing.B) {
	for _, ack := range []struct {
		name string
		ack  engine.Ack
	}{{"applied", engine.Applied}, {"written", engine.Written}, {"durable", engine.Durable}} {
		for _, callers := range []int{1, 64, 1024} {
			for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
				b.Run(fmt.Sprintf("row=keyfold/ack=%s/callers=%d/device=%d", ack.name, callers, device), func(b *testing.B) {
					benchmarkDo(b, ack.ack, callers, device)
				})
			}
		}
	}
	b.Run("row=file/ack=durable/callers=1", benchmarkFile)
}

func benchmarkDo(b *testing.B, ack engine.Ack, callers int, device engine.LogDevice) {
	table := benchTable()
	eng := openBench(b, engine.Options{Device: device}, table)
	var next atomic.Uint64
	var group sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		group.Go(func() {
			for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
				if _, err := table.Do(context.Background(), benchKeyOf(n), benchEvent{Value: int64(n)}, ack); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	checkAccepted(b, eng)
}

func checkAccepted(b *testing.B, eng *engine.Engine) {
	b.Helper()
	stats, err := eng.Stats(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	accepted := uint64(0)
	for _, s := range stats.Shards {
		accepted += s.Events
	}
	if accepted != uint64(b.N) {
		b.Errorf("the shards accepted %d events, want %d", accepted, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func benchmarkFile(b *testing.B) {
	file, err := fsys.OS().OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, 4<<10)
	for b.Loop() {
		if _, err := file.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProducer measures events a second through one Producer, logged and synced
// at an interval. row=mutex is the program that a user would write first: a Go map of
// pointers behind one lock, with a file that is written after 256 events.
func BenchmarkProducer(b *testing.B) {
	for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
		b.Run(fmt.Sprintf("row=keyfold/device=%d", device), func(b *testing.B) {
			table := benchTable()
			eng := openBench(b, engine.Options{Sync: engine.SyncInterval, Device: device}, table)
			producer, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range uint64(b.N) {
				if err := producer.Send(context.Background(), benchKeyOf(n), benchEvent{Value: int64(n)}); err != nil {
					b.Fatal(err)
				}
			}
			if err := producer.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			checkAccepted(b, eng)
		})
	}
	b.Run("row=mutex", benchmarkMutex)
}

func benchmarkMutex(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var mu sync.Mutex
	states := make(map[string]*benchState)
	var log []byte
	b.ReportAllocs()
	b.ResetTimer()
	for n := range uint64(b.N) {
		key := benchKeyOf(n)
		mu.Lock()
		s := states[string(key[:])]
		if s == nil {
			s = new(benchState)
			states[string(key[:])] = s
		}
		s.Count++
		s.Sum += int64(n)
		s.Last = int64(n)
		s.Max = max(s.Max, int64(n))
		log = append(append(log, key[:]...), make([]byte, 32)...)
		if n%256 == 255 {
			if _, err := file.Write(log); err != nil {
				b.Fatal(err)
			}
			log = log[:0]
		}
		mu.Unlock()
	}
	b.StopTimer()
	if total := countAll(states); total != int64(b.N) {
		b.Errorf("the states have seen %d events, want %d", total, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func countAll(states map[string]*benchState) (total int64) {
	for _, s := range states {
		total += s.Count
	}
	return total
}
