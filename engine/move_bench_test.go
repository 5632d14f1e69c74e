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

// A probe calls for one partition all the time, and remembers how long each call took.
type probe struct {
	partition int
	calls     uint64
	still     []time.Duration    // while nothing moved
	to        [2][]time.Duration // while partition 0 moved to shard 0, or 1, or had just come
	longest   []time.Duration    // by move
	pauses    []time.Duration    // the same by window, while nothing moved
}

func (p *probe) run(r *moveRig) {
	for ; !r.stop.Load(); p.calls++ {
		before, window := r.move.Load(), r.window.Load()
		began := time.Now()
		if _, err := r.table.Do(context.Background(), moveKey(p.partition, p.calls), benchEvent{Value: 1}, r.ack); err != nil {
			r.Error(err)
			return
		}
		took := time.Since(began)
		switch move := max(before, r.move.Load()); {
		case move == 0:
			p.still = append(p.still, took)
			keepLongest(&p.pauses, max(window, r.window.Load()), took)
		default:
			p.to[move%2] = append(p.to[move%2], took)
			keepLongest(&p.longest, move, took)
		}
	}
}

func keepLongest(longest *[]time.Duration, i uint32, took time.Duration) {
	*longest = append(*longest, make([]time.Duration, max(0, int(i)+1-len(*longest)))...)
	(*longest)[i] = max((*longest)[i], took)
}

// quantile returns that of durations, in microseconds.
func quantile(share float64, all ...[]time.Duration) float64 {
	sorted := slices.Concat(all...)
	if len(sorted) == 0 {
		return 0
	}
	slices.Sort(sorted)
	return float64(sorted[int(share*float64(len(sorted)-1))].Nanoseconds()) / 1e3
}

// A moveRig is an engine with those who call it while a partition moves.
type moveRig struct {
	*testing.B
	engine *engine.Engine
	table  *engine.Table[benchKey, benchState, benchEvent, int64]
	ack    engine.Ack
	move   atomic.Uint32 // number of the move, to shard 0 if it is even; 0: nothing moves
	moves  uint32
	took   time.Duration // all moves
	window atomic.Uint32 // number of the piece of time without moves, each as long as a move
	stop   atomic.Bool
}

// moveSlice is how long a slice of a round takes.
const moveSlice = 300 * time.Millisecond

// slice lets time pass, with moves or without. every is from one to the next.
func (r *moveRig) slice(moves bool, every time.Duration) {
	began := time.Now()
	for ; !moves && time.Since(began) < moveSlice; r.window.Add(1) {
		<-time.After(r.took / time.Duration(r.moves))
	}
	if !moves {
		return
	}
	for next := began; time.Since(began) < moveSlice; {
		r.moves++
		r.move.Store(r.moves)
		start := time.Now()
		if err := r.engine.Move(context.Background(), 0, int(r.moves%2)); err != nil {
			r.Fatal(err)
		}
		r.took += time.Since(start)
		if next = next.Add(every); every > 0 {
			<-time.After(time.Until(next))
		}
	}
	r.move.Store(0)
}

// BenchmarkMove moves a partition of 10,000 keys to and fro between two shards while
// others send events: one call at a time on that partition, one on a partition of each
// shard that stays, and a producer on all of 64 if load says full. An operation is a
// round: a slice of time without moves and one with. With every=budget there are as many
// moves as rebalancing may make, with every=none one follows the other. still are calls
// on the partitions that stay, in slices without moves, from and to those in slices with,
// by whether their shard gives the partition away or gets it. moved are those on the
// partition itself, while it moves. wait is the longest of these for each move, the pauses
// of a busy machine among them; pause is the longest in as long a time without moves, which
// is nothing but these. row=stop is what
// one would do without moves: nobody sends while everything of the partition is read and
// written to another engine. With TMPDIR on a tmpfs syncs cost nothing.
func BenchmarkMove(b *testing.B) {
	for _, load := range []string{"calls", "full"} {
		for ack, name := range []string{"durable", "written", "applied"} {
			for _, every := range []time.Duration{0, time.Second / 16} {
				rate := "none"
				if every > 0 {
					rate = "budget"
				}
				b.Run(fmt.Sprintf("row=move/load=%s/ack=%s/every=%s", load, name, rate), func(b *testing.B) {
					benchmarkMove(b, load == "full", engine.Ack(ack), every)
				})
			}
		}
	}
	b.Run("row=stop", benchmarkStop)
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

func benchmarkMove(b *testing.B, full bool, ack engine.Ack, every time.Duration) {
	r := &moveRig{B: b, table: benchTable(), ack: ack}
	r.engine = openMoves(b, r.table)
	fillMoves(b, r.table, movePartitions)
	ctx := context.Background()
	stays := [2]*probe{{partition: 1}, {partition: 2}}
	for to, p := range stays {
		if err := r.engine.Move(ctx, p.partition, to); err != nil {
			b.Fatal(err)
		}
	}
	moved := &probe{partition: 0}
	var group sync.WaitGroup
	for _, p := range []*probe{moved, stays[0], stays[1]} {
		group.Go(func() { p.run(r) })
	}
	sent := uint64(0)
	if full {
		group.Go(func() { sent = stream(b, r.table, &r.stop) })
	}
	for n := 0; b.Loop(); n++ {
		r.slice(n%2 == 0, every)
		r.slice(n%2 == 1, every)
	}
	r.stop.Store(true)
	group.Wait()
	r.report(moved, stays)
	count := int64(0)
	for entry, err := range r.table.All(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		count += entry.State.Count
	}
	if want := int64(movePartitions*moveKeys + moved.calls + stays[0].calls + stays[1].calls + sent); count != want {
		b.Fatalf("%d events, want %d", count, want)
	}
}

// report reports what the probes have seen.
func (r *moveRig) report(moved *probe, stays [2]*probe) {
	for _, q := range []struct {
		share float64
		name  string
	}{{0.5, "p50"}, {0.99, "p99"}, {0.999, "p99.9"}} {
		r.ReportMetric(quantile(q.share, stays[0].still, stays[1].still), "still-"+q.name+"-us")
		r.ReportMetric(quantile(q.share, stays[1].to[0], stays[0].to[1]), "from-"+q.name+"-us")
		r.ReportMetric(quantile(q.share, stays[0].to[0], stays[1].to[1]), "to-"+q.name+"-us")
		r.ReportMetric(quantile(q.share, moved.to[0], moved.to[1]), "moved-"+q.name+"-us")
	}
	for name, longest := range map[string][]time.Duration{"wait": moved.longest, "pause": moved.pauses} {
		longest = slices.DeleteFunc(longest, func(d time.Duration) bool { return d == 0 })
		r.ReportMetric(quantile(0.5, longest), name+"-p50-us")
		r.ReportMetric(quantile(0.99, longest), name+"-p99-us")
	}
	r.ReportMetric(float64(r.moves), "moves")
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
