package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/report"
)

// loadFile leaves a result whose single figure is a rate of 100, but for what spoil does.
func loadFile(t *testing.T, spoil func(*report.Result)) string {
	t.Helper()
	r := report.Result{Schema: report.Schema}
	r.Samples = []report.Sample{{Name: "a", Rounds: []float64{100}}}
	if spoil != nil {
		spoil(&r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "r.json", string(text))
}

// Goal: figures of a run that failed, or computed something else, are not compared, on
// whichever side they are.
func TestResultsThatMeanNothingAreNotCompared(t *testing.T) {
	good := loadFile(t, nil)
	stopped := loadFile(t, func(r *report.Result) { r.Failed = "the disk is full" })
	amiss := loadFile(t, func(r *report.Result) { r.Verify = &report.Verify{} })
	for name, c := range map[string]wrong{
		"old run failed":    {[]string{"compare", stopped, good}, exitFailed, "the run failed: the disk is full"},
		"new run failed":    {[]string{"compare", good, stopped}, exitFailed, filepath.Base(stopped)},
		"one of two failed": {[]string{"compare", good, good + "," + stopped}, exitFailed, "mean nothing"},
		"old states wrong":  {[]string{"compare", amiss, good}, exitVerify, "not what a single thread computes"},
		"new states wrong":  {[]string{"compare", good, amiss}, exitVerify, "not what a single thread computes"},
	} {
		c.check(t, name)
	}
}

// Goal: whatever a load or a store was told differently is said, once, also of results of
// the same side.
func TestCompareSaysWhatMakesResultsUnlike(t *testing.T) {
	base := loadFile(t, nil)
	if r := loadgen(t, "", "compare", base, base); r.code != exitFine || strings.Contains(r.out, "note") {
		t.Errorf("%+v", r)
	}
	for note, change := range map[string]func(*report.Result){
		"the input differs: , then flights.csv":                    func(r *report.Result) { r.Input = "flights.csv" },
		"the size of an event differs: 0 B, then 32 B":             func(r *report.Result) { r.EventBytes = 32 },
		"the door differs: , then do":                              func(r *report.Result) { r.Door = "do" },
		"the count of producers differs: 0, then 4":                func(r *report.Result) { r.Producers = 4 },
		"the window differs: 0, then 65,536":                       func(r *report.Result) { r.Window = 1 << 16 },
		"the rate differs: as fast as it goes, then 5,000 events/": func(r *report.Result) { r.Rate = 5000 },
		"the warm-up differs: 0, then 1,000":                       func(r *report.Result) { r.Warmup = 1000 },
		"the count of shards differs: 0, then 3":                   func(r *report.Result) { r.Shards = 3 },
	} {
		other := loadFile(t, change)
		for _, args := range [][]string{{base, other}, {base, other + "," + other}, {base + "," + other, base}} {
			r := loadgen(t, "", append([]string{"compare"}, args...)...)
			if r.code != exitFine || strings.Count(r.out, note) != 1 || strings.Count(r.out, "note  ") != 1 {
				t.Errorf("%q, %v: %+v", note, args, r)
			}
		}
	}
}

// Goal: what was nothing and is something has grown beyond any limit.
func TestWhatWasNothingIsBeyondEachLimit(t *testing.T) {
	times := func(us float64) string {
		return resultFile(t, report.Sample{Name: "p50", Unit: "us", LessIsBetter: true, Rounds: []float64{us}})
	}
	grown := loadgen(t, "", "compare", times(0), times(182_714), "--limit=5%")
	if grown.code != exitLimit || !strings.Contains(grown.out, "+Inf%") {
		t.Errorf("%+v", grown)
	}
	for name, r := range map[string]outcome{
		"still nothing":    loadgen(t, "", "compare", times(0), times(0), "--limit=5%"),
		"nothing any more": loadgen(t, "", "compare", times(5), times(0), "--limit=5%"),
	} {
		if r.code != exitFine {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
