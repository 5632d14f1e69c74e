package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
)

// Goal: a run for each mode, all keys verified, stored with its moments and its picture.
func TestSkewStoresARunForEachMode(t *testing.T) {
	dir := t.TempDir()
	name, picture := filepath.Join(dir, "s.json"), filepath.Join(dir, "s.svg")
	out := loadgen(t, "", "skew", "--keys=500", "--hot-keys=5", "--even=200ms", "--phase=200ms", "--work=0s", "--modes=balanced,automatic", "--ack=written", "--json", name, "--svg", picture)
	if out.code != exitFine || !strings.Contains(out.out, "shift 2:") {
		t.Fatalf("%+v", out)
	}
	r, err := report.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Skew
	if s == nil || len(s.Runs) != 2 || len(s.Runs[1].EventsPerSecond) != 3 || len(s.Runs[0].Shifts) != 2 || s.Runs[0].Keys != 500+16*8*5 || !r.Verify.OK {
		t.Errorf("%+v, %+v", s, r.Verify)
	}
	if svg, err := os.ReadFile(picture); err != nil || !strings.Contains(string(svg), "automatic") {
		t.Errorf("the picture: %v", err)
	}
}

// Goal: the events of a file are taken as they come.
func TestSkewOfAFile(t *testing.T) {
	out := loadgen(t, "", "skew", "--in", "../../testdata/flights-2k.ndjson", "--even=100ms", "--phase=100ms", "--shifts=1", "--modes=off", "--ack=applied")
	if out.code != exitFine || !strings.Contains(out.err, "flights-2k.ndjson key .origin") || strings.Contains(out.out, "balanced") {
		t.Fatalf("%+v", out)
	}
}

func TestWrongSkewsAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"no mode":       {[]string{"skew", "--modes=good"}, exitUsage, "--modes"},
		"two in one":    {[]string{"skew", "--modes=off advised"}, exitUsage, "--modes"},
		"one shard":     {[]string{"skew", "--shards=1"}, exitUsage, "shards"},
		"odd":           {[]string{"skew", "--hot=7"}, exitUsage, "hot partitions"},
		"all hot":       {[]string{"skew", "--hot-part=100%"}, exitUsage, "hot"},
		"no file":       {[]string{"skew", "--in", "none.ndjson"}, exitUsage, "none.ndjson"},
		"never durable": {[]string{"skew", "--sync=never"}, exitUsage, "durable"},
		"no directory":  {[]string{"skew", "--dir", filepath.Join(t.TempDir(), "none")}, exitUsage, "--dir"},
	} {
		c.check(t, name)
	}
}
