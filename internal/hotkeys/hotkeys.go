// Package hotkeys finds the keys that most events go to, in memory that does not grow.
//
// It is the Space-Saving algorithm of A. Metwally, D. Agrawal and A. El Abbadi,
// "Efficient Computation of Frequent and Top-k Elements in Data Streams" (ICDT 2005):
// a fixed number of counters, and a key that has none takes over the smallest, whose
// count it inherits as its error. With m counters and a total weight of n no count is
// too high by more than n/m, none is too low, and every key that weighs more than n/m
// has a counter. Counts fade, so that keys which were hot do not stay so: all of them and
// the total are multiplied by the same factor, under which these bounds hold as before.
package hotkeys

import (
	"cmp"
	"slices"
)

// KeyBytesMax is how much of a key is kept to show it. Keys are told apart by their
// hashes, not by what is kept.
const KeyBytesMax = 96

// An Identity is what keys are told apart by.
type Identity struct {
	Hash  uint64
	Table uint16
}

// A Key is one of the keys that most events go to.
type Key struct {
	Identity
	Bytes []byte  // of the key, KeyBytesMax at most
	Whole bool    // Bytes are all of the key
	Share float64 // of the weight of all keys: as much at most
	Error float64 // Share-Error: as much at least
}

// A Sketch counts keys. It must be used by one goroutine at a time; call [New].
type Sketch struct {
	counters []counter
	of       map[Identity]int32 // the counter of a key
	heap     []int32            // counters, that with the smallest count first
	total    float64
}

// counter is one of the counters. Its key's bytes are memory that is used again.
type counter struct {
	count    float64
	place    int // in the heap
	err      float64
	identity Identity
	key      []byte
	whole    bool
}

// New returns an empty sketch with so many counters. All of its memory is taken now.
func New(counters int) *Sketch {
	s := &Sketch{
		counters: make([]counter, counters),
		of:       make(map[Identity]int32, counters),
		heap:     make([]int32, 0, counters),
	}
	memory := make([]byte, counters*KeyBytesMax)
	for i := range s.counters {
		s.counters[i].key = memory[i*KeyBytesMax : i*KeyBytesMax : (i+1)*KeyBytesMax]
	}
	return s
}

// Add counts an event of a key, or as many as it stands for. It copies of key what it
// keeps, and allocates nothing.
func (s *Sketch) Add(id Identity, key []byte, weight float64) {
	s.total += weight
	if i, known := s.of[id]; known {
		c := &s.counters[i]
		c.count += weight
		s.sink(c.place)
		return
	}
	if n := len(s.heap); n < len(s.counters) {
		s.heap = append(s.heap, int32(n))
		s.counters[n].count, s.counters[n].place = weight, n
		s.take(int32(n), id, key)
		s.rise(n)
		return
	}
	least := s.heap[0]
	c := &s.counters[least]
	delete(s.of, c.identity)
	c.err = c.count
	c.count += weight
	s.take(least, id, key)
	s.sink(0)
}

// take gives a counter to a key.
func (s *Sketch) take(i int32, id Identity, key []byte) {
	c := &s.counters[i]
	c.identity = id
	c.whole = len(key) <= KeyBytesMax
	c.key = append(c.key[:0], key[:min(len(key), KeyBytesMax)]...)
	s.of[id] = i
}

// Fade multiplies all counts by factor, which is from 0 to 1.
func (s *Sketch) Fade(factor float64) {
	s.total *= factor
	for i := range s.counters {
		s.counters[i].count *= factor
		s.counters[i].err *= factor
	}
}

// Top returns the keys with the highest counts, n at most, the highest first. Their bytes
// are copies.
func (s *Sketch) Top(n int) []Key {
	order := make([]*counter, len(s.heap))
	for i := range order {
		order[i] = &s.counters[i]
	}
	slices.SortFunc(order, func(a, b *counter) int { return cmp.Compare(b.count, a.count) })
	keys := make([]Key, 0, min(n, len(order)))
	for _, c := range order[:cap(keys)] {
		if c.count <= 0 {
			break // faded away
		}
		keys = append(keys, Key{
			Identity: c.identity, Bytes: slices.Clone(c.key), Whole: c.whole,
			Share: c.count / s.total, Error: c.err / s.total,
		})
	}
	return keys
}

// sink moves the counter at a place of the heap to where it belongs after its count has
// grown.
func (s *Sketch) sink(at int) {
	moving := s.heap[at]
	count := s.counters[moving].count
	for {
		child := 2*at + 1
		if child >= len(s.heap) {
			break
		}
		below := s.counters[s.heap[child]].count
		if other := child + 1; other < len(s.heap) {
			if c := s.counters[s.heap[other]].count; c < below {
				child, below = other, c
			}
		}
		if below >= count {
			break
		}
		s.put(at, s.heap[child])
		at = child
	}
	s.put(at, moving)
}

// rise moves the counter at the end of the heap to where it belongs.
func (s *Sketch) rise(at int) {
	moving := s.heap[at]
	for at > 0 {
		parent := (at - 1) / 2
		if s.counters[s.heap[parent]].count <= s.counters[moving].count {
			break
		}
		s.put(at, s.heap[parent])
		at = parent
	}
	s.put(at, moving)
}

// put puts a counter at a place of the heap.
func (s *Sketch) put(at int, i int32) {
	s.heap[at] = i
	s.counters[i].place = at
}
