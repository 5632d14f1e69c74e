package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
)

// Goal: the highest rate that held is the result, with its figures, and every key is
// what a single thread computes, whichever door and however many steps.
func TestFindMaxReportsTheHighestRateThatHeld(t *testing.T) {
	for name, args := range map[string][]string{
		"all hold": {"--from=2k", "--to=8k", "--limit=p99<1h"},
		"callers":  {"--from=2k", "--to=2k", "--limit=max<1h", "--door=do", "--producers=4", "--ack=applied"},
	} {
		file := filepath.Join(t.TempDir(), "m.json")
		args = append([]string{"find-max", "--keys=100", "--warmup=100", "--step=60ms", "--settle=10ms", "--precision=50%", "--json", file}, args...)
		out := loadgen(t, "", args...)
		if out.code != exitFine || !strings.Contains(out.out, "events/s kept") || !strings.Contains(out.out, "verify    OK") {
			t.Fatalf("%s: %+v", name, out)
		}
		r, err := report.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		best := 0.0
		for _, step := range r.Steps {
			if step.Held {
				best = max(best, step.Rate)
			}
		}
		if best == 0 || r.Rate != best || r.Events == 0 || r.EventsPerSecond < 0.98*best || !r.Verify.OK {
			t.Errorf("%s: rate %v, best %v, %+v", name, r.Rate, best, r.Steps)
		}
	}
}

// Goal: a search below its first rate still has the figures of what held there.
func TestStepsBelowTheFirstRateAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.json")
	out := loadgen(t, "", "find-max", "--keys=100", "--warmup=0", "--from=1G", "--to=1G", "--step=20ms", "--settle=0s",
		"--precision=100%", "--limit=p99<1h", "--json", file)
	r, err := report.ReadFile(file)
	if out.code != exitFine || err != nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if r.Rate >= 1e9 || r.Rate <= 0 || r.Events == 0 || r.Steps[0].Held || len(r.Steps[0].Broken) != 1 || r.Steps[0].Broken[0] != "rate" {
		t.Errorf("%v, %d events, %+v", r.Rate, r.Events, r.Steps)
	}
}

func TestWrongSearchesAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"no limit":     {[]string{"find-max"}, exitUsage, "--limit"},
		"wrong limit":  {[]string{"find-max", "--limit=p98<1ms"}, exitUsage, "p99<2ms"},
		"limited rate": {[]string{"find-max", "--limit=rate>500k", "--step=10ms", "--settle=0s", "--warmup=0"}, exitUsage, "limit a latency"},
		"backwards":    {[]string{"find-max", "--limit=p99<1ms", "--from=10k", "--to=1k"}, exitUsage, "from 10000 to 1000"},
		"no rate":      {[]string{"find-max", "--limit=p99<1ms", "--from=0"}, exitUsage, "at least 1"},
		"no step":      {[]string{"find-max", "--limit=p99<1ms", "--step=0s"}, exitUsage, "--step"},
		"no precision": {[]string{"find-max", "--limit=p99<1ms", "--precision=0%"}, exitUsage, "0%"},
		"no keys":      {[]string{"find-max", "--limit=p99<1ms", "--keys=0"}, exitUsage, "keys"},
		"no directory": {[]string{"find-max", "--limit=p99<1ms", "--dir", filepath.Join(t.TempDir(), "none")}, exitUsage, "--dir"},
		"none holds":   {[]string{"find-max", "--limit=p99<1ns", "--from=1", "--to=2", "--step=10ms", "--settle=0s", "--warmup=0"}, exitLimit, "not even one event"},
	} {
		c.check(t, name)
	}
}
