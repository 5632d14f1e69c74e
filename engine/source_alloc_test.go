//go:build !race

package engine_test

import (
	"io"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// Goal: events of a source allocate nothing.
func TestSourcesWithoutPointersAllocateNothing(t *testing.T) {
	table := engine.Fold("sums", func(_ *engine.Context[[16]byte], s *sum, e int64) { s.Count++ })
	options := smallStore()
	options.SegmentBytes = 4 << 20
	options.Sync = engine.SyncInterval // a sync allocates, and how many there are is up to the disk
	newLab(t, options, table)
	feed := func(count int) {
		f, err := table.Consume(t.Context(), &cycleSource{left: count}, engine.SourceOptions[[16]byte, int64]{Settled: func(uint64) {}})
		must(t, err)
		must(t, f.Wait(t.Context()))
	}
	feed(100_000)
	const count = 1_000_000
	if each := float64(mallocs(func() { feed(count) })) / count; each > 0.01 {
		t.Errorf("%.4f allocations an event", each)
	}
}

// A cycleSource walks through a thousand keys.
type cycleSource struct{ at, left int }

func (s *cycleSource) Poll(records []engine.Record[[16]byte, int64]) (int, error) {
	n := min(len(records), s.left)
	for i := range n {
		records[i] = engine.Record[[16]byte, int64]{Key: [16]byte{byte(s.at), byte(s.at >> 8 & 3)}, Event: 1}
		s.at++
	}
	if s.left -= n; s.left == 0 {
		return n, io.EOF
	}
	return n, nil
}
