package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Goal: shares differ by at most one, and as few partitions as possible change their
// shard: each shard that stays keeps all that its new share allows.
func TestAssignMovesAsFewPartitionsAsPossible(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		partitions := 1 << random.IntN(9)
		owners := make([]uint16, partitions)
		for i := range owners { // any layout, also one that assign would not have made
			owners[i] = uint16(random.IntN(8))
		}
		for range 6 {
			count := 1 + random.IntN(min(partitions, 40))
			next := assign(owners, count)
			checkAssign(t, owners, next, count)
			if !slices.Equal(assign(next, count), next) {
				t.Errorf("the same count of %d moved something", count)
			}
			owners = next
		}
	}
}

func checkAssign(t *testing.T, old, next []uint16, count int) {
	t.Helper()
	held, share, moved := make([]int, count), make([]int, count), 0
	for i := range next {
		if int(old[i]) < count {
			held[old[i]]++
		}
		share[next[i]]++
		if old[i] != next[i] {
			moved++
		}
	}
	if least, most := slices.Min(share), slices.Max(share); most-least > 1 {
		t.Errorf("%d partitions on %d shards: shares from %d to %d", len(next), count, least, most)
	}
	// What cannot stay: all that was on shards that go, and what is above the share;
	// the larger shares go first to those that hold more.
	small, extra := len(next)/count, len(next)%count
	stay := 0
	for _, n := range held {
		stay += min(n, small)
		if n > small && extra > 0 {
			stay++
			extra--
		}
	}
	if want := len(next) - stay; moved != want {
		t.Errorf("%d partitions to %d shards: %d moved, %d had to", len(next), count, moved, want)
	}
}
