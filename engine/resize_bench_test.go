package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

const resizeKeys = 1_000_000

// BenchmarkResize changes the number of shards of a million keys in 4,096 partitions from
// 1 to 2 and from 2 to 4, while a producer sends as fast as it can if load says full.
// way=single is what one would do with Move: the partitions that a Resize has moved go
// back to the first shard one after the other, and ms-a-partition is what each takes. The sum
// of all counts is checked.
func BenchmarkResize(b *testing.B) {
	for _, load := range []string{"none", "full"} {
		for _, way := range []string{"resize", "single"} {
			b.Run(fmt.Sprintf("load=%s/way=%s", load, way), func(b *testing.B) {
				for b.Loop() {
					benchmarkResize(b, load == "full", way == "single")
				}
			})
		}
	}
}

func benchmarkResize(b *testing.B, full, single bool) {
	ctx := context.Background()
	table := benchTable()
	eng := openBench(b, engine.Options{Shards: 1}, table)
	p, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{})
	for n := uint64(0); n < resizeKeys && err == nil; n++ {
		err = p.Send(ctx, benchKeyOf(n), benchEvent{Value: 1})
	}
	if err == nil {
		err = p.Close(ctx)
	}
	if err != nil {
		b.Fatal(err)
	}
	var stop atomic.Bool
	var group sync.WaitGroup
	sent := uint64(0)
	began := time.Now()
	if full {
		group.Go(func() { sent = streamAll(b, table, &stop) })
	}
	for _, count := range []int{2, 4} {
		from := time.Now()
		if err := eng.Resize(ctx, count); err != nil {
			b.Fatal(err)
		}
		if !single {
			b.ReportMetric(time.Since(from).Seconds(), fmt.Sprintf("s-to-%d", count))
		}
	}
	if single {
		moveBack(b, eng)
	}
	took := time.Since(began)
	stop.Store(true)
	group.Wait()
	b.ReportMetric(float64(sent)/took.Seconds(), "events/s")
	total := int64(0)
	for entry, err := range table.All(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		total += entry.State.Count
	}
	if want := resizeKeys + int64(sent); total != want {
		b.Fatalf("%d events, want %d", total, want)
	}
}

// moveBack moves some hundred partitions to the first shard, one after the other.
func moveBack(b *testing.B, eng *engine.Engine) {
	ctx := context.Background()
	stats, err := eng.Stats(ctx)
	if err != nil {
		b.Fatal(err)
	}
	from, moved := time.Now(), 0
	for id, p := range stats.Partitions {
		if p.Shard == 1 && moved < 256 {
			moved++
			if err := eng.Move(ctx, id, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(time.Since(from).Seconds()*1e3/float64(moved), "ms-a-partition")
}

// streamAll sends events to all keys until stop, and returns how many.
func streamAll(b *testing.B, table *engine.Table[benchKey, benchState, benchEvent, int64], stop *atomic.Bool) (sent uint64) {
	p, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{InFlightMax: 1 << 14})
	for ; err == nil && !stop.Load(); sent++ {
		err = p.Send(context.Background(), benchKeyOf(sent), benchEvent{Value: 1})
	}
	if err == nil {
		err = p.Close(context.Background())
	}
	if err != nil {
		b.Error(err)
	}
	return sent
}
