package report

import (
	"fmt"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/sizing"
	"github.com/keyfold/keyfold/bench/stats"
)

// Rounds is what commands found out that measure several things in turn, or one thing
// again and again: limit, sweep, find-max and size. It is empty in other results.
type Rounds struct {
	// Samples are the values of each round: what compare compares.
	Samples []Sample `json:"samples,omitempty"`
	// RatioToLimit is the median, over the rounds of limit, of the engine's rate over
	// that of the limit row of its door; LimitRows has its ends.
	RatioToLimit float64 `json:"ratio_to_limit,omitempty"`
	// LimitRows are what the engine was measured beside: first the row of its door.
	LimitRows []LimitRow `json:"limit_rows,omitempty"`
	// Durable is the engine with acks Durable at every group commit, beside itself as the
	// result says; nil if it was not measured.
	Durable *Variant `json:"durable,omitempty"`
	// Curve is what sweep found, in the order of the values.
	Curve []Point `json:"curve,omitempty"`
	// Steps are the rates that find-max tried, in their order.
	Steps []Step `json:"steps,omitempty"`
	// Guest is what guest measured.
	Guest *Guest `json:"guest,omitempty"`
	// Skew is what skew measured.
	Skew *Skew `json:"skew,omitempty"`
	// Imaging is what snapshot measured.
	Imaging *Imaging `json:"imaging,omitempty"`
	// Prices is what prices measured.
	Prices []Price `json:"prices,omitempty"`
	// Sizing is what size measured.
	Sizing *sizing.Rates `json:"sizing,omitempty"`
}

// A Price is what a layer costs: a table with it beside the same table without.
type Price struct {
	Name string `json:"name"`
	// Beside is the table without the layer; "" if this is one.
	Beside string `json:"beside,omitempty"`
	// Nanos is the time of an event, and CPU the processor time of the process for it, load
	// and readers included.
	Nanos stats.Spread `json:"ns_per_event"`
	CPU   stats.Spread `json:"cpu_ns_per_event"`
	// MoreNanos and MoreCPU are how much more that is, round by round.
	MoreNanos stats.Spread `json:"more_ns_per_event"`
	MoreCPU   stats.Spread `json:"more_cpu_ns_per_event"`
	// Bytes is how much memory each of a thing takes, such as a key, a timer or an id. It is
	// what the table takes more, for a table with a layer.
	Bytes float64 `json:"bytes"`
	Of    string  `json:"bytes_of"`
	// LogBytes is how much log is written for an event.
	LogBytes float64 `json:"log_bytes_per_event"`
}

// Memory says what the table takes in memory; "" if that is not measured.
func (p *Price) Memory() string {
	switch p.Of {
	case "":
		return ""
	case "id":
		return fmt.Sprintf("%.1f B an id", p.Bytes)
	}
	return fmt.Sprintf("%.1f B a %s", p.Bytes, p.Of)
}

// A Sample is what was measured once in each round.
type Sample struct {
	// Name tells it apart from others of the result: those of the same name compare.
	Name string `json:"name"`
	Unit string `json:"unit"`
	// LessIsBetter is true of times.
	LessIsBetter bool      `json:"less_is_better,omitempty"`
	Rounds       []float64 `json:"rounds"`
}

// A LimitRow is one row of package limit beside the engine.
type LimitRow struct {
	Name            string       `json:"name"`
	EventsPerSecond stats.Spread `json:"events_per_second"`
	// Ratio is the engine's rate over that of the row, in the same round.
	Ratio stats.Spread `json:"ratio"`
}

// A Variant is the engine opened another way, in the same rounds.
type Variant struct {
	EventsPerSecond stats.Spread `json:"events_per_second"`
	// Ratio is its rate over that of the engine as the result says, in the same round.
	Ratio stats.Spread `json:"ratio"`
}

// A Guest is a net/http handler in the process of a loaded engine, and without one.
type Guest struct {
	// RequestsPerSecond is the rate of requests, Peak that of the engine alone, and the
	// result's Rate is what it took beside the handler.
	RequestsPerSecond float64 `json:"requests_per_second"`
	Peak              float64 `json:"peak_events_per_second"`
	Pinned            bool    `json:"pinned"`
	// Spin is how long an idle shard looks for work; 0 is what the engine chooses.
	Spin time.Duration `json:"spin_ns"`
	// Without and With are the times of all rounds.
	Without GuestTimes `json:"without_ns"`
	With    GuestTimes `json:"with_ns"`
	// P50 and P99 are the ratios of the response times of each round, with over without;
	// ServiceP99 is that of the service times.
	P50        stats.Spread `json:"p50_ratio"`
	P99        stats.Spread `json:"p99_ratio"`
	ServiceP99 stats.Spread `json:"service_p99_ratio"`
}

// GuestTimes are what requests took.
type GuestTimes struct {
	// Response is from when a request was due, Service from when it was sent, and Lag how
	// late it was sent.
	Response bench.Latency `json:"response"`
	Service  bench.Latency `json:"service"`
	Lag      bench.Latency `json:"lag"`
}

// A Point is one value of a sweep.
type Point struct {
	Value string `json:"value"`
	// Nanos is the time of an event, of all shards together.
	Nanos stats.Spread `json:"ns_per_event"`
	// Ratio is the rate over that of the limit row at the same value; nil if it was
	// not measured.
	Ratio *stats.Spread `json:"ratio_to_limit,omitempty"`
}

// A Step is one rate that find-max tried.
type Step struct {
	Rate            float64 `json:"rate"`
	EventsPerSecond float64 `json:"events_per_second"`
	P50             int64   `json:"p50_ns"`
	P99             int64   `json:"p99_ns"`
	Max             int64   `json:"max_ns"`
	Held            bool    `json:"held"`
	// Broken are the limits that it did not keep.
	Broken []string `json:"broken,omitempty"`
}

// Sample is the sample of a name, or nil.
func (r *Rounds) Sample(name string) *Sample {
	for i := range r.Samples {
		if r.Samples[i].Name == name {
			return &r.Samples[i]
		}
	}
	return nil
}

// Compared are the samples of the result, for compare. Those of a single run or recovery have one
// round each.
func (r *Result) Compared() []Sample {
	list := r.Samples
	if len(list) == 0 && r.Events > 0 {
		list = append(list, Sample{Name: "rate", Unit: "events/s", Rounds: []float64{r.EventsPerSecond}})
		list = append(list, latencies(r.Latency)...)
	}
	if r.Recovery != nil {
		list = append(list, Sample{Name: "recovery", Unit: "s", LessIsBetter: true, Rounds: []float64{r.Recovery.Seconds}})
	}
	return list
}

func latencies(l bench.Latency) (list []Sample) {
	for _, p := range []struct {
		name  string
		nanos int64
	}{{"p50", l.P50}, {"p99", l.P99}, {"p99.9", l.P999}} {
		list = append(list, Sample{Name: p.name, Unit: "us", LessIsBetter: true, Rounds: []float64{float64(p.nanos) / 1e3}})
	}
	return list
}
