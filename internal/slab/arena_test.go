package slab

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"unsafe"

	"github.com/zeebo/xxh3"
)

func TestMain(m *testing.M) {
	flag.Parse()
	poison = flag.Lookup("test.bench").Value.String() == "" // it costs time
	os.Exit(m.Run())
}

// spread makes tables and inserts n keys of 16 bytes.
func spread(arena *Arena, tables int, n uint64) []*Table {
	all := make([]*Table, tables)
	for i := range all {
		all[i] = arena.New(32)
	}
	for i := range n {
		key := numberKey(i, 16)
		hash := xxh3.Hash(key)
		*(*uint64)(all[hash>>32%uint64(tables)].Insert(hash, key)) = i
	}
	return all
}

// mapsMemory says whether memory is ever mapped here.
func mapsMemory() bool {
	p := mapMemory(regionBytes)
	if p != nil {
		unmapMemory(p, regionBytes)
	}
	return p != nil
}

// mustMap skips a test where it is not.
func mustMap(t *testing.T) {
	t.Helper()
	if !mapsMemory() {
		t.Skip("all memory is of the Go heap here")
	}
}

// Goal: deletes give memory back to the process, within the bounds that Arena states.
// Method: tables that are filled beside each other, so that no region is theirs alone,
// lose nine keys in ten, then all.
func TestArenaHoldsAtMostHalfMoreThanIsUsed(t *testing.T) {
	mustMap(t)
	const n, tables = 600_000, 100
	arena := NewArena()
	defer arena.Close()
	all := spread(arena, tables, n)
	full := arena.Held()
	for _, rest := range []uint64{10, 1 << 40} {
		for i := range uint64(n) {
			key := numberKey(i, 16)
			if hash := xxh3.Hash(key); i%rest != 0 || rest > n {
				all[hash>>32%tables].Delete(hash, key)
			}
		}
		if err := arena.check(); err != nil {
			t.Fatal(err)
		}
		used, held := arena.Used(), arena.Held()
		t.Logf("full %d, used %d, held %d", full, used, held)
		if bound := used + used/2 + 8<<20 + regionBytes; held > bound {
			t.Errorf("%d bytes are used and %d held, want at most %d", used, held, bound)
		}
	}
	if used := arena.Used(); used > tables*16<<10 {
		t.Errorf("%d bytes are used by %d tables without keys", used, tables)
	}
	runtime.KeepAlive(all)
}

func TestKeysSurviveDiscardedNeighbours(t *testing.T) {
	const n, tables = 300_000, 50
	arena := NewArena()
	defer arena.Close()
	all := spread(arena, tables, n)
	for round := range 3 {
		for i := range uint64(n) {
			key := numberKey(i, 16)
			hash := xxh3.Hash(key)
			table := all[hash>>32%tables]
			if state, found := table.Add(hash, key); !found {
				*(*uint64)(state) = i
			} else if word(state) != i {
				t.Fatalf("round %d: key %d has %d", round, i, word(state))
			}
			if i%8 != uint64(round) {
				table.Delete(hash, key)
			}
		}
	}
}

// Goal: opening and closing leaves nothing behind.
// Method: a thousand arenas, half of them forgotten instead of closed.
func TestAThousandArenasLeaveNothing(t *testing.T) {
	mustMap(t)
	spread(NewArena(), 4, 1000)
	runtime.GC()
	residentBefore, spaceBefore := status(t, "VmRSS:"), status(t, "VmSize:")
	for i := range 1000 {
		arena := NewArena()
		all := spread(arena, 4, 1000)
		if arena.Close(); i%2 == 0 {
			arena.Close()
		}
		if i%100 == 0 {
			runtime.GC()
		}
		runtime.KeepAlive(all)
	}
	for range 100 { // cleanups run on a goroutine of the runtime
		runtime.GC()
		if status(t, "VmSize:") < spaceBefore+256<<20 {
			break
		}
		runtime.Gosched()
	}
	if more := status(t, "VmRSS:") - residentBefore; more > 32<<20 {
		t.Errorf("%d bytes more are resident", more)
	}
	if more := status(t, "VmSize:") - spaceBefore; more > 256<<20 {
		t.Errorf("%d bytes more are mapped", more)
	}
}

func TestForgottenArenasAreUnmapped(t *testing.T) {
	mustMap(t)
	before := status(t, "VmSize:")
	for range 50 {
		spread(NewArena(), 4, 1000)
	}
	for range 100 {
		runtime.GC()
		runtime.Gosched()
	}
	if more := status(t, "VmSize:") - before; more > 50<<20 {
		t.Errorf("%d bytes more are mapped", more)
	}
}

// status reads a line of /proc/self/status, in bytes.
func status(t testing.TB, field string) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(data), field)
	kib := 0
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func TestReadingAClosedArenaFaults(t *testing.T) {
	mustMap(t)
	arena := NewArena()
	table := arena.New(8)
	state := table.Insert(1, []byte("key"))
	arena.Close()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() == nil {
			t.Error("no fault")
		}
		runtime.KeepAlive(table)
	}()
	t.Logf("read %d", word(state))
}

func TestAStateThatHasMovedIsPoisoned(t *testing.T) {
	for name, arena := range arenas {
		a := arena()
		table := a.New(64)
		state := table.Insert(1, []byte("key"))
		fill(table, 100, 16) // grows, and moves everything
		if got := unsafe.Slice((*byte)(state), 64)[63]; got != poisonByte {
			t.Errorf("%s: a state that was moved away ends with %#x", name, got)
		}
		runtime.KeepAlive(table)
		a.close()
	}
}

func TestWithoutMemoryOfTheSystemTheHeapIsUsed(t *testing.T) {
	arena := NewArena()
	defer arena.Close()
	table := arena.New(32)
	for i := range uint64(20_000) {
		arena.closed = i%3 == 0 // no more memory is mapped
		key := numberKey(i, 16)
		*(*uint64)(table.Insert(xxh3.Hash(key), key)) = i
	}
	arena.closed = false
	mustCheck(t, table)
	for i := range uint64(20_000) {
		key := numberKey(i, 16)
		if state, ok := table.Find(xxh3.Hash(key), key); !ok || word(state) != i {
			t.Fatalf("key %d: found %v", i, ok)
		}
		if i%3 != 0 {
			table.Delete(xxh3.Hash(key), key)
		}
	}
	mustCheck(t, table)
}

func TestReservedTablesDoNotGrow(t *testing.T) {
	for _, n := range []uint64{1, 24, 244, 2441, 30_000} {
		for _, keyBytes := range []int{8, 16, 64} {
			table := NewArena().New(32)
			table.Reserve(int(n), keyBytes)
			before := *table
			fill(table, n, keyBytes)
			mustCheck(t, table)
			if table.words != before.words || table.entries.room != before.entries.room || table.inline != before.inline {
				t.Errorf("%d keys of %d bytes: room for %d before, for %d after", n, keyBytes, before.entries.room, table.entries.room)
			}
			if room := table.entries.room; room > uint32(n+n/4)+64 {
				t.Errorf("%d keys of %d bytes have room for %d", n, keyBytes, room)
			}
			table.arena.Close()
		}
	}
}

func TestReserveRefusesNonsense(t *testing.T) {
	table := New(8)
	for _, keys := range []int{0, -1, slotsMax + 1, -1 << 60, 1 << 60} {
		table.Reserve(keys, 16)
	}
	if n := table.Bytes(); n > 112 {
		t.Errorf("the table holds %d bytes", n)
	}
}

func TestBlocksOfAllSizesAreApart(t *testing.T) {
	arena := NewArena()
	defer arena.Close()
	r := newRand(t)
	type block struct {
		p     unsafe.Pointer
		bytes int
		fill  byte
	}
	var blocks []block
	for step := range 20_000 {
		if n := len(blocks); n > 0 && (r.IntN(2) == 0 || n > 500) {
			i := r.IntN(n)
			b := blocks[i]
			for at, got := range unsafe.Slice((*byte)(b.p), b.bytes) {
				if got != b.fill {
					t.Fatalf("step %d: byte %d of a block of %d was overwritten", step, at, b.bytes)
				}
			}
			arena.release(b.p, b.bytes)
			blocks[i] = blocks[n-1]
			blocks = blocks[:n-1]
			continue
		}
		b := block{bytes: 1 + r.IntN(1<<r.IntN(17)), fill: byte(step)}
		if r.IntN(2000) == 0 {
			b.bytes = regionBytes + r.IntN(regionBytes)
		}
		b.p = arena.allocate(b.bytes)
		if uintptr(b.p)%carvedMin != 0 && mapsMemory() {
			t.Fatalf("a block at %p", b.p)
		}
		for i := range unsafe.Slice((*byte)(b.p), b.bytes) {
			*(*byte)(unsafe.Add(b.p, i)) = b.fill
		}
		blocks = append(blocks, b)
		if step%500 == 0 {
			if err := arena.check(); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
	}
	for _, b := range blocks {
		arena.release(b.p, b.bytes)
	}
	if used := arena.Used(); used != 0 {
		t.Errorf("%d bytes are used by nobody", used)
	}
}
