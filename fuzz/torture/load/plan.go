package load

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/zeebo/xxh3"
)

// Event i of a partition in a life is the same in the child that sends it and in the
// parent that judges.

// A Name says which state is meant: a key of one of the two tables.
type Name struct {
	Notes bool
	Key   string
}

// A Step is an event.
type Step struct {
	Number uint64 // no two are equal
	Remove bool   // Apply deletes the key
	Filler string
}

// Planned is event i of a partition, counted from 0 since the store was made.
func (l *Life) Planned(partition int, i uint64) (Name, Step) {
	number := mixed(mixed(mixed(l.Seed, l.Number), uint64(partition)), i)
	draw := mixed(number, 1)
	n := Name{Key: key(partition, int(draw%uint64(l.Keys)))}
	switch l.Tables {
	case Both:
		n.Notes = draw>>32&3 == 0
	case OnlyNotes:
		n.Notes = true
	}
	return n, Step{Number: number, Remove: draw>>36&15 == 0 && l.Tables != OnlyAlarms, Filler: l.filler(draw >> 40)}
}

// HasID says that an event is sent with an id, so that it can be sent again.
func (l *Life) HasID(n Name, s Step) bool { return l.IDs && !n.Notes && s.Number>>30&3 == 0 }

// Sequence is the sequence of event i of a partition in what is said of states.
func (l *Life) Sequence(i uint64) uint64 {
	if l.Tables == OnlyAlarms {
		return 0
	}
	return i + 1
}

// filler is a text that depends on draw, of 24 bits.
func (l *Life) filler(draw uint64) string {
	length := int(draw>>6) % 200
	if draw&63 == 0 && l.LargeBytes > 0 {
		length = int(draw>>6) % l.LargeBytes
	}
	from := int(draw) % len(block)
	return block[from:][:min(length, len(block)-from)]
}

// block is what fillers are cut out of.
var block = func() string {
	b := make([]byte, 1<<18)
	r := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return string(b)
}()

// mixed is a hash of two numbers.
func mixed(a, b uint64) uint64 {
	var buf [16]byte
	binary.LittleEndian.PutUint64(buf[:], a)
	binary.LittleEndian.PutUint64(buf[8:], b)
	return xxh3.Hash(buf[:])
}

// PartitionOf is the partition of a key.
func PartitionOf(key string) int {
	return int(xxh3.HashSeed([]byte(key), hashSeed) >> (64 - partitionBits))
}

// keysMax is how many keys a partition may have.
const keysMax = 1 << 10

// keys are the names of keys, by partition.
var keys = sync.OnceValue(func() (all [Partitions][]string) {
	for i, missing := 0, Partitions; missing > 0; i++ {
		k := fmt.Sprintf("key-%d", i)
		p := PartitionOf(k)
		if len(all[p]) == keysMax {
			continue
		}
		if all[p] = append(all[p], k); len(all[p]) == keysMax {
			missing--
		}
	}
	return all
})

func key(partition, i int) string {
	all := keys()
	return all[partition][i]
}
