package engine

import (
	"context"
	"testing"

	"github.com/keyfold/keyfold/internal/seam"
)

// large is a state of 16 KiB.
type large [2048]int64

// Goal: partitions move together, but no more of them than a mebibyte or so. Method: the
// version of the old owner's inbox counts the cuts.
func TestLargePartitionsMoveFewAtATime(t *testing.T) {
	for _, c := range []struct{ keys, cuts int }{{1, 1}, {40, 4}} {
		table := Fold("large", func(_ *Context[uint16], s *large, e int64) { s[0] += e })
		environment := seam.System()
		environment.Hash = func(key []byte, _ uint64) uint64 { return uint64(key[0]) << 60 }
		ctx := context.Background()
		e, err := Open(ctx, t.TempDir(), Options{Shards: 1, Partitions: 16, Environment: environment, Sync: SyncNever}, table)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 16 * c.keys {
			if _, err := table.Do(ctx, uint16(n%16+n/16<<8), 1, Applied); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Resize(ctx, 2); err != nil {
			t.Fatal(err)
		}
		if cuts := int(e.route.Load().versions[0]); cuts != c.cuts {
			t.Errorf("8 partitions of %d KiB moved by %d cuts, want %d", 16*c.keys, cuts, c.cuts)
		}
		count := 0
		for entry, err := range table.All(ctx) {
			if count++; err != nil || entry.State[0] != 1 {
				t.Fatal(entry.Key, err)
			}
		}
		if count != 16*c.keys {
			t.Errorf("%d keys are left of %d", count, 16*c.keys)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
