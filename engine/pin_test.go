package engine_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/affinity"
)

// Goal: the zero Options leave the CPUs of the host alone, and PinOn takes one for a
// shard where the system allows it, also for one that Resize makes. Calls come through either way.
func TestShardsArePinnedOnlyWhenTold(t *testing.T) {
	_, limited := affinity.Quota()
	allowed, err := affinity.Allowed()
	possible := runtime.GOOS == "linux" && !limited && err == nil && len(allowed) > 0
	for _, c := range []struct {
		pin    engine.PinMode
		pinned bool
	}{{0, false}, {engine.PinOff, false}, {engine.PinOn, possible}} {
		table := counters("counters")
		eng, err := engine.Open(t.Context(), t.TempDir(), engine.Options{Shards: 1, Pin: c.pin}, table)
		must(t, err)
		for _, ack := range []engine.Ack{engine.Applied, engine.Durable} {
			_, err := table.Do(t.Context(), "k", 1, ack)
			must(t, err)
		}
		stats, err := eng.Stats(context.Background())
		must(t, err)
		if got := stats.Shards[0].Pinned; got != c.pinned {
			t.Errorf("Pin %d: pinned is %v, want %v", c.pin, got, c.pinned)
		}
		must(t, eng.Resize(t.Context(), 2))
		stats, err = eng.Stats(context.Background())
		must(t, err)
		if got := stats.Shards[1].Pinned; got != (c.pinned && len(allowed) > 1) {
			t.Errorf("Pin %d: pinned is %v of a shard that Resize has made", c.pin, got)
		}
		must(t, eng.Close())
	}
}
