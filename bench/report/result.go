// Package report turns what a run measured into words: a start block, a line a
// second, an end table, a JSON result, and BENCHMARKS.md from many of these.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/trace"
	"github.com/keyfold/keyfold/bench/workload"
)

// Schema is the version of Result. It grows with each change that a reader of
// results could stumble over.
const Schema = 1

// Result is what one command found out. Times in nanoseconds are whole numbers;
// nothing is ever NaN.
type Result struct {
	Schema  int       `json:"schema"`
	Started time.Time `json:"started"`
	// Command is the command line.
	Command string `json:"command"`
	Load
	Store
	Rounds
	Measured
	Verify   *Verify         `json:"verify,omitempty"`
	Recovery *bench.Recovery `json:"recovery,omitempty"`
	// Failed says why the run ended before its time: "interrupted", or what went wrong;
	// Events may then count some that were not acknowledged.
	Failed string `json:"failed,omitempty"`
	// Profile is where the CPU time went.
	Profile *profile.Summary `json:"profile,omitempty"`
	// Usage is what the process used during the load.
	Usage *machine.Usage `json:"usage,omitempty"`
	// Slow is the trace of a slow call, if there was one, and if it was asked for.
	Slow *trace.Slow `json:"slow,omitempty"`
	// Peer says which other store it was, of those that loadgen peers measures.
	Peer *Peer `json:"-"`
	// Machine is where it ran.
	Machine machine.Machine `json:"machine"`
}

// Measured is what was measured of a load.
type Measured struct {
	// Events is how many were acknowledged in Seconds.
	Events          uint64        `json:"events"`
	Seconds         float64       `json:"seconds"`
	EventsPerSecond float64       `json:"events_per_second"`
	Latency         bench.Latency `json:"latency_ns"`
	// LatencyHDR are all latencies, as an HdrHistogram, V2, compressed, in base64:
	// those of several runs can be added up, which percentiles cannot.
	LatencyHDR string `json:"latency_hdr,omitempty"`
	// Service and Late are what Latency consists of in an open loop: from when events were
	// sent, and how late that was.
	Service *bench.Latency `json:"service_ns,omitempty"`
	Late    *bench.Latency `json:"late_ns,omitempty"`
	// Series is what happened in each second.
	Series []Second `json:"series,omitempty"`
	// Layers is what the layers of the store did; nil if it has none.
	Layers *Layers `json:"layers,omitempty"`
}

// Second is one second of a load, or the part of a second at its end.
type Second struct {
	// Seconds is the time from the beginning of the load to the end of the second.
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	// P50, P99 and Max are the latencies of what was acknowledged in it.
	P50 int64 `json:"p50_ns"`
	P99 int64 `json:"p99_ns"`
	Max int64 `json:"max_ns"`
}

// Load is what was sent, and how.
type Load struct {
	Seed uint64 `json:"seed"`
	// Input is the file, or the generated keys, in words.
	Input string `json:"input"`
	// EventBytes is the size of an event without its key.
	EventBytes int     `json:"event_bytes"`
	Producers  int     `json:"producers"`
	Door       string  `json:"door"`
	Window     int     `json:"window"`
	Rate       float64 `json:"rate"` // 0: as fast as it goes
	// Warmup is how many events were sent before those that were measured.
	Warmup uint64 `json:"warmup_events"`
}

// Store is how the store was opened.
type Store struct {
	Ack    string `json:"ack"`
	Sync   string `json:"sync"`
	Shards int    `json:"shards"`
}

// Verify is the result of comparing every key with a single thread.
type Verify struct {
	OK bool `json:"ok"`
	workload.Finding
}

// VerifyOf makes one of a finding.
func VerifyOf(f workload.Finding) *Verify { return &Verify{OK: f.OK(), Finding: f} }

// SetMeasured takes over what a load measured.
func (r *Result) SetMeasured(m bench.Measured) {
	r.LatencyHDR = encode(m.Times)
	r.Series = nil
	for _, p := range m.Series {
		r.Series = append(r.Series, Second{
			Seconds: p.Elapsed.Seconds(), EventsPerSecond: p.Rate,
			P50: p.Latency.P50, P99: p.Latency.P99, Max: p.Latency.Max,
		})
	}
	r.Events = m.Events
	r.Seconds = m.Elapsed.Seconds()
	r.EventsPerSecond = m.PerSecond()
	r.Latency = m.Latency
	if r.Rate > 0 {
		r.Service, r.Late = &m.Service, &m.Late
	}
}

// Durability says in words what an acknowledgement meant.
func (s *Store) Durability() string {
	switch {
	case s.Ack == "durable" && s.Sync == "commit":
		return "durable"
	case s.Ack == "durable":
		return "durable, sync " + s.Sync
	case s.Ack == "written":
		return "survives a kill, not a power cut; sync " + s.Sync
	}
	return "not durable; sync " + s.Sync
}

// WriteFile stores the result as JSON. Where files were on this machine is left out.
func (r *Result) WriteFile(name string) error {
	stored := *r
	if r.Profile != nil {
		p := *r.Profile
		p.File, p.Flame = base(p.File), base(p.Flame)
		stored.Profile = &p
	}
	if r.Slow != nil {
		s := *r.Slow
		s.File = base(s.File)
		stored.Slow = &s
	}
	text, err := json.MarshalIndent(&stored, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// base is the name of a file without its directory; "" for none.
func base(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

// ReadFile reads what WriteFile stored.
func ReadFile(name string) (*Result, error) {
	text, err := readText(name)
	if err != nil {
		return nil, err
	}
	return parse(name, text)
}
