package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/report"
)

// limits are what a run must keep: the flag --limit.
type limits []threshold

// threshold is a bound of one figure.
type threshold struct {
	text  string
	of    func(*report.Result) float64
	below bool
	bound float64
}

// figures are what can be limited by name: latencies in nanoseconds.
var figures = map[string]func(bench.Latency) int64{
	"p50":  func(l bench.Latency) int64 { return l.P50 },
	"p90":  func(l bench.Latency) int64 { return l.P90 },
	"p99":  func(l bench.Latency) int64 { return l.P99 },
	"p999": func(l bench.Latency) int64 { return l.P999 },
	"max":  func(l bench.Latency) int64 { return l.Max },
}

func parseLimits(texts []string) (limits, error) {
	var ls limits
	for _, text := range texts {
		l, err := parseThreshold(text)
		if err != nil {
			return nil, usage("--limit: %w", err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func parseThreshold(text string) (threshold, error) {
	name, bound, below := strings.Cut(text, "<")
	if figure, ok := figures[name]; ok && below {
		d, err := time.ParseDuration(bound)
		of := func(r *report.Result) float64 { return float64(figure(r.Latency)) }
		return threshold{text, of, true, float64(d)}, err
	}
	name, bound, above := strings.Cut(text, ">")
	if name == "rate" && above {
		var c count
		err := c.UnmarshalText([]byte(bound))
		return threshold{text, func(r *report.Result) float64 { return r.EventsPerSecond }, false, float64(c)}, err
	}
	return threshold{}, fmt.Errorf("%q is not a limit such as p99<2ms or rate>500k", text)
}

// latencies is an error if not all are limits of latencies: of a rate that is searched for
// there is nothing to keep.
func (ls limits) latencies() error {
	for _, l := range ls {
		if !l.below {
			return usage("--limit: %s limits the rate, which is what is searched for: limit a latency, such as p99<2ms, and see --from and --to", l.text)
		}
	}
	return nil
}

// broken are the texts of those that a result does not keep.
func (ls limits) broken(r *report.Result) (texts []string) {
	for _, l := range ls {
		if l.below && l.of(r) >= l.bound || !l.below && l.of(r) <= l.bound {
			texts = append(texts, l.text)
		}
	}
	return texts
}

// check is an error with the exit code of a broken limit, if one is.
func (ls limits) check(r *report.Result) error {
	broken := ls.broken(r)
	if len(broken) == 0 {
		return nil
	}
	return &exitError{exitLimit, fmt.Errorf("not kept: %s", strings.Join(broken, ", "))}
}
