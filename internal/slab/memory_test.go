package slab

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"unsafe"

	"github.com/zeebo/xxh3"
)

func TestDeletesGiveMemoryBack(t *testing.T) {
	for _, keyBytes := range []int{8, 16, 100, 300} {
		const n = 100_000
		table := New(32)
		fill(table, n, keyBytes)
		full := table.Bytes()
		for i := range uint64(n) {
			key := numberKey(i, keyBytes)
			if i%10 != 0 && !table.Delete(xxh3.Hash(key), key) {
				t.Fatalf("key %d is not there", i)
			}
		}
		mustCheck(t, table)
		if left := table.Bytes(); left > full/5 {
			t.Errorf("keys of %d bytes: %d bytes before, %d after nine of ten were deleted", keyBytes, full, left)
		}
		for i := uint64(0); i < n; i += 10 {
			key := numberKey(i, keyBytes)
			table.Delete(xxh3.Hash(key), key)
		}
		if left := table.Bytes(); left > 16<<10 || table.Len() != 0 {
			t.Errorf("keys of %d bytes: %d bytes and %d keys after all were deleted", keyBytes, left, table.Len())
		}
	}
}

func TestKeysCostAtMost24BytesMoreThanTheirContent(t *testing.T) {
	const stateBytes, n, tables = 32, 200_000, 64
	for _, keyBytes := range []int{8, 12, 16, 18, 20, 24, 32, 36, 40, 64} {
		all := make([]*Table, tables)
		for i := range all {
			all[i] = New(stateBytes)
		}
		for i := range uint64(n) {
			key := numberKey(i, keyBytes)
			hash := xxh3.Hash(key)
			all[hash>>58].Insert(hash, key)
		}
		held := 0
		for _, table := range all {
			held += table.Bytes()
		}
		if more := float64(held)/n - float64(keyBytes+stateBytes); more > 24 {
			t.Errorf("keys of %d bytes cost %.1f bytes more than key and state", keyBytes, more)
		}
	}
}

// scannable is how much of the heap the collector looks into.
func scannable() int64 {
	sample := []metrics.Sample{{Name: "/gc/scan/heap:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// Goal: the collector has nothing to scan.
// Method: a million keys must be few heap objects, and their 50 MB must hardly add
// to the scannable heap, which is the lists of chunks.
func TestAMillionKeysAreFewObjectsWithoutPointers(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	scanBefore := scannable()
	table := New(32)
	fill(table, 1_000_000, 16)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if objects := int64(after.HeapObjects) - int64(before.HeapObjects); objects > 6000 {
		t.Errorf("a million keys are %d heap objects", objects)
	}
	if more := scannable() - scanBefore; more > 1<<20 {
		t.Errorf("a million keys add %d bytes to the scannable heap", more)
	}
	runtime.KeepAlive(table)
}

// mallocs runs f and returns how many allocations it made.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// allocationsMax is what the runtime itself may allocate beside a million steps.
const allocationsMax = 100

func TestSteadyStateAllocatesNothing(t *testing.T) {
	table, key := New(32), make([]byte, 16)
	fill(table, 10_000, 16)
	got := mallocs(func() {
		for i := range uint64(1_000_000) {
			*(*uint64)(unsafe.Pointer(unsafe.SliceData(key))) = i % 10_000
			copy(key[8:], "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f")
			hash := xxh3.Hash(key)
			table.Touch(hash, unsafe.Pointer(table))
			table.TouchEntry(hash)
			state, ok := table.Find(hash, key)
			if !ok {
				t.Fatalf("key %d is not there", i%10_000)
			}
			if *(*uint64)(state)++; i%4 == 0 {
				table.Delete(hash, key)
				table.Insert(hash, key)
			}
		}
	})
	if got > allocationsMax {
		t.Errorf("%d allocations in a million steps", got)
	}
}

func TestBreathingAtAnySizeAllocatesLittle(t *testing.T) {
	for n := uint64(1); n < 400; n++ {
		table := New(100)
		fill(table, n, 100)
		a, b := numberKey(1<<40, 100), numberKey(1<<41, 100)
		breathe := func() {
			table.Insert(1, a)
			table.Insert(2, b)
			table.Delete(1, a)
			table.Delete(2, b)
		}
		breathe()
		if got := mallocs(func() {
			for range 1000 {
				breathe()
			}
		}); got > allocationsMax {
			t.Errorf("%d keys: %d allocations in 1,000 rounds", n, got)
		}
	}
}

func TestCopyingAgainAllocatesNothing(t *testing.T) {
	table := New(32)
	fill(table, 2441, 16)
	for i := range uint64(100) {
		key := numberKey(i, 200+int(i))
		table.Insert(xxh3.Hash(key), key)
	}
	var img Image
	table.CopyTo(&img)
	if got := mallocs(func() {
		for range 1000 {
			img.Reset()
			table.CopyTo(&img)
		}
	}); got > allocationsMax {
		t.Errorf("%d allocations in 1,000 copies", got)
	}
}
