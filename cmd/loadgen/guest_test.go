package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
)

// Goal: the result has the p99 of each round with and without the engine, and the ratio
// is the median of theirs.
func TestGuestStoresPairedRounds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "g.json")
	out := loadgen(t, "", "guest", "--keys=200", "--round=20ms", "--rounds=3", "--load=1%", "--shards=2", "--json", name)
	if out.code != exitFine || !strings.Contains(out.out, "with over without, the medians of 3 paired rounds") || !strings.Contains(out.out, "lag") {
		t.Fatalf("%+v", out)
	}
	r, err := report.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	g := r.Guest
	if g == nil || g.Peak <= r.Rate || g.RequestsPerSecond != 2000 || r.Shards != 2 || r.Durability() != "durable" {
		t.Fatalf("%+v, %+v", g, r.Load)
	}
	ratios := stats.Ratios(r.Sample(guestWith).Rounds, r.Sample(guestWithout).Rounds)
	if want := r.Sample(guestRatio).Rounds; len(ratios) != 3 || g.P99 != stats.SpreadOf(want) || !slices.EqualFunc(ratios, want, near) {
		t.Errorf("%v, %v, %+v", ratios, want, g.P99)
	}
}

func near(a, b float64) bool { return a > b*0.999 && a < b*1.001 }

func TestWrongGuestsAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"no part":       {[]string{"guest", "--load=0%"}, exitUsage, "--load"},
		"no percentage": {[]string{"guest", "--load=0.3"}, exitUsage, "5%"},
		"too much":      {[]string{"guest", "--load=130%"}, exitUsage, "at most 1"},
		"no rate":       {[]string{"guest", "--rate=0"}, exitUsage, "rate of requests"},
		"no rounds":     {[]string{"guest", "--rounds=0"}, exitUsage, "rounds"},
		"short round":   {[]string{"guest", "--round=1us"}, exitUsage, "no request"},
		"no keys":       {[]string{"guest", "--keys=0"}, exitUsage, "keys"},
		"never durable": {[]string{"guest", "--sync=never"}, exitUsage, "durable"},
		"no dist":       {[]string{"guest", "--dist=normal"}, exitUsage, "zipf:0.99"},
		"no directory":  {[]string{"guest", "--dir", filepath.Join(t.TempDir(), "none")}, exitUsage, "--dir"},
		"no JSON":       {[]string{"guest", "--json", t.TempDir()}, exitUsage, "--json"},
	} {
		c.check(t, name)
	}
}
