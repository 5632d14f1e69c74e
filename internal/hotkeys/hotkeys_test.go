package hotkeys

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// key is the number of a key as bytes.
func key(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func identity(n uint64) Identity { return Identity{Hash: n, Table: uint16(n % 3)} }

// exact is what a sketch estimates.
type exact struct {
	counts map[Identity]float64
	total  float64
}

func (e *exact) add(n uint64, weight float64) {
	e.counts[identity(n)] += weight
	e.total += weight
}

func (e *exact) fade(factor float64) {
	e.total *= factor
	for id := range e.counts {
		e.counts[id] *= factor
	}
}

// Goal: the bounds of the algorithm hold for every stream, fading included: no count is
// too low, none is too high by more than it says or than total/m, and a key that weighs
// more than total/m is there.
//
// Method: random streams, from one key for all to a key for each event, beside exact
// counts that fade alike.
func TestCountsKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counters := rapid.IntRange(1, 12).Draw(t, "counters")
		s, e := New(counters), exact{counts: map[Identity]float64{}}
		keys := rapid.Uint64Range(1, 40).Draw(t, "keys")
		for range rapid.IntRange(1, 400).Draw(t, "events") {
			if rapid.IntRange(0, 60).Draw(t, "fades") == 0 {
				s.Fade(0.5)
				e.fade(0.5)
				continue
			}
			n := min(rapid.Uint64Range(0, keys).Draw(t, "a"), rapid.Uint64Range(0, keys).Draw(t, "b"))
			weight := rapid.SampledFrom([]float64{1, 1, 1, 3, 16}).Draw(t, "weight")
			s.Add(identity(n), key(n), weight)
			e.add(n, weight)
		}
		check(t, s, &e, counters)
	})
}

func check(t *rapid.T, s *Sketch, e *exact, counters int) {
	const rounding = 1e-9
	if e.total == 0 {
		return
	}
	found := map[Identity]bool{}
	last := 2.0
	for _, k := range s.Top(counters) {
		found[k.Identity] = true
		want := e.counts[k.Identity] / e.total
		if k.Share < want-rounding || k.Share-k.Error > want+rounding || k.Error > 1/float64(counters)+rounding {
			t.Fatalf("key %v: share %v with error %v, should be %v", k.Identity, k.Share, k.Error, want)
		}
		if k.Share > last {
			t.Fatalf("the keys are not in the order of their shares")
		}
		if last = k.Share; !bytes.Equal(k.Bytes, key(k.Hash)) || !k.Whole {
			t.Fatalf("key %v came back as %x", k.Identity, k.Bytes)
		}
	}
	for id, count := range e.counts {
		if count/e.total > 1/float64(counters)+rounding && !found[id] {
			t.Fatalf("key %v has a share of %v and is not among %d", id, count/e.total, counters)
		}
	}
}

func TestMemoryDoesNotGrow(t *testing.T) {
	s := New(64)
	long := make([]byte, 10*KeyBytesMax)
	allocated := testing.AllocsPerRun(100, func() {
		for range 1000 {
			n := rand.Uint64()
			binary.LittleEndian.PutUint64(long, n)
			s.Add(identity(n), long, 1)
		}
	})
	if allocated > 0 {
		t.Errorf("a thousand keys allocate %v times", allocated)
	}
	top := s.Top(1000)
	if len(top) != 64 || len(top[0].Bytes) != KeyBytesMax || top[0].Whole {
		t.Errorf("%d keys; the first has %d bytes, whole: %v", len(top), len(top[0].Bytes), top[0].Whole)
	}
}

func TestKeysThatWereHotFadeAway(t *testing.T) {
	s := New(8)
	for range 1000 {
		s.Add(identity(1), key(1), 1)
	}
	for range 20 {
		s.Fade(0.5)
		for range 10 {
			s.Add(identity(2), key(2), 1)
		}
	}
	if top := s.Top(2); top[0].Hash != 2 || top[0].Share < 0.99 {
		t.Errorf("the hottest keys are %v", top)
	}
}

// BenchmarkAdd is what a sampled event costs, and what the table that a user would
// write costs: a map of all keys, sorted when somebody asks. bytes is what each holds
// in the end.
func BenchmarkAdd(b *testing.B) {
	for _, dist := range []string{"uniform", "zipf"} {
		for _, rival := range []string{"sketch", "map"} {
			b.Run(fmt.Sprintf("keys=1M/dist=%s/way=%s", dist, rival), func(b *testing.B) {
				stream := streamOf(dist)
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.ResetTimer()
				hottest := ways[rival](stream, b.N)
				b.StopTimer()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc), "bytes")
				if dist == "zipf" && b.N > 10_000 && hottest != 0 {
					b.Fatalf("the hottest key is %d, should be 0", hottest)
				}
			})
		}
	}
}

func streamOf(dist string) []uint64 {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 1, 1e6)
	stream := make([]uint64, 1<<20)
	for i := range stream {
		if stream[i] = r.Uint64N(1e6); dist == "zipf" {
			stream[i] = zipf.Uint64()
		}
	}
	return stream
}

var ways = map[string]func(stream []uint64, events int) (hottest uint64){
	"sketch": func(stream []uint64, events int) uint64 {
		s := New(128)
		var k [8]byte
		for i := range events {
			n := stream[i%len(stream)]
			binary.LittleEndian.PutUint64(k[:], n)
			s.Add(identity(n), k[:], 1)
		}
		return s.Top(1)[0].Hash
	},
	"map": func(stream []uint64, events int) uint64 {
		type counted struct {
			id    Identity
			count uint64
		}
		counts := make(map[Identity]uint64)
		for i := range events {
			counts[identity(stream[i%len(stream)])]++
		}
		all := make([]counted, 0, len(counts))
		for id, count := range counts {
			all = append(all, counted{id, count})
		}
		slices.SortFunc(all, func(a, b counted) int { return cmp.Compare(b.count, a.count) })
		return all[0].id.Hash
	},
}
