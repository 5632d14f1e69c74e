package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

type foldKey = [limit.KeyBytes]byte
type foldEvent struct{ Value, A, B, C int64 }

// A foldStream is events in memory, drawn ahead, so that drawing is not measured.
type foldStream struct {
	keys   []foldKey
	events []byte
}

// drawFold draws a stream. It is walked through again and again.
func drawFold(b *testing.B, keys int, dist string, count int) foldStream {
	b.Helper()
	g, err := workload.NewGenerator(workload.Generated{Keys: uint64(keys), Dist: dist, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	var batch workload.Batch
	if err := g.Fill(&batch, count); err != nil {
		b.Fatal(err)
	}
	s := foldStream{keys: make([]foldKey, count), events: make([]byte, count*limit.EventBytes)}
	for i := range count {
		copy(s.keys[i][:], batch.At(i).Key)
		binary.LittleEndian.PutUint64(s.events[i*limit.EventBytes:], uint64(i))
	}
	return s
}

// BenchmarkFold measures events per second of the same job, 16-byte keys and 32-byte
// events into 32-byte states, written to a log and synced at an interval:
// row=limit is package limit with an owner for each core, row=one a single owner,
// row=producer the engine with a Producer on another goroutine. The counts of all
// states together are checked.
func BenchmarkFold(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		for _, dist := range []string{"uniform", "zipf:0.99"} {
			stream := drawFold(b, keys, dist, 1<<20)
			name := fmt.Sprintf("keys=%d/dist=%s/row=", keys, dist)
			b.Run(name+"limit", func(b *testing.B) { foldLimit(b, stream, keys, runtime.GOMAXPROCS(0)) })
			b.Run(name+"one", func(b *testing.B) { foldLimit(b, stream, keys, 1) })
			for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
				b.Run(name+"producer/device="+deviceName(device), func(b *testing.B) { foldProducer(b, stream, device) })
			}
		}
	}
}

func deviceName(d engine.LogDevice) string {
	return map[engine.LogDevice]string{engine.DeviceLibrary: "library", engine.DeviceDirect: "direct"}[d]
}

// foldLimit splits the stream by key among owners and has each fold its part.
func foldLimit(b *testing.B, stream foldStream, keys, owners int) {
	parts := make([]foldStream, owners)
	for i, key := range stream.keys {
		p := &parts[int(key[len(key)-1])%owners]
		p.keys = append(p.keys, key)
		p.events = append(p.events, stream.events[i*limit.EventBytes:(i+1)*limit.EventBytes]...)
	}
	all := make([]*limit.Owner, owners)
	for i := range all {
		file, err := os.Create(filepath.Join(b.TempDir(), "log"))
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		all[i] = limit.NewOwner(keys, file)
	}
	b.ResetTimer()
	var group sync.WaitGroup
	for i, owner := range all {
		group.Go(func() {
			for left := b.N / owners; left > 0; left -= len(parts[i].keys) {
				n := min(left, len(parts[i].keys))
				if err := owner.Apply(parts[i].keys[:n], parts[i].events); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	total := int64(0)
	for _, owner := range all {
		total += owner.Count()
	}
	if want := int64(b.N / owners * owners); total != want {
		b.Errorf("the states have seen %d events, want %d", total, want)
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds()/1e6, "M/s")
}

func foldProducer(b *testing.B, stream foldStream, device engine.LogDevice) {
	ctx := context.Background()
	table := foldTable()
	eng, err := engine.Open(ctx, b.TempDir(), engine.Options{Sync: engine.SyncInterval, Device: device}, table)
	if err != nil {
		b.Fatal(err)
	}
	producer, err := table.Producer(engine.ProducerOptions[foldKey, foldEvent]{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		at := i & (len(stream.keys) - 1)
		e := foldEvent{Value: int64(binary.LittleEndian.Uint64(stream.events[at*limit.EventBytes:]))}
		if err := producer.Send(ctx, stream.keys[at], e); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	stats, err := eng.Stats(ctx)
	if err != nil {
		b.Fatal(err)
	}
	total := uint64(0)
	for _, s := range stats.Shards {
		total += s.Events
	}
	if total != uint64(b.N) {
		b.Errorf("the shards have accepted %d events, want %d", total, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
	if err := eng.Close(); err != nil {
		b.Fatal(err)
	}
}
