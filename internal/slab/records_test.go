package slab

import (
	"errors"
	"testing"
)

// Goal: bytes that are not records of the table are told from those that are. Method:
// records of a good image, changed so that each check has to see it.
func TestWhatIsNoRecordIsRefused(t *testing.T) {
	hash := hashes["xxh3"]
	table := New(24)
	for i := range uint64(100) {
		*(*uint64)(table.Insert(hash(numberKey(i, 12)), numberKey(i, 12))) = i
	}
	var img Image
	table.CopyTo(&img)
	good, stride, ok := img.Records()
	if !ok || len(good) != 100*stride {
		t.Fatalf("%d bytes in records of %d, %v", len(good), stride, ok)
	}
	for what, c := range map[string]struct {
		n      int
		change func([]byte) []byte
		state  int
	}{
		"none":           {0, func(b []byte) []byte { return b[:0] }, 24},
		"another count":  {99, func(b []byte) []byte { return b }, 24},
		"another stride": {100, func(b []byte) []byte { return b[:100*8] }, 24},
		"another state":  {100, func(b []byte) []byte { return b }, 96},
		"no whole words": {1, func(b []byte) []byte { return b[:stride-1] }, 24},
		"a long key":     {100, func(b []byte) []byte { b[50*stride+lengthStart] = 200; return b }, 24},
	} {
		b := c.change(append([]byte{}, good...))
		if ok, err := New(c.state).AddRecords(c.n, b); ok || !errors.Is(err, ErrRecords) {
			t.Errorf("%s, at once: %v, %v", what, ok, err)
		}
		if _, err := EachRecord(c.n, b, c.state); !errors.Is(err, ErrRecords) {
			t.Errorf("%s, one by one: %v", what, err)
		}
	}
	twice := append(append([]byte{}, good...), good[7*stride:8*stride]...)
	if ok, err := New(24).AddRecords(101, twice); ok || !errors.Is(err, ErrRecords) {
		t.Errorf("a key twice: %v, %v", ok, err)
	}
	other := New(24)
	other.Insert(hash(numberKey(1000, 40)), numberKey(1000, 40))
	if ok, err := other.AddRecords(100, good); ok || err != nil || other.Len() != 1 {
		t.Errorf("into another layout: %v, %v, %d keys", ok, err, other.Len())
	}
}

func TestKeysThatDoNotLieInTheirEntriesMakeNoRecords(t *testing.T) {
	hash := hashes["xxh3"]
	table := New(8)
	key := numberKey(1, 300)
	table.Insert(hash(key), key)
	var img Image
	table.CopyTo(&img)
	if _, _, ok := img.Records(); ok {
		t.Error("a key of 300 bytes is in a record")
	}
	table.Delete(hash(key), key)
	table.Insert(hash(key[:9]), key[:9])
	table.CopyTo(&img)
	if data, stride, ok := img.Records(); !ok || len(data) != stride {
		t.Errorf("after it was deleted: %d bytes in records of %d, %v", len(data), stride, ok)
	}
}
