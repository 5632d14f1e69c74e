package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
)

// Goal: every layer has a price beside the table without it, and the page shows them. All
// states are checked by the command.
func TestPricesAreThoseOfEveryLayer(t *testing.T) {
	dir := t.TempDir()
	result, page := filepath.Join(dir, "p.json"), filepath.Join(dir, "B.md")
	r := loadgen(t, "", "prices", "--keys=1k", "--events=20k", "--rounds=1", "--dir", dir, "--json", result)
	if r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	got, err := report.ReadFile(result)
	if err != nil || len(got.Prices) != len(goods()) || len(got.Samples) != 2*len(goods()) {
		t.Fatalf("%+v, %v", got, err)
	}
	plain := map[string]float64{} // bytes of log of an event
	for _, p := range got.Prices {
		if p.Nanos.Median <= 0 || p.LogBytes < 32 || p.Of != "" && p.Bytes <= 0 || (p.Beside == "") != (p.MoreNanos.Median == 0) {
			t.Errorf("%+v", p)
		}
		plain[p.Name] = p.LogBytes
		if more := p.LogBytes - plain[p.Beside]; p.Beside != "" && (more > 15) != (strings.Contains(p.Name, "ids") || strings.Contains(p.Name, "name")) {
			t.Errorf("%s logs %.1f bytes an event more than %s", p.Name, more, p.Beside)
		}
	}
	if r := loadgen(t, "", "report", result, "-o", page); r.code != exitFine {
		t.Errorf("%+v", r)
	}
	text, err := os.ReadFile(page)
	for _, want := range []string{"## Prices of the layers", "batch-ids, beside batch", "call-ids, beside call", "source-name, beside source", "changes, beside producer", " B an id", " B a timer"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v, no %q", err, want)
		}
	}
}

func TestPricesOfSomeLayersAreMeasuredBesideWhatTheyNeed(t *testing.T) {
	r := loadgen(t, "", "prices", "--keys=100", "--events=1k", "--rounds=1", "--only=batch-ids")
	if r.code != exitFine || !strings.Contains(r.out, "batch") || strings.Contains(r.out, "timer") {
		t.Errorf("%+v", r)
	}
	wrong{[]string{"prices", "--only=dreams"}, exitUsage, "keep-log"}.check(t, "only")
	wrong{[]string{"prices", "--rounds=0"}, exitUsage, "--rounds"}.check(t, "rounds")
	wrong{[]string{"prices", "--keys=0"}, exitUsage, "--keys"}.check(t, "keys")
	wrong{[]string{"prices", "--json", t.TempDir()}, exitUsage, "--json"}.check(t, "json")
}
