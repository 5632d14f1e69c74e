package slab

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// Goal: records are read without the type of their states, also if that is longer in
// memory than in its encoding.
// Method: keys of all lengths that lie in entries, states of many sizes, with blank bytes
// at their ends.
func TestRecordsAreReadBySizeOfTheStateAlone(t *testing.T) {
	for _, keyBytes := range []int{8, 9, 10, 11, 18, 30, 66} {
		for _, state := range []struct{ encoded, blank int }{{0, 0}, {1, 0}, {8, 0}, {9, 7}, {24, 0}, {24, 40}, {8, 56}} {
			table := New(state.encoded + state.blank)
			for i := range uint64(50) {
				key := numberKey(i, keyBytes)
				at := table.Insert(xxh3.Hash(key), key)
				for j := range state.encoded {
					*(*byte)(unsafe.Add(at, j)) = byte(i + 1)
				}
			}
			var img Image
			table.CopyTo(&img)
			data, _, ok := img.Records()
			if !ok {
				t.Fatalf("keys of %d bytes do not lie in their entries", keyBytes)
			}
			all, err := ForeignRecords(50, data, state.encoded)
			if err != nil {
				t.Fatalf("keys of %d, states of %v: %v", keyBytes, state, err)
			}
			n := uint64(0)
			for key, b := range all {
				if !bytes.Equal(key, numberKey(n, keyBytes)) || !bytes.Equal(b, bytes.Repeat([]byte{byte(n + 1)}, state.encoded)) {
					t.Fatalf("keys of %d, states of %v: record %d is %x: %x", keyBytes, state, n, key, b)
				}
				n++
			}
			if n != 50 {
				t.Fatalf("%d records", n)
			}
		}
	}
}

func TestWhatIsNoRecordOfAForeignTableIsRefused(t *testing.T) {
	table := New(8)
	fill(table, 10, 20)
	var img Image
	table.CopyTo(&img)
	good, stride, _ := img.Records()
	long := bytes.Clone(good)
	long[lengthStart] = 200
	for what, c := range map[string]struct {
		n     int
		data  []byte
		state int
	}{
		"none":          {0, nil, 8},
		"no whole ones": {10, good[:len(good)-1], 8},
		"a large state": {10, good, stride},
		"a long key":    {10, long, 8},
	} {
		if _, err := ForeignRecords(c.n, c.data, c.state); !errors.Is(err, ErrRecords) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
