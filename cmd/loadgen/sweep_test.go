package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
)

// Goal: each value has its point, with all of its rounds.
func TestSweepHasAPointForEachValue(t *testing.T) {
	for vary, values := range map[string][]string{
		"keys": {"100", "1k"}, "event-bytes": {"32", "4KiB"},
	} {
		name := filepath.Join(t.TempDir(), "s.json")
		list := strings.Join(values, ",")
		args := []string{"sweep", "--keys=200", "--events=1k", "--rounds=2", "--door=producer", "--vary", vary + "=" + list, "--json", name}
		if vary != "event-bytes" {
			args = append(args, "--limit-row")
		}
		out := loadgen(t, "", args...)
		r, err := report.ReadFile(name)
		if out.code != exitFine || err != nil || len(r.Curve) != len(values) {
			t.Fatalf("%s: %+v, %v", vary, out, err)
		}
		for i, point := range r.Curve {
			sample := r.Sample(vary + "=" + values[i])
			if point.Value != values[i] || point.Nanos.Median <= 0 || sample == nil || len(sample.Rounds) != 2 || !sample.LessIsBetter {
				t.Errorf("%s: %+v, %+v", vary, point, sample)
			}
			if row := r.Sample(rowName(values[i])); row != nil {
				if want := stats.SpreadOf(stats.Ratios(row.Rounds, sample.Rounds)); math.Abs(point.Ratio.Median-want.Median) > 1e-9 || slices.Equal(row.Rounds, r.Samples[0].Rounds) {
					t.Errorf("%s: ratio %+v, want %+v", vary, point.Ratio, want)
				}
			}
			if (point.Ratio != nil) != (vary != "event-bytes") || !strings.Contains(out.out, "\n"+values[i]+" ") {
				t.Errorf("%s: %+v\n%s", vary, point, out.out)
			}
		}
		if r := loadgen(t, "", "compare", name, name); r.code != exitFine || !strings.Contains(r.out, vary+"="+values[0]+" ns/event") {
			t.Errorf("%+v", r)
		}
	}
}

func TestEveryKnobChangesTheOptionsOfTheEngine(t *testing.T) {
	for vary, same := range map[string]func(a, b *contestFlags) bool{
		"keys=100,1k":            func(a, b *contestFlags) bool { return a.generated() == b.generated() },
		"dist=uniform,zipf:0.99": func(a, b *contestFlags) bool { return a.generated() == b.generated() },
		"event-bytes=32,4KiB":    func(a, b *contestFlags) bool { return a.options() == b.options() || a.Events <= b.Events },
		"partitions=1,4096":      func(a, b *contestFlags) bool { return a.options() == b.options() },
		"shards=1,3":             func(a, b *contestFlags) bool { return a.options() == b.options() },
		"producers=1,8":          func(a, b *contestFlags) bool { return a.options() == b.options() },
		"window=100,10k":         func(a, b *contestFlags) bool { return a.options() == b.options() },
		"pin=on,off":             func(a, b *contestFlags) bool { return a.options() == b.options() },
		"spin=-1ns,1ms":          func(a, b *contestFlags) bool { return a.options() == b.options() },
		"door=source,producer":   func(a, b *contestFlags) bool { return a.options() == b.options() },
		"ack=durable,applied":    func(a, b *contestFlags) bool { return a.options() == b.options() },
		"sync=commit,5ms":        func(a, b *contestFlags) bool { return a.options() == b.options() },
		"device=library,direct":  func(a, b *contestFlags) bool { return a.options() == b.options() },
	} {
		c := sweepCommand{Vary: vary, contestFlags: contestFlags{
			Keys: 10, Events: 8e6, Size: 32, Rounds: 1, Producers: 1, Door: string(pair.Producer), Ack: "written", Sync: "10ms", Device: "library",
		}}
		list, err := c.variants()
		if err != nil || len(list) != 2 || same(&list[0].flags, &list[1].flags) {
			t.Errorf("%s: %+v, %v", vary, list, err)
		}
	}
}

func TestWrongSweepsAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"nothing varied": {[]string{"sweep"}, exitUsage, "--vary"},
		"no values":      {[]string{"sweep", "--vary=keys"}, exitUsage, "keys=100k"},
		"unknown":        {[]string{"sweep", "--vary=speed=1"}, exitUsage, "event-bytes"},
		"empty value":    {[]string{"sweep", "--vary=keys=1k,"}, exitUsage, "not a number"},
		"no count":       {[]string{"sweep", "--vary=shards=a"}, exitUsage, "whole number"},
		"too many":       {[]string{"sweep", "--vary=shards=2000"}, exitUsage, "1024"},
		"short events":   {[]string{"sweep", "--vary=event-bytes=16"}, exitUsage, "32"},
		"twice":          {[]string{"sweep", "--vary=keys=1k,1k"}, exitUsage, "twice"},
		"pin":            {[]string{"sweep", "--vary=pin=yes"}, exitUsage, "neither on nor off"},
		"door":           {[]string{"sweep", "--vary=door=window"}, exitUsage, "source"},
		"own producers":  {[]string{"sweep", "--door=source", "--vary=producers=1,2"}, exitUsage, "producer"},
		"device":         {[]string{"sweep", "--vary=device=tape"}, exitUsage, "direct or library"},
		"partitions":     {[]string{"sweep", "--vary=partitions=3"}, exitUsage, "power of two"},
		"row of others":  {[]string{"sweep", "--vary=event-bytes=32,64", "--limit-row"}, exitUsage, "--limit-row"},
		"memory":         {[]string{"sweep", "--vary=keys=300M,310M,320M"}, exitUsage, "available"},
	} {
		c.check(t, name)
	}
}
