package slab

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"
)

var seedFlag = flag.Uint64("slab.seed", 0, "seed of the random tests; 0 takes one from the clock")

// newRand returns a random source and prints what repeats the test.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: go test ./internal/slab -run '^%s$' -slab.seed=%d", t.Name(), seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// hashes are the functions that a table must be correct with.
var hashes = map[string]func([]byte) uint64{
	"xxh3":     xxh3.Hash,
	"constant": func([]byte) uint64 { return 0xfeed_beef_feed_beef },
	"fourbits": func(key []byte) uint64 { return xxh3.Hash(key) & 0x0000_0003_8000_0001 },
	"lowbits":  func(key []byte) uint64 { return xxh3.Hash(key) & 0xf },
	"highbits": func(key []byte) uint64 { return xxh3.Hash(key) | 0x0fff_ffff },
}

func mustCheck(t *testing.T, table *Table) {
	t.Helper()
	if err := table.check(); err != nil {
		t.Fatal(err)
	}
}

// numberKey is a key of n bytes, n at least 8, that belongs to i.
func numberKey(i uint64, n int) []byte {
	key := make([]byte, n)
	binary.LittleEndian.PutUint64(key, i)
	for j := 8; j < n; j++ {
		key[j] = byte(j)
	}
	return key
}

// fill inserts keys 0..n-1 of keyBytes each and puts i into the first state word.
func fill(table *Table, n uint64, keyBytes int) {
	for i := range n {
		key := numberKey(i, keyBytes)
		*(*uint64)(table.Insert(xxh3.Hash(key), key)) = i
	}
}

func TestEmptyTableHoldsOnlyItself(t *testing.T) {
	table := New(32)
	key := []byte("key")
	if _, ok := table.Find(xxh3.Hash(key), key); ok || table.Delete(xxh3.Hash(key), key) || table.Len() != 0 {
		t.Error("an empty table has a key")
	}
	table.Touch(1, unsafe.Pointer(table))
	table.TouchEntry(1)
	for range table.All {
		t.Error("an empty table yields a key")
	}
	if n := table.Bytes(); n > 112 {
		t.Errorf("an empty table holds %d bytes", n)
	}
	var img Image
	table.CopyTo(&img)
	if img.Len() != 0 {
		t.Errorf("the image of an empty table has %d keys", img.Len())
	}
	mustCheck(t, table)
}

func TestKeysOfEveryLengthComeBack(t *testing.T) {
	table := New(8)
	var lengths []int
	for n := range 1200 {
		lengths = append(lengths, n)
	}
	for n := 1 << 11; n <= KeyBytesMax+1; n *= 2 {
		lengths = append(lengths, n-5, n-4, n-3, n-1)
	}
	for i, n := range lengths {
		key := bytes.Repeat([]byte{byte(i)}, n)
		*(*uint64)(table.Insert(xxh3.Hash(key), key)) = uint64(i)
	}
	mustCheck(t, table)
	for i, n := range lengths {
		key := bytes.Repeat([]byte{byte(i)}, n)
		state, ok := table.Find(xxh3.Hash(key), key)
		if !ok || *(*uint64)(state) != uint64(i) {
			t.Fatalf("key of %d bytes: found %v", n, ok)
		}
	}
	var img Image
	table.CopyTo(&img)
	i := 0
	for key, state := range img.All {
		if len(key) != lengths[i] || *(*uint64)(state) != uint64(i) {
			t.Fatalf("image yields a key of %d bytes as number %d", len(key), i)
		}
		i++
	}
}

func TestBlockFitsItsKeyAndWastesLittle(t *testing.T) {
	for n := inlineMin + 1; n <= KeyBytesMax; n++ {
		size, need := classBytes(classOf(n)), n+ownerBytes
		if size < need || size > need+max(fineStep, need/8) || size%wordBytes != 0 {
			t.Fatalf("key of %d bytes: block of %d", n, size)
		}
	}
}

func TestInsertRefusesAKeyThatIsTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(8).Insert(1, make([]byte, KeyBytesMax+1))
}

func TestStatesAreAlignedAndZeroed(t *testing.T) {
	for stateBytes := range 65 {
		t.Run(fmt.Sprintf("state=%d", stateBytes), func(t *testing.T) { alignedAndZeroed(t, stateBytes) })
	}
}

// alignedAndZeroed fills states with ones, deletes them and inserts again.
func alignedAndZeroed(t *testing.T, stateBytes int) {
	table := New(stateBytes)
	for round := range 2 {
		for i := range uint64(300) {
			key := numberKey(i, 8+int(i)%80)
			state := table.Insert(xxh3.Hash(key), key)
			if uintptr(state)%8 != 0 {
				t.Fatalf("round %d: state at %p", round, state)
			}
			for j, b := range unsafe.Slice((*byte)(state), stateBytes) {
				if b != 0 {
					t.Fatalf("round %d: byte %d of a new state is %d", round, j, b)
				}
				unsafe.Slice((*byte)(state), stateBytes)[j] = 0xff
			}
		}
		mustCheck(t, table)
		for i := range uint64(300) {
			key := numberKey(i, 8+int(i)%80)
			if !table.Delete(xxh3.Hash(key), key) {
				t.Fatalf("key %d is not there", i)
			}
		}
	}
}

func TestLargeStatesWork(t *testing.T) {
	for _, stateBytes := range []int{4000, 5000, 9000, 40000} {
		table := New(stateBytes)
		fill(table, 50, 16)
		mustCheck(t, table)
		for i := range uint64(50) {
			state, ok := table.Find(xxh3.Hash(numberKey(i, 16)), numberKey(i, 16))
			if !ok || *(*uint64)(state) != i || *(*byte)(unsafe.Add(state, stateBytes-1)) != 0 {
				t.Fatalf("state of %d bytes, key %d: found %v", stateBytes, i, ok)
			}
			if !table.Delete(xxh3.Hash(numberKey(i, 16)), numberKey(i, 16)) {
				t.Fatalf("key %d is not there", i)
			}
			mustCheck(t, table)
		}
	}
}

func TestTouchingChangesNothing(t *testing.T) {
	table := New(16)
	fill(table, 1000, 16)
	before := fmt.Sprint(dump(table))
	for i := range uint64(2000) {
		hash := xxh3.Hash(numberKey(i, 16))
		table.Touch(hash, unsafe.Pointer(table))
		table.TouchEntry(hash)
	}
	if after := fmt.Sprint(dump(table)); after != before {
		t.Error("the table has changed")
	}
	mustCheck(t, table)
}

// dump lists keys and first state words in slot order.
func dump(table *Table) (list []string) {
	for key, state := range table.All {
		list = append(list, fmt.Sprintf("%x=%d", key, *(*uint64)(state)))
	}
	return list
}

func TestInlineAreaFollowsTheKeys(t *testing.T) {
	for _, c := range []struct {
		first, rest int
		want        uint32
	}{{8, 8, 10}, {8, 16, 18}, {60, 16, 18}, {8, 24, 26}, {8, 36, 42}, {16, 64, 66}, {8, 300, 10}} {
		table := New(8)
		first := numberKey(1<<40, c.first)
		table.Insert(xxh3.Hash(first), first)
		fill(table, 200, c.rest)
		mustCheck(t, table)
		if table.inline != c.want {
			t.Errorf("one key of %d bytes, 200 of %d: inline area of %d, want %d", c.first, c.rest, table.inline, c.want)
		}
	}
}

func TestIterationStopsWhenAsked(t *testing.T) {
	table := New(8)
	fill(table, 10, 16)
	n := 0
	for range table.All {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d keys yielded", n)
	}
}

// Goal: a table that is not needed any more gives all back, and begins anew. Method: keys
// of all classes, more than a chunk of them.
func TestReleasedTableGivesBackItsMemory(t *testing.T) {
	a := NewArena()
	defer a.Close()
	table := a.New(24)
	for range 2 {
		for i := range 5000 {
			table.Insert(uint64(i)*0x9e3779b97f4a7c15, []byte(fmt.Sprint(strings.Repeat("k", i%300), i)))
		}
		table.Release()
		if table.Len() != 0 || table.Bytes() != a.New(24).Bytes() || a.Used() != 0 {
			t.Fatalf("%d keys, %d bytes, %d of the arena", table.Len(), table.Bytes(), a.Used())
		}
	}
}
