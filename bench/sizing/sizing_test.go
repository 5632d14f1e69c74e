package sizing_test

import (
	"os"
	"testing"

	"github.com/keyfold/keyfold/bench/sizing"
)

// Goal: what is measured grows with the shape as it must: memory and snapshots by the
// bytes of key and state, the log by those of key and event.
func TestMeasuredBytesFollowTheShape(t *testing.T) {
	measure := func(s sizing.Shape) sizing.Rates {
		dir := t.TempDir()
		r, err := sizing.Measure(t.Context(), sizing.Options{Dir: dir, Keys: sizing.KeysMin, StoreKeys: 200 * sizing.KeysMin, Shards: 2, Shape: s})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v is left, %v", left, err)
		}
		if r.Shards != 2 || r.Keys != sizing.KeysMin || r.LoadPerSecond <= 0 || r.ReplayPerSecond <= 0 || r.EventsPerSecond <= 0 {
			t.Errorf("%+v", r)
		}
		return r
	}
	small := measure(sizing.Shape{KeyBytes: 8, StateBytes: 32, EventBytes: 8})
	large := measure(sizing.Shape{KeyBytes: 40, StateBytes: 700, EventBytes: 108})
	if small.StateBytes != 32 || large.StateBytes != 1024 {
		t.Errorf("states of %d and %d bytes", small.StateBytes, large.StateBytes)
	}
	if small.MemoryPerKey < 40 || small.SnapshotPerKey < 40 || small.LogPerEvent < 16 || small.LogPerEvent > 100 {
		t.Errorf("%+v", small)
	}
	for name, c := range map[string]struct{ grown, want float64 }{
		"memory":   {large.MemoryPerKey - small.MemoryPerKey, 32 + 668},
		"snapshot": {large.SnapshotPerKey - small.SnapshotPerKey, 32 + 668},
		"log":      {large.LogPerEvent - small.LogPerEvent, 32 + 100},
	} {
		if c.grown < 0.95*c.want || c.grown > 1.3*c.want {
			t.Errorf("%s grew by %.0f bytes, want about %.0f; %+v, %+v", name, c.grown, c.want, small, large)
		}
	}
}

func TestEstimatesMultiply(t *testing.T) {
	r := sizing.Rates{
		Shards: 1, MemoryPerKey: 70, SnapshotPerKey: 60, LogPerEvent: 50,
		EventsPerSecond: 1e6, LoadPerSecond: 1e7, ReplayPerSecond: 2e6,
	}
	e, err := r.Of(1e8, 5e5)
	want := sizing.Estimate{
		Memory: 7e9, Snapshot: 6e9, LogMax: 6e9, DiskMax: 30e9, RecoveryMin: 10, RecoveryMax: 10 + 60,
		Part: 0.5, LogPerSecond: 25e6, SnapshotEvery: 240,
	}
	if err != nil || e != want {
		t.Errorf("%+v, %v", e, err)
	}
	few, err := r.Of(1000, 0)
	if err != nil || few.LogMax != 256<<20 || few.Part != 0 || few.SnapshotEvery != 0 {
		t.Errorf("%+v, %v", few, err)
	}
	if _, err := new(sizing.Rates).Of(1000, 0); err == nil {
		t.Error("nothing was measured, and it was enough")
	}
}

func TestShapesAreRefusedInWords(t *testing.T) {
	good := sizing.Options{Dir: t.TempDir(), Keys: sizing.KeysMin, StoreKeys: sizing.KeysMin, Shape: sizing.Shape{KeyBytes: 16, StateBytes: 32, EventBytes: 32}}
	for name, spoil := range map[string]func(*sizing.Options){
		"short key": func(o *sizing.Options) { o.Shape.KeyBytes = 7 }, "large state": func(o *sizing.Options) { o.Shape.StateBytes = 5000 },
		"no event": func(o *sizing.Options) { o.Shape.EventBytes = 0 }, "few keys": func(o *sizing.Options) { o.Keys = 9 },
		"fewer than measured": func(o *sizing.Options) { o.StoreKeys-- },
		"no directory":        func(o *sizing.Options) { o.Dir += "/none" },
	} {
		o := good
		spoil(&o)
		if _, err := sizing.Measure(t.Context(), o); err == nil {
			t.Errorf("%s was measured", name)
		}
	}
}
