package slab

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// counters is the state of the benchmarks: 32 bytes.
type counters struct{ count, sum, min, max uint64 }

func (c *counters) add(v uint64) {
	c.count++
	c.sum += v
	c.min = min(c.min, v)
	c.max = max(c.max, v)
}

// benchKey is key i: 16 bytes, the last 8 a decimal-like pattern.
type benchKey [16]byte

func keyOf(i uint64) (key benchKey) {
	binary.LittleEndian.PutUint64(key[:], i*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(key[8:], i)
	return key
}

// runLength is how many records a shard is taken to drain at once.
const runLength = 32

// stream is a long sequence of keys, uniform over n, made before the clock starts.
// Its length is a multiple of runLength.
func stream(n uint64) []benchKey {
	r := rand.New(rand.NewPCG(7, n))
	keys := make([]benchKey, 4<<20)
	for i := range keys {
		keys[i] = keyOf(r.Uint64N(n))
	}
	return keys
}

// tables is n keys over 1 << bits tables.
func tables(n uint64, bits uint) []*Table {
	all := make([]*Table, 1<<bits)
	for i := range all {
		all[i] = New(int(unsafe.Sizeof(counters{})))
	}
	for i := range n {
		key := keyOf(i)
		hash := xxh3.Hash(key[:])
		all[hash>>(64-bits)].Insert(hash, key[:])
	}
	runtime.GC()
	return all
}

// sizes are the key counts of the benchmarks, slices of the partition counts.
var (
	sizes         = []uint64{2441, 100_000, 1_000_000, 10_000_000}
	partitionBits = []uint{0, 12}
)

// BenchmarkUpdate is a 32-byte read-modify-write of uniform 16-byte keys, with the
// hash: one by one, in runs with both touch passes, and Go maps the same way.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range sizes {
		for _, bits := range partitionBits {
			if n >= 1<<bits {
				b.Run(fmt.Sprintf("keys=%d/partitions=%d", n, 1<<bits), func(b *testing.B) { updateAll(b, n, bits) })
			}
		}
	}
}

// updateAll benchmarks the slab and its rivals, in memory one after the other.
func updateAll(b *testing.B, n uint64, bits uint) {
	keys := stream(n)
	b.Run("map=slab", func(b *testing.B) {
		all := tables(n, bits)
		b.Run("run=1", func(b *testing.B) { oneByOne(b, all, bits, keys) })
		b.Run("run=32", func(b *testing.B) { inRuns(b, all, bits, keys) })
	})
	b.Run("map=pointers", func(b *testing.B) {
		all := mapsOf(n, bits, func(*counters) *counters { return new(counters) })
		b.Run("run=1", func(b *testing.B) { rivalPointers(b, all, bits, keys) })
	})
	b.Run("map=values", func(b *testing.B) {
		all := mapsOf(n, bits, func(c *counters) counters { return *c })
		b.Run("run=1", func(b *testing.B) { rivalValues(b, all, bits, keys) })
	})
}

func report(b *testing.B, missing int) {
	if missing > 0 {
		b.Fatalf("%d keys are not there", missing)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}

func oneByOne(b *testing.B, all []*Table, bits uint, keys []benchKey) {
	missing, at := 0, 0
	for b.Loop() {
		key := &keys[at]
		at = (at + 1) & (len(keys) - 1)
		hash := xxh3.Hash(key[:])
		state, ok := all[hash>>(64-bits)].Find(hash, key[:])
		if !ok {
			missing++
			continue
		}
		(*counters)(state).add(hash)
	}
	report(b, missing)
}

func inRuns(b *testing.B, all []*Table, bits uint, keys []benchKey) {
	missing, at := 0, 0
	for n := 0; n < b.N; n += runLength {
		missing += update(all, bits, keys[at:at+runLength])
		at = (at + runLength) & (len(keys) - 1)
	}
	report(b, missing)
}

// update is what a shard does with a run.
func update(all []*Table, bits uint, run []benchKey) (missing int) {
	var hashes [runLength]uint64
	for i := range run {
		hash := xxh3.Hash(run[i][:])
		hashes[i%runLength] = hash
		all[hash>>(64-bits)].Touch(hash, unsafe.Pointer(&run[i]))
	}
	for _, hash := range hashes {
		all[hash>>(64-bits)].TouchEntry(hash)
	}
	for i, hash := range hashes {
		state, ok := all[hash>>(64-bits)].Find(hash, run[i][:])
		if !ok {
			missing++
			continue
		}
		(*counters)(state).add(hash)
	}
	return missing
}

// mapsOf is n keys over 1 << bits Go maps.
func mapsOf[V any](n uint64, bits uint, value func(*counters) V) []map[benchKey]V {
	all := make([]map[benchKey]V, 1<<bits)
	for i := range all {
		all[i] = map[benchKey]V{}
	}
	for i := range n {
		key := keyOf(i)
		all[xxh3.Hash(key[:])>>(64-bits)][key] = value(&counters{})
	}
	runtime.GC()
	return all
}

func rivalPointers(b *testing.B, all []map[benchKey]*counters, bits uint, keys []benchKey) {
	missing, at := 0, 0
	for b.Loop() {
		key := &keys[at]
		at = (at + 1) & (len(keys) - 1)
		hash := xxh3.Hash(key[:])
		if c := all[hash>>(64-bits)][*key]; c != nil {
			c.add(hash)
		} else {
			missing++
		}
	}
	report(b, missing)
}

func rivalValues(b *testing.B, all []map[benchKey]counters, bits uint, keys []benchKey) {
	missing, at := 0, 0
	for b.Loop() {
		key := &keys[at]
		at = (at + 1) & (len(keys) - 1)
		hash := xxh3.Hash(key[:])
		m := all[hash>>(64-bits)]
		c, ok := m[*key]
		if !ok {
			missing++
		}
		c.add(hash)
		m[*key] = c
	}
	report(b, missing)
}

// BenchmarkInsert builds a partition of 2,441 keys and deletes them again, an
// operation being one key.
func BenchmarkInsert(b *testing.B) {
	const n = 2441
	b.Run("map=slab", func(b *testing.B) {
		table := New(32)
		for i := 0; i < b.N; i++ {
			if i%n == 0 {
				table = New(32)
			}
			key := keyOf(uint64(i))
			table.Insert(xxh3.Hash(key[:]), key[:])
		}
	})
	b.Run("map=pointers", func(b *testing.B) {
		m := map[benchKey]*counters{}
		for i := 0; i < b.N; i++ {
			if i%n == 0 {
				m = map[benchKey]*counters{}
			}
			m[keyOf(uint64(i))] = new(counters)
		}
	})
}

// BenchmarkDelete deletes a key and inserts another one, in one table.
func BenchmarkDelete(b *testing.B) {
	for _, n := range []uint64{2441, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			table := tables(n, 0)[0]
			for i := uint64(0); b.Loop(); i++ {
				old, fresh := keyOf(i), keyOf(i+n)
				if !table.Delete(xxh3.Hash(old[:]), old[:]) {
					b.Fatalf("key %d is not there", i)
				}
				table.Insert(xxh3.Hash(fresh[:]), fresh[:])
			}
		})
	}
}

// BenchmarkCopyTo copies a partition of ten million keys over 4,096.
func BenchmarkCopyTo(b *testing.B) {
	for _, keys := range []uint64{244, 2441} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			all := tables(keys*256, 8)
			var img Image
			for _, table := range all {
				table.CopyTo(&img)
			}
			for i := 0; b.Loop(); i++ {
				all[i%len(all)].CopyTo(&img)
			}
			b.SetBytes(int64(img.usedBytes()))
		})
	}
}

// BenchmarkBytes reports what a key costs beside its 16 bytes and the state's 32:
// as the tables count it, and as the heap does.
func BenchmarkBytes(b *testing.B) {
	for _, n := range sizes[2:] {
		for _, bits := range partitionBits {
			b.Run(fmt.Sprintf("keys=%d/partitions=%d", n, 1<<bits), func(b *testing.B) {
				for b.Loop() {
					bytesPerKey(b, n, bits)
				}
			})
		}
	}
}

func bytesPerKey(b *testing.B, n uint64, bits uint) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := tables(n, bits)
	runtime.ReadMemStats(&after)
	held := 0
	for _, table := range all {
		held += table.Bytes()
	}
	b.ReportMetric(float64(held)/float64(n)-48, "overhead-B/key")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n)-48, "heap-overhead-B/key")
}
