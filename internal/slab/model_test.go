package slab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// model is what a table is compared with. States are 8 to 16 bytes, the first 8 of
// which are a counter.
type model struct {
	arena  *Arena
	table  *Table
	hash   func([]byte) uint64
	want   map[string]uint64
	image  Image
	frozen map[string]uint64
	next   uint64
	keys   []string // of all times, so that deletes hit
}

// pick draws a key, one of earlier times as often as a new one.
func (m *model) pick(t *rapid.T) []byte {
	if len(m.keys) > 0 && rapid.Bool().Draw(t, "known") {
		return []byte(rapid.SampledFrom(m.keys).Draw(t, "key"))
	}
	n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 300),
		rapid.SampledFrom([]int{KeyBytesMax, KeyBytesMax - 4})).Draw(t, "length")
	key := bytes.Repeat([]byte{byte(n)}, n)
	if n >= 8 {
		binary.LittleEndian.PutUint64(key[n-8:], rapid.Uint64Range(0, 50).Draw(t, "id"))
	}
	m.keys = append(m.keys, string(key))
	return key
}

// findTouched finds a key as one of a run does.
func (m *model) findTouched(hash uint64, key []byte) (unsafe.Pointer, bool) {
	m.table.Touch(hash, unsafe.Pointer(m.table))
	return m.table.FindAt(m.table.TouchEntry(hash), hash, key)
}

// upsert finds or inserts, and counts.
func (m *model) upsert(t *rapid.T) {
	key := m.pick(t)
	_, known := m.want[string(key)]
	ways := []func(uint64, []byte) (unsafe.Pointer, bool){m.table.Find, m.table.Add, m.findTouched}
	state, ok := ways[rapid.IntRange(0, len(ways)-1).Draw(t, "way")](m.hash(key), key)
	if ok != known {
		t.Fatalf("key of %d bytes: found %v, want %v", len(key), ok, known)
	}
	if !ok {
		if state == nil {
			state = m.table.Insert(m.hash(key), key)
		}
		if *(*uint64)(state) != 0 {
			t.Fatalf("a new state holds %d", *(*uint64)(state))
		}
	}
	m.next++
	*(*uint64)(state) += m.next
	m.want[string(key)] += m.next
}

func (m *model) delete(t *rapid.T) {
	key := m.pick(t)
	_, known := m.want[string(key)]
	if ok := m.table.Delete(m.hash(key), key); ok != known {
		t.Fatalf("key of %d bytes: deleted %v, want %v", len(key), ok, known)
	}
	delete(m.want, string(key))
}

func (m *model) reserve(t *rapid.T) {
	m.table.Reserve(rapid.IntRange(0, 300).Draw(t, "keys"), rapid.IntRange(0, 100).Draw(t, "key bytes"))
}

func (m *model) clear(t *rapid.T) {
	for key := range m.want {
		if !m.table.Delete(m.hash([]byte(key)), []byte(key)) {
			t.Fatalf("key of %d bytes is not there", len(key))
		}
	}
	clear(m.want)
}

func (m *model) copy(*rapid.T) {
	m.table.CopyTo(&m.image)
	m.frozen = maps.Clone(m.want)
}

// reload makes the table anew of the records of its image, in two parts, taken at once
// or one by one.
func (m *model) reload(t *rapid.T) {
	m.copy(t)
	data, stride, ok := m.image.Records()
	if !ok || len(data) == 0 {
		return
	}
	n := len(data) / stride
	part := rapid.IntRange(0, n).Draw(t, "first part")
	next := m.arena.New(int(m.table.stateBytes))
	for _, part := range [][]byte{data[:part*stride], data[part*stride:]} {
		if len(part) == 0 {
			continue
		}
		taken := false
		if rapid.Bool().Draw(t, "at once") {
			var err error
			taken, err = next.AddRecords(len(part)/stride, part)
			if err != nil || !taken && next.Len() == 0 {
				t.Fatalf("%d records: %v, %v", len(part)/stride, taken, err)
			}
		}
		if !taken {
			m.addEach(t, next, part, len(part)/stride)
		}
	}
	m.table.store.releaseAll()
	m.table.index.release(m.arena)
	m.table = next
}

func (m *model) addEach(t *rapid.T, to *Table, data []byte, n int) {
	all, err := EachRecord(n, data, int(to.stateBytes))
	if err != nil {
		t.Fatal(err)
	}
	for key, state := range all {
		at, twice := to.Add(m.hash(key), key)
		if twice {
			t.Fatalf("key of %d bytes is there twice", len(key))
		}
		copyMemory(at, unsafe.Pointer(unsafe.SliceData(state)), len(state))
	}
}

func (m *model) touch(t *rapid.T) {
	hash := m.hash(m.pick(t))
	m.table.Touch(hash, unsafe.Pointer(m.table))
	m.table.TouchEntry(hash)
}

// check compares table and image with what they should hold.
func (m *model) check(t *rapid.T) {
	if err := errors.Join(m.table.check(), m.arena.check()); err != nil {
		t.Fatal(err)
	}
	if m.table.Len() != len(m.want) || m.image.Len() != len(m.frozen) {
		t.Fatalf("%d keys, want %d; image %d, want %d", m.table.Len(), len(m.want), m.image.Len(), len(m.frozen))
	}
	if err := same(m.table.All, m.want); err != nil {
		t.Fatalf("table: %v", err)
	}
	if err := same(m.image.All, m.frozen); err != nil {
		t.Fatalf("image: %v", err)
	}
}

// same reports the first difference between what all yields and want, which has
// as many keys.
func same(all func(func([]byte, unsafe.Pointer) bool), want map[string]uint64) error {
	seen := 0
	for key, state := range all {
		seen++
		if got, ok := want[string(key)]; !ok || got != *(*uint64)(state) {
			return fmt.Errorf("key of %d bytes has %d, want %d, known %v", len(key), *(*uint64)(state), got, ok)
		}
	}
	if seen != len(want) {
		return fmt.Errorf("%d keys, want %d", seen, len(want))
	}
	return nil
}

// Goal: a table is a map, whatever the hash, and an image does not change.
// Method: random operations beside a Go map; everything compared after each.
func TestTableIsAMapAndImagesAreFrozen(t *testing.T) {
	for name, hash := range hashes {
		t.Run("hash="+name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				arena := arenas[rapid.SampledFrom([]string{"heap", "mapped"}).Draw(t, "arena")]()
				defer arena.close()
				m := &model{
					arena: arena, table: arena.New(rapid.IntRange(8, 16).Draw(t, "state")), hash: hash,
					want: map[string]uint64{}, frozen: map[string]uint64{},
				}
				t.Repeat(map[string]func(*rapid.T){
					"": m.check, "upsert": m.upsert, "upsert2": m.upsert, "upsert3": m.upsert,
					"delete": m.delete, "copy": m.copy, "touch": m.touch, "clear": m.clear, "reserve": m.reserve,
					"reload": m.reload,
				})
			})
		})
	}
}

// Goal: the same through many chunks, index sizes and layouts.
// Method: long phases that mostly grow or mostly shrink, checked now and then.
func TestTableIsAMapThroughGrowthAndShrinking(t *testing.T) {
	for name, hash := range hashes {
		t.Run("hash="+name, func(t *testing.T) {
			steps, ids := 60_000, uint64(6000)
			if name != "xxh3" {
				steps, ids = 6000, 1200
			}
			for name, arena := range arenas {
				if name == "heap" || mapsMemory() {
					growAndShrink(t, arena(), hash, steps, ids)
				}
			}
		})
	}
}

func growAndShrink(t *testing.T, arena *Arena, hash func([]byte) uint64, steps int, ids uint64) {
	r := newRand(t)
	defer arena.close()
	table, want := arena.New(24), map[string]uint64{}
	for step := range steps {
		id := r.Uint64N(ids)
		key := numberKey(id, 8+int(id*id%23)*int(id%3))
		shrinking := step/(steps/4)%2 == 1
		state, ok := table.Find(hash(key), key)
		if _, known := want[string(key)]; ok != known {
			t.Fatalf("step %d: found %v, want %v", step, ok, known)
		}
		switch {
		case ok && (shrinking || r.IntN(8) == 0):
			table.Delete(hash(key), key)
			delete(want, string(key))
		case !ok && (!shrinking || r.IntN(8) == 0):
			*(*uint64)(table.Insert(hash(key), key)) = uint64(step)
			want[string(key)] = uint64(step)
		case ok:
			*(*uint64)(state) = uint64(step)
			want[string(key)] = uint64(step)
		}
		if step%(steps/40) == 0 {
			mustCheck(t, table)
			if err := same(table.All, want); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if err := arena.check(); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
	}
}
