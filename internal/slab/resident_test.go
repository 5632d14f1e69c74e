package slab

import (
	"runtime"
	"testing"
)

// BenchmarkResident reports what the process pays for a key beside its 16 bytes and the
// state's 32, as the system counts it, for ten million keys over 4,096 tables; and the
// share of the processors that collections took while they were loaded.
func BenchmarkResident(b *testing.B) {
	if testing.Short() {
		b.Skip("ten million keys take 700 MB")
	}
	const n = 10_000_000
	for b.Loop() {
		runtime.GC()
		before := status(b, "VmRSS:")
		arena := NewArena()
		all := spread(arena, 4096, n)
		runtime.GC()
		after := status(b, "VmRSS:")
		keys := 0
		for _, table := range all {
			keys += table.Len()
		}
		if keys != n {
			b.Fatalf("%d keys, want %d", keys, n)
		}
		b.ReportMetric(float64(after-before)/n-48, "rss-overhead-B/key")
		b.ReportMetric(float64(arena.Used())/n-48, "used-overhead-B/key")
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		b.ReportMetric(100*stats.GCCPUFraction, "gc-cpu-%")
		arena.Close()
		runtime.KeepAlive(all)
	}
}
