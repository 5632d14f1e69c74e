package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/seam"
)

const (
	movePartitions = 64
	moveKeys       = 10_000 // of each partition
)

// moveHash puts a key into the partition that its last byte names.
func moveHash(key []byte, seed uint64) uint64 {
	return uint64(key[len(key)-1])<<58 | xxh3.HashSeed(key, seed)<<6>>6
}

func moveKey(partition int, n uint64) (k benchKey) {
	binary.LittleEndian.PutUint64(k[:], n%moveKeys)
	k[15] = byte(partition)
	return k
}

// A probe asks for one partition all the time, and remembers how long each call took.
type probe struct {
	partition int
	ack       engine.Ack
	took      []time.Duration
}

func (p *probe) run(b *testing.B, table *engine.Table[benchKey, benchState, benchEvent, int64], stop *atomic.Bool) {
	for n := uint64(0); !stop.Load(); n++ {
		began := time.Now()
		if _, err := table.Do(context.Background(), moveKey(p.partition, n), benchEvent{Value: 1}, p.ack); err != nil {
			b.Error(err)
			return
		}
		p.took = append(p.took, time.Since(began))
	}
}

func (p *probe) report(b *testing.B, name string) {
	slices.Sort(p.took)
	at := func(share float64) float64 { return float64(p.took[int(share*float64(len(p.took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), name+"-p50-us")
	b.ReportMetric(at(0.99), name+"-p99-us")
	b.ReportMetric(at(0.999), name+"-p99.9-us")
}

// BenchmarkMove moves a partition of 10,000 keys to and fro between two shards while
// others send events: one call at a time on that partition, one on another that stays, and
// a producer on all of 64 if load says full. row=none moves nothing for as long. row=stop
// is what one would do without moves: nobody sends while everything of the partition is
// read and written to another engine.
func BenchmarkMove(b *testing.B) {
	for _, load := range []string{"calls", "full"} {
		for _, ack := range []engine.Ack{engine.Applied, engine.Durable} {
			for _, row := range []string{"none", "move"} {
				b.Run(fmt.Sprintf("row=%s/load=%s/durable=%v", row, load, ack == engine.Durable), func(b *testing.B) {
					benchmarkMove(b, row == "move", load == "full", ack)
				})
			}
		}
	}
	b.Run("row=stop/load=calls/durable=true", benchmarkStop)
}

func openMoves(b *testing.B, table engine.Definition) *engine.Engine {
	environment := seam.System()
	environment.Hash = moveHash
	return openBench(b, engine.Options{Shards: 2, Partitions: movePartitions, Environment: environment}, table)
}

func fillMoves(b *testing.B, table *engine.Table[benchKey, benchState, benchEvent, int64], partitions int) {
	p, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{})
	for partition := range partitions {
		for n := range uint64(moveKeys) {
			if err == nil {
				err = p.Send(context.Background(), moveKey(partition, n), benchEvent{Value: 1})
			}
		}
	}
	if err == nil {
		err = p.Close(context.Background())
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchmarkMove(b *testing.B, moves, full bool, ack engine.Ack) {
	table := benchTable()
	eng := openMoves(b, table)
	fillMoves(b, table, movePartitions)
	var stop atomic.Bool
	var group sync.WaitGroup
	moved, other := &probe{partition: 0, ack: ack}, &probe{partition: 1, ack: ack}
	for _, p := range []*probe{moved, other} {
		group.Go(func() { p.run(b, table, &stop) })
	}
	sent := uint64(0)
	if full {
		group.Go(func() { sent = stream(b, table, &stop) })
	}
	ctx := context.Background()
	began := time.Now()
	for n := 0; b.Loop(); n++ {
		if !moves {
			timer := time.NewTimer(2 * time.Millisecond)
			<-timer.C
		} else if err := eng.Move(ctx, 0, 1-n%2); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	stop.Store(true)
	group.Wait()
	moved.report(b, "moved")
	other.report(b, "others")
	b.ReportMetric(float64(sent)/took.Seconds(), "events/s")
	count := int64(0)
	for entry, err := range table.All(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		count += entry.State.Count
	}
	if want := int64(movePartitions*moveKeys + len(moved.took) + len(other.took) + int(sent)); count != want {
		b.Fatalf("%d events, want %d", count, want)
	}
}

// stream sends events to all partitions until stop, and returns how many.
func stream(b *testing.B, table *engine.Table[benchKey, benchState, benchEvent, int64], stop *atomic.Bool) (sent uint64) {
	p, err := table.Producer(engine.ProducerOptions[benchKey, benchEvent]{InFlightMax: 1 << 14})
	for ; err == nil && !stop.Load(); sent++ {
		err = p.Send(context.Background(), moveKey(int(sent*31%movePartitions), sent), benchEvent{Value: 1})
	}
	if err == nil {
		err = p.Close(context.Background())
	}
	if err != nil {
		b.Error(err)
	}
	return sent
}

func benchmarkStop(b *testing.B) {
	from, to := benchTable(), benchTable()
	openMoves(b, from)
	openMoves(b, to)
	fillMoves(b, from, 1)
	ctx := context.Background()
	batchOf := func(table *engine.Table[benchKey, benchState, benchEvent, int64]) (states []engine.Entry[benchKey, benchState]) {
		for entry, err := range table.All(ctx) {
			if err != nil {
				b.Fatal(err)
			}
			states = append(states, entry)
		}
		return states
	}
	for b.Loop() {
		p, err := to.Producer(engine.ProducerOptions[benchKey, benchEvent]{})
		if err != nil {
			b.Fatal(err)
		}
		for _, entry := range batchOf(from) {
			if err := p.Send(ctx, entry.Key, benchEvent{Value: entry.State.Last}); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if n := len(batchOf(to)); n != moveKeys {
		b.Fatalf("%d keys have come, want %d", n, moveKeys)
	}
}
