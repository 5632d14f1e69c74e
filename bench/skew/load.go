package skew

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/bench/workload"
)

// A Load says which keys events have: each is drawn by its rank, and a phase says which
// key has which rank.
type Load struct {
	Keys  []Key
	draws []uint32 // ranks of the events, which the sources go round in
	hash  func(key []byte, seed uint64) uint64
	place func(owners []int, shards, phase, towards int) []uint32
}

// A Hot is a load of which a part goes to the keys of a few partitions.
type Hot struct {
	Partitions int     // that are hot at a time
	Keys       int     // of each of them
	Part       float64 // of the events that goes to them; the rest goes to all keys of Cool
	Cool       int     // keys in all partitions
	Seed       uint64
}

// drawsOf is how many events are drawn in advance.
const drawsOf = 1 << 20

// HotPartitionsMax and KeysMax bound a Hot.
const (
	HotPartitionsMax = 64
	KeysMax          = 20_000_000
)

// Load makes the load, or says what is wrong. It has a set of hot partitions for each
// shard, and one for the even phase.
func (h Hot) Load() (Load, error) {
	total := int64(h.Partitions)*int64(h.Keys)*hotSets + int64(h.Cool)
	switch {
	case h.Partitions < 1 || h.Partitions > HotPartitionsMax || h.Partitions%ShardsMax != 0:
		return Load{}, fmt.Errorf("skew: the count of hot partitions must be a multiple of %d up to %d, not %d", ShardsMax, HotPartitionsMax, h.Partitions)
	case h.Keys < 1 || h.Cool < 1 || total > KeysMax:
		return Load{}, fmt.Errorf("skew: 1 to %d keys in all, not %d", KeysMax, total)
	case !(h.Part > 0 && h.Part < 1):
		return Load{}, fmt.Errorf("skew: a part of the events between 0 and 1 is hot, not %v", h.Part)
	}
	l := Load{hash: func(key []byte, _ uint64) uint64 { return hashed(uint64(binary.LittleEndian.Uint16(key)), key) }}
	hot := h.Partitions * h.Keys // ranks
	random := rand.New(rand.NewPCG(h.Seed, 0x736b6577))
	for range drawsOf {
		if random.Float64() < h.Part {
			l.draws = append(l.draws, random.Uint32N(uint32(hot)))
		} else {
			l.draws = append(l.draws, uint32(hot)+random.Uint32N(uint32(h.Cool)))
		}
	}
	// The keys of the sets come first, those that are cool behind them.
	candidates := h.Partitions * hotSets
	for c := range candidates {
		for n := range h.Keys {
			l.Keys = append(l.Keys, numbered(c*partitions/candidates, n))
		}
	}
	for n := range h.Cool {
		l.Keys = append(l.Keys, numbered(n%partitions, h.Keys+n/partitions))
	}
	l.place = h.place
	return l, nil
}

// hotSets is how many times the hot partitions there are: of them a set is chosen for
// every phase.
const hotSets = 4 * ShardsMax

func numbered(partition, n int) (k Key) {
	binary.LittleEndian.PutUint16(k[:], uint16(partition))
	binary.LittleEndian.PutUint64(k[8:], uint64(n))
	return k
}

// place gives the hot ranks to partitions of one shard, or to as many of each. Phases
// have different ones, as far as there are enough.
func (h Hot) place(owners []int, shards, phase, towards int) []uint32 {
	byShard := make([][]int, shards)
	candidates := h.Partitions * hotSets
	for c := range candidates {
		owner := owners[c*h.Keys]
		byShard[owner] = append(byShard[owner], c)
	}
	var chosen []int
	for i := range h.Partitions {
		of, at := towards, i
		if towards < 0 {
			of, at = i%shards, i/shards
		}
		mine := byShard[of]
		chosen = append(chosen, mine[(phase*h.Partitions+at)%len(mine)])
	}
	hot := h.Partitions * h.Keys
	places := make([]uint32, hot+h.Cool)
	for rank := range hot {
		places[rank] = uint32(chosen[rank/h.Keys]*h.Keys + rank%h.Keys)
	}
	for n := range h.Cool {
		places[hot+n] = uint32(candidates*h.Keys + n)
	}
	return places
}

// namesMax is how many different keys a file may have.
const namesMax = 1 << 16

// Named makes a load of events with names of their own, such as the origins of flights:
// they come as in s, and a phase exchanges names. The names that the most events have get
// partitions of one shard, as far as that has any.
func Named(s workload.Source) (Load, error) {
	var l Load
	places := make(map[string]uint32)
	err := workload.ForEach(s, func(e workload.Event) error {
		place, ok := places[string(e.Key)]
		if !ok {
			if place = uint32(len(places)); place == namesMax {
				return fmt.Errorf("skew: a file may have %d different keys", namesMax)
			}
			places[string(e.Key)] = place
			var k Key
			if n := copy(k[:], e.Key); n < len(e.Key) {
				return fmt.Errorf("skew: key %q has more than %d bytes", e.Key, len(k))
			}
			l.Keys = append(l.Keys, k)
		}
		l.draws = append(l.draws, place)
		return nil
	})
	if err == nil && len(l.draws) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return l, errors.Join(errors.New("skew: the events cannot be used"), err)
	}
	l.hash = func(key []byte, _ uint64) uint64 { return xxh3.Hash(key) }
	counts := l.rank()
	l.place = func(owners []int, shards, _, towards int) []uint32 { return deal(owners, shards, towards, counts) }
	return l, nil
}

// rank makes the draws ranks, and returns how many events each has.
func (l *Load) rank() (counts []int) {
	counts = make([]int, len(l.Keys))
	for _, place := range l.draws {
		counts[place]++
	}
	order := make([]uint32, len(l.Keys))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	ranks := make([]uint32, len(order))
	for rank, place := range order {
		ranks[place] = uint32(rank)
	}
	for i, place := range l.draws {
		l.draws[i] = ranks[place]
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	return counts
}

// Busiest is the share of the events that the busiest key has.
func (l *Load) Busiest() float64 {
	first := 0
	for _, rank := range l.draws {
		if rank == 0 {
			first++
		}
	}
	return float64(first) / float64(len(l.draws))
}

// deal gives ranks to keys: the first ones to those of a shard, or each to the shard that
// has the fewest events so far.
func deal(owners []int, shards, towards int, counts []int) []uint32 {
	byShard := make([][]uint32, shards)
	for key, owner := range owners {
		byShard[owner] = append(byShard[owner], uint32(key))
	}
	given := make([]int, shards)
	places := make([]uint32, len(owners))
	for rank := range places {
		to := towards
		if towards < 0 || len(byShard[to]) == 0 {
			to = -1
			for i := range byShard {
				if len(byShard[i]) > 0 && (to < 0 || given[i] < given[to]) {
					to = i
				}
			}
		}
		places[rank] = byShard[to][0]
		byShard[to] = byShard[to][1:]
		given[to] += counts[rank]
	}
	return places
}
