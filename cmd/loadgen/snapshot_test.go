package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
)

// Goal: the result has throughput and latency of each round with and without a snapshot,
// and the ratios are the medians of theirs.
func TestSnapshotStoresPairedRounds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s.json")
	out := loadgen(t, "", "snapshot", "--keys=2k", "--rounds=1", "--every=1ms", "--shards=1", "--json", name)
	if out.code != exitFine || !strings.Contains(out.out, "with over without, the medians of 1 paired rounds") || !strings.Contains(out.out, "more beside a snapshot") {
		t.Fatalf("%+v", out)
	}
	r, err := report.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Imaging
	if m == nil || m.Without.P999 <= 0 || m.Seconds.Median <= 0 || r.EventsPerSecond <= 0 || r.Shards != 1 {
		t.Fatalf("%+v, %+v", m, r)
	}
	for _, c := range []struct {
		with, without string
		have          stats.Spread
	}{{rateWith, rateWithout, m.Throughput}, {callWith, callWithout, m.P999}} {
		ratios := stats.Ratios(r.Sample(c.with).Rounds, r.Sample(c.without).Rounds)
		if want := []float64{c.have.Median}; !slices.EqualFunc(ratios, want, near) {
			t.Errorf("%s: %v, not %v", c.with, want, ratios)
		}
	}
}

func TestWrongSnapshotsAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"no rounds":     {[]string{"snapshot", "--rounds=0"}, exitUsage, "rounds"},
		"no keys":       {[]string{"snapshot", "--keys=0"}, exitUsage, "keys"},
		"no calls":      {[]string{"snapshot", "--every=0s"}, exitUsage, "calls"},
		"never durable": {[]string{"snapshot", "--sync=never"}, exitUsage, "durable"},
		"no dist":       {[]string{"snapshot", "--dist=normal"}, exitUsage, "zipf:0.99"},
		"no JSON":       {[]string{"snapshot", "--json", t.TempDir()}, exitUsage, "--json"},
	} {
		c.check(t, name)
	}
}
