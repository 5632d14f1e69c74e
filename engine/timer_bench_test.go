package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// timedSums is a table of 16-byte keys and 24-byte states: plain, with an idle time, or
// with a timer that each event sets anew.
func timedSums(kind string) *engine.Table[[16]byte, sum, int64, int64] {
	spec := engine.Spec[[16]byte, sum, int64, int64]{
		Name: "sums",
		Apply: func(c *engine.Context[[16]byte], s *sum, e int64) int64 {
			s.Count, s.Total = s.Count+1, s.Total+e
			return s.Count
		},
	}
	switch kind {
	case "idle":
		spec.TTL.Idle = 24 * time.Hour
	case "timer":
		spec.Apply = func(c *engine.Context[[16]byte], s *sum, e int64) int64 {
			s.Count, s.Total = s.Count+1, s.Total+e
			c.SetTimer(c.Now().Add(24 * time.Hour))
			return s.Count
		}
		spec.OnTimer = func(_ *engine.Context[[16]byte], s *sum) { s.Last++ }
	}
	return engine.NewTable(spec)
}

func timedKey(i int) (k [16]byte) {
	i *= 0x9e3779b1 // so that neighbours are not in order
	for at := range 8 {
		k[at] = byte(i >> (8 * at))
	}
	return k
}

// BenchmarkTimed is an event of a Producer to a table without timers, with an idle time,
// and with a timer that it sets.
func BenchmarkTimed(b *testing.B) {
	const keys = 100_000
	for _, kind := range []string{"none", "idle", "timer"} {
		b.Run("table="+kind, func(b *testing.B) {
			ctx, table := context.Background(), timedSums(kind)
			e, err := engine.Open(ctx, filepath.Join(b.TempDir(), "store"), engine.Options{Shards: 1, Sync: engine.SyncNever}, table)
			must(b, err)
			p, err := table.Producer(engine.ProducerOptions[[16]byte, int64]{Ack: engine.Applied})
			must(b, err)
			for i := range keys {
				must(b, p.Send(ctx, timedKey(i), 1))
			}
			must(b, p.Flush(ctx))
			for i := 0; b.Loop(); i++ {
				must(b, p.Send(ctx, timedKey(i%keys), 1))
			}
			must(b, p.Close(ctx))
			must(b, e.Close())
		})
	}
}

// BenchmarkBurst lets a million timers be due at once, and calls the store meanwhile. It
// reports what a pending timer takes, how many are fired in a second, and the p99 of the
// calls before and during that.
func BenchmarkBurst(b *testing.B) {
	const keys = 1_000_000
	for b.Loop() {
		var bytes [2]int
		for i, kind := range []string{"none", "timer"} {
			ctx, table := context.Background(), timedSums(kind)
			var now atomic.Int64
			now.Store(1e18)
			var moved func(context.Context) error
			environment := &seam.Environment{FS: fsys.OS(), Now: now.Load, Hear: func(f func(context.Context) error) { moved = f }}
			e, err := engine.Open(ctx, filepath.Join(b.TempDir(), fmt.Sprint("store", i)), engine.Options{Shards: 1, Sync: engine.SyncNever, Environment: environment}, table)
			must(b, err)
			p, err := table.Producer(engine.ProducerOptions[[16]byte, int64]{Ack: engine.Applied})
			must(b, err)
			for i := range keys {
				must(b, p.Send(ctx, timedKey(i), 1))
			}
			must(b, p.Close(ctx))
			stats, err := e.Stats(ctx)
			must(b, err)
			if bytes[i] = stats.StateBytes; kind == "timer" {
				b.ReportMetric(float64(bytes[1]-bytes[0])/keys, "bytes/timer")
				b.ReportMetric(callsWhile(b, table, func() { <-time.After(300 * time.Millisecond) }), "p99-µs-before")
				began := time.Now()
				p99 := callsWhile(b, table, func() {
					now.Add(int64(25 * time.Hour))
					must(b, moved(ctx))
				})
				b.ReportMetric(keys/time.Since(began).Seconds(), "firings/s")
				b.ReportMetric(p99, "p99-µs-burst")
				if stats, err = e.Stats(ctx); err != nil || stats.Fired.Timers != keys {
					b.Fatalf("%d of %d timers, %v", stats.Fired.Timers, keys, err)
				}
			}
			must(b, e.Close())
		}
	}
}

// callsWhile makes a call each 200 µs while f runs, and returns the p99 in microseconds.
func callsWhile(b *testing.B, table *engine.Table[[16]byte, sum, int64, int64], f func()) float64 {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	var took []time.Duration
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(200 * time.Microsecond):
		}
		began := time.Now()
		if _, _, err := table.Get(context.Background(), timedKey(len(took))); err != nil {
			b.Error(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return float64(took[len(took)*99/100].Nanoseconds()) / 1e3
}
