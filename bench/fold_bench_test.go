package bench_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

type (
	foldKey   = limit.Key
	foldEvent = limit.Event
)

// foldEvents is how many events one pass of BenchmarkFold has.
const foldEvents = 1 << 20

// BenchmarkFold measures the same job, 16-byte keys and 32-byte events into 32-byte
// states, all keys there before: row=limit is the row L4b of package limit with an
// owner for each core, row=one the same with a single owner, row=pipeline the row L5,
// row=source the engine with a shard for each core that reads its own source,
// row=producer the engine with a Producer on another goroutine, their logs written and
// synced at an interval. An operation is a pass over a million events. All states are
// checked. Passes of different rows are minutes apart; for ratios use loadgen limit,
// which takes them in turn.
func BenchmarkFold(b *testing.B) {
	counts := []int{100_000, 1_000_000, 10_000_000}
	if testing.Short() {
		counts = counts[:2]
	}
	for _, keys := range counts {
		for _, dist := range []string{"uniform", "zipf:0.99"} {
			b.Run(fmt.Sprintf("keys=%d/dist=%s", keys, dist), func(b *testing.B) { foldRows(b, keys, dist) })
		}
	}
}

func foldRows(b *testing.B, count int, dist string) {
	keys, stream, err := pair.Draw(workload.Generated{Keys: uint64(count), Dist: dist, Seed: 1, Events: foldEvents})
	if err != nil {
		b.Fatal(err)
	}
	expected, err := pair.Expect(uint64(count), stream)
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range foldSides(keys, stream) {
		b.Run(row.name, func(b *testing.B) {
			side, err := row.open(b.Context(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			foldPasses(b, side, expected, row.ordered)
		})
	}
}

// foldSide is a row of BenchmarkFold.
type foldSide struct {
	name    string
	ordered bool
	open    func(ctx context.Context, dir string) (pair.Side, error)
}

func foldSides(keys []limit.Key, s limit.Stream) []foldSide {
	owners := func(n int) func(context.Context, string) (pair.Side, error) {
		return func(_ context.Context, dir string) (pair.Side, error) {
			o, err := limit.NewOwners(dir, n, keys, s)
			return pair.Row(o), err
		}
	}
	sides := []foldSide{
		{"row=limit", true, owners(runtime.GOMAXPROCS(0))},
		{"row=one", true, owners(1)},
		{"row=pipeline", true, func(_ context.Context, dir string) (pair.Side, error) {
			p, err := limit.NewPipeline(dir, keys, s)
			return pair.Row(p), err
		}},
	}
	for _, door := range pair.Doors() {
		for _, device := range []string{"library", "direct"} {
			o := pair.Options{Door: door, Producers: 1, Store: store.Options{
				Sync: "10ms", Ack: "written", Device: device, EventBytes: limit.EventBytes,
			}}
			name := fmt.Sprintf("row=%s/device=%s", door, device)
			sides = append(sides, foldSide{name, o.Ordered(), func(ctx context.Context, dir string) (pair.Side, error) {
				o.Store.Dir = filepath.Join(dir, "store")
				return pair.Open(ctx, o, keys, s)
			}})
		}
	}
	return sides
}

// foldPasses makes b.N passes, after one that is not measured, and checks the states.
func foldPasses(b *testing.B, side pair.Side, expected pair.Expected, ordered bool) {
	ctx := context.Background()
	if _, err := side.Pass(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	seconds := 0.0
	for range b.N {
		took, err := side.Pass(ctx)
		if err != nil {
			b.Fatal(err)
		}
		seconds += took.Seconds()
	}
	b.StopTimer()
	events := float64(b.N) * foldEvents
	b.ReportMetric(seconds/events*1e9, "ns/event")
	b.ReportMetric(events/seconds/1e6, "M/s")
	if err := expected.Check(ctx, side, b.N+1, ordered); err != nil {
		b.Error(err)
	}
	if err := side.Close(); err != nil {
		b.Error(err)
	}
}
