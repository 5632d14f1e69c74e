package report

import (
	"fmt"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/stats"
)

// Imaging is a store under full load while a snapshot is taken, and while none is.
type Imaging struct {
	// Without and With are the latencies of the calls of all rounds, one Every.
	Without bench.Latency `json:"without_ns"`
	With    bench.Latency `json:"with_ns"`
	Every   time.Duration `json:"every_ns"`
	// Throughput and P999 are the ratios of the windows of a round, with over without.
	Throughput stats.Spread `json:"throughput_ratio"`
	P999       stats.Spread `json:"p999_ratio"`
	// Seconds is how long a snapshot took.
	Seconds stats.Spread `json:"seconds"`
	// RSSBytes is what the process held at most before the first snapshot, without what it
	// held before the store was opened; AddedBytes is how much more it was beside one. Both
	// are 0 where the system does not say.
	RSSBytes   uint64 `json:"rss_bytes"`
	AddedBytes uint64 `json:"added_bytes"`
}

// Added is the memory that a snapshot takes, in parts of what the store takes anyway.
func (m *Imaging) Added() float64 { return quotient(float64(m.AddedBytes), float64(m.RSSBytes)) }

// imagingTable is about snapshots under full load.
func imagingTable(entries []entry) []*table {
	t := newTable("input", "shards", "snapshot", "events/s beside none", "throughput", "lowest", "highest", "calls beside none, p50", "p99.9", "beside one, p50", "p99.9", "p99.9 ratio", "lowest", "highest", "memory", "added", "rounds")
	ratio := func(f float64) string { return fmt.Sprintf("%.2f", f) }
	for i := range entries {
		r, m := &entries[i], entries[i].Imaging
		t.row(r, r.Input, fmt.Sprint(r.Shards), fmt.Sprintf("%.1f s", m.Seconds.Median), Count(int64(r.EventsPerSecond)),
			ratio(m.Throughput.Median), ratio(m.Throughput.Min), ratio(m.Throughput.Max),
			Nanos(m.Without.P50), Nanos(m.Without.P999), Nanos(m.With.P50), Nanos(m.With.P999),
			ratio(m.P999.Median), ratio(m.P999.Min), ratio(m.P999.Max),
			Bytes(m.RSSBytes), fmt.Sprintf("%.1f %%", 100*m.Added()), r.rounds())
	}
	return t.some()
}

// ofSnapshots are the figures of snapshots under full load.
func ofSnapshots(of func(*Imaging) float64) func([]entry) []figure {
	return those(ofImaging, func(e *entry) []figure {
		return []figure{{of: e.short(), value: of(e.Imaging)}}
	})
}
