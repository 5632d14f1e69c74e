package shard

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/slab"
)

// A tally is a table as the engine makes them: pointer-free states in a slab, changed
// in place. Events are added up.
type tally struct{}

type tallied struct{ count, sum uint64 }

type tallyProgram struct{ before tallied }

type tallyStore struct {
	slab    *slab.Table
	program *tallyProgram
}

func (tally) Bind() Program  { return &tallyProgram{} }
func (tally) Schema() uint32 { return 0 }

func (*tallyProgram) Under(uint32) (_, _ error) { return nil, nil }

func (p *tallyProgram) NewStore() Store {
	return &tallyStore{slab.New(int(unsafe.Sizeof(tallied{}))), p}
}

func (p *tallyProgram) Touch(ops []Operation) {
	for i := range ops {
		ops[i].Store.(*tallyStore).slab.Touch(ops[i].Hash, unsafe.Pointer(ops[i].Part))
	}
}

func (p *tallyProgram) TouchEntries(ops []Operation) {
	for i := range ops {
		ops[i].Store.(*tallyStore).slab.TouchEntry(ops[i].Hash)
	}
}

func (p *tallyProgram) Apply(r *Run, to int) {
	for ; r.Next < to; r.Next++ {
		op := &r.Ops[r.Next]
		op.Store.(*tallyStore).fold(op)
		op.Part.Sequence++
	}
}

func (p *tallyProgram) Undo() {}

func (s *tallyStore) fold(op *Operation) {
	p, ok := s.slab.Find(op.Hash, op.Key())
	if !ok {
		p = s.slab.Insert(op.Hash, op.Key())
	}
	state := (*tallied)(p)
	s.program.before = *state
	state.count++
	state.sum += binary.LittleEndian.Uint64(op.Event())
}

func (s *tallyStore) Freeze(Image) Image               { return ledgerImage{} }
func (s *tallyStore) Load(uint8, uint32, []byte) error { return nil }
func (s *tallyStore) Rebind(to Program)                { s.program = to.(*tallyProgram) }
func (s *tallyStore) Empty() bool                      { return s.slab.Len() == 0 }
func (s *tallyStore) Len() int                         { return s.slab.Len() }
func (s *tallyStore) Bytes() int                       { return s.slab.Bytes() }
func (s *tallyStore) count() (events uint64) {
	s.slab.All(func(_ []byte, p unsafe.Pointer) bool {
		events += (*tallied)(p).count
		return true
	})
	return events
}

// mix spreads the numbers of keys over all hashes.
func mix(key []byte, seed uint64) uint64 {
	h := binary.LittleEndian.Uint64(key) + seed
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

const tallyBits = 10

// newTally makes a shard over a tally, with all partitions, on a disk of its own.
func newTally(tb testing.TB, disk fsys.FS) *rig {
	r := &rig{TB: tb, disk: crashfs.New(), time: 1000}
	cfg := rigConfig(r)
	cfg.Tables = []Table{tally{}}
	cfg.Routing = Routing{Seed: 5, Bits: tallyBits, Hash: mix}
	cfg.Log.Sync, cfg.Log.SegmentBytes = SyncNever, 1<<30
	cfg.Inbox = 1 << 20
	if disk != nil {
		cfg.Log.FS, cfg.Dir = disk, tb.TempDir()
	}
	ids := make([]uint32, 1<<tallyBits)
	for i := range ids {
		ids[i] = uint32(i)
	}
	state, err := Create(cfg, ids, nil, Clock{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.assume(cfg, state); err != nil {
		tb.Fatal(err)
	}
	return r
}

// A sink of bytes: a disk that takes everything and keeps nothing, so that the shard
// is measured and not the disk.
type nowhere struct{ fsys.FS }

type nothing struct{ fsys.File }

func (n nowhere) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	f, err := n.FS.OpenFile(name, flag, perm)
	return nothing{f}, err
}

func (nothing) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nothing) Reserve(int64) error                    { return nil }

// batch makes a block of events for a stream in the memory of b, of keys that next gives.
func batch(b []byte, slot *Slot, r *rig, count int, next func() uint64) []byte {
	b = append(b[:0], make([]byte, BlockHeaderBytes)...)
	PutBlockHeader(b, slot.Stream(), count, Written)
	for range count {
		var key [8]byte
		binary.LittleEndian.PutUint64(key[:], next())
		longer, event := AppendOp(b, mix(key[:], r.cfg.Routing.Seed), 0, KindEvent, key[:], 8)
		binary.LittleEndian.PutUint64(event, 1)
		b = longer
	}
	return b
}

// Goal: an event costs no allocation on its way through the shard. Method: the
// difference of all allocations over a million events, of existing keys, in ten thousand
// frames. What is left is done once for each MiB of the log.
func TestEventsCostNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newTally(t, nowhere{crashfs.New()})
	slot := r.cfg.Slots.New()
	slot.Reset()
	key := uint64(0)
	blocks := make([][]byte, 100)
	for i := range blocks {
		blocks[i] = batch(nil, slot, r, 100, func() uint64 { key++; return key })
	}
	through := func(rounds int) {
		for range rounds {
			for _, b := range blocks {
				r.post(b)
				for r.turn() {
					continue
				}
			}
		}
	}
	through(2)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	through(100)
	runtime.ReadMemStats(&after)
	const events = 1_000_000
	if n := after.Mallocs - before.Mallocs; n > events/1000 {
		t.Fatalf("%d allocations in %d events", n, events)
	}
	if n, err := slot.Completed(); err != nil || n != events+20_000 || r.counters.events != n {
		t.Fatalf("%d completed, %d events, %v", n, r.counters.events, err)
	}
}

// BenchmarkRun measures an event on its way through the shard: taken from the inbox in
// blocks of 64, touched, applied, logged to a disk that is nowhere, and told. The
// result is checked by counting what the states hold.
func BenchmarkRun(b *testing.B) {
	for _, keys := range []uint64{100_000, 1_000_000, 10_000_000} {
		for _, dist := range []string{"uniform", "zipf"} {
			b.Run(fmt.Sprintf("keys=%d/dist=%s", keys, dist), func(b *testing.B) { benchmarkRun(b, keys, dist) })
		}
	}
}

func benchmarkRun(b *testing.B, keys uint64, dist string) {
	const perBlock = 64
	r := newTally(b, nowhere{fsys.OS()})
	slot := r.cfg.Slots.New()
	slot.Reset()
	push := func(block []byte) {
		r.post(block)
		for r.turn() {
			continue
		}
	}
	key := uint64(0)
	var block []byte
	for key < keys {
		block = batch(block, slot, r, perBlock, func() uint64 { key++; return key - 1 })
		push(block)
	}
	random := rand.New(rand.NewPCG(1, 2))
	next := func() uint64 { return random.Uint64N(keys) }
	if dist == "zipf" {
		next = rand.NewZipf(random, 1.01, 1, keys-1).Uint64
	}
	blocks := make([][]byte, 1<<12) // a quarter of a million events, then again
	for i := range blocks {
		blocks[i] = batch(nil, slot, r, perBlock, next)
	}
	before := r.counters.events
	b.ResetTimer()
	for i := 0; i < b.N; i += perBlock {
		push(blocks[i/perBlock%len(blocks)])
	}
	b.StopTimer()
	b.ReportMetric(float64(r.counters.events-before)/b.Elapsed().Seconds()/1e6, "Mevents/s")
	counted := uint64(0)
	for _, p := range r.owned {
		counted += p.Stores[0].(*tallyStore).count()
	}
	if counted != r.counters.events {
		b.Fatalf("%d events, and the states hold %d", r.counters.events, counted)
	}
}

// BenchmarkAck measures a call that waits for its ack, from the block to the caller,
// with a shard that runs: alone, and with many callers at once.
func BenchmarkAck(b *testing.B) {
	for _, ack := range []Ack{Applied, Written, Durable} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("ack=%d/callers=%d", ack, callers), func(b *testing.B) { benchmarkAck(b, ack, callers) })
		}
	}
}

func benchmarkAck(b *testing.B, ack Ack, callers int) {
	r := newTally(b, fsys.OS())
	r.cfg.Log.Sync = SyncAlways
	r.cfg.Wait.Spin = 20 * time.Microsecond
	r.Start()
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		slot := r.cfg.Slots.New()
		block := batch(nil, slot, r, 1, func() uint64 { return uint64(slot.index) })
		for pb.Next() {
			PutBlockHeader(block, slot.Arm(), 1, ack)
			r.post(block)
			if err, _ := slot.Wait(b.Context(), Patience{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	r.Hurry()
	r.Stop()
	if err := r.Wait(b.Context()); err != nil || r.counters.events < uint64(b.N) {
		b.Fatal(r.counters.events, err)
	}
}
