package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/trace"
)

// Start writes the start block: where, what, how, and with which seed.
func (r *Result) Start(w io.Writer) {
	for i, line := range r.Machine.Lines() {
		row(w, []string{"machine", "disk", "program"}[i], "%s", line)
	}
	row(w, "store", "%s", r.Store.words())
	row(w, "load", "%s", r.Load.words())
	if r.Machine.Race {
		row(w, "warning", "the race detector is on: this run can find races, its figures mean nothing")
	}
}

func row(w io.Writer, name, format string, a ...any) {
	fmt.Fprintf(w, "%-10s%s\n", name, fmt.Sprintf(format, a...))
}

func (s *Store) words() string {
	return fmt.Sprintf("%s · ack %s · sync %s (%s)", plural(s.Shards, "shard"), s.Ack, s.Sync, s.Durability())
}

func (l *Load) words() string {
	loop := "closed loop, as fast as it goes"
	if l.Rate > 0 {
		loop = fmt.Sprintf("open loop, %s events/s", Count(int64(l.Rate)))
	}
	door := fmt.Sprintf("%s, up to %s unacknowledged", plural(l.Producers, "producer"), plural(l.Window, "event"))
	if l.Door == string(bench.Single) {
		door = plural(l.Producers, "caller") + ", one event at a time"
	}
	warm := ""
	if l.Warmup > 0 {
		warm = fmt.Sprintf(" · after %s that are not measured", plural(l.Warmup, "event"))
	}
	return fmt.Sprintf("%s · events of %d bytes · %s · %s%s · seed %d", l.Input, l.EventBytes, loop, door, warm, l.Seed)
}

// StatusHead is the line above the status lines.
func StatusHead(w io.Writer) {
	fmt.Fprintf(w, "%8s %14s %14s %10s %10s %10s %12s\n", "time", "acked", "acked/s", "p50", "p99", "max", "in flight")
}

// Status writes one second of a load in one line.
func Status(w io.Writer, p bench.Progress) {
	fmt.Fprintf(w, "%8s %14s %14s %10s %10s %10s %12s\n", p.Elapsed.Round(time.Second), Count(p.Acked), Count(int64(p.Rate)),
		Nanos(p.Latency.P50), Nanos(p.Latency.P99), Nanos(p.Latency.Max), Count(p.Sent-p.Acked))
}

// End writes the end table.
func (r *Result) End(w io.Writer) {
	if r.Failed != "" && r.Events > 0 {
		row(w, "stopped", "after about %s in %.2f s", plural(r.Events, "event"), r.Seconds)
	} else if r.Events > 0 {
		row(w, "result", "%s in %.2f s: %s events/s, %s", plural(r.Events, "event"), r.Seconds, Count(int64(r.EventsPerSecond)), r.Durability())
		row(w, "latency", "%s", latencyWords(r.Latency, r.since()))
	}
	if r.Service != nil {
		row(w, "service", "%s", latencyWords(*r.Service, "from when events were sent"))
	}
	if r.Late != nil {
		row(w, "late", "%s", latencyWords(*r.Late, "how late events were sent; part of the latency above"))
	}
	if r.Recovery != nil {
		row(w, "recovery", "%s", RecoveryWords(*r.Recovery))
		recoveryParts(w, r.Recovery)
	}
	if r.Usage != nil && r.Events > 0 {
		row(w, "memory", "%s", r.usageWords())
	}
	if r.Layers != nil {
		r.Layers.end(w)
	}
	if r.Profile != nil {
		CPU(w, r.Profile)
	}
	if r.Slow != nil {
		row(w, "slow", "%s", slowWords(*r.Slow))
	}
	if r.Verify != nil {
		row(w, "verify", "%s", r.Verify.words())
	}
}

func (r *Result) usageWords() string {
	u := r.Usage
	return fmt.Sprintf("%s resident · %s live on the Go heap · %.1f %% of the CPU for its collection · %.3g allocations an event, load generator included",
		Bytes(u.RSSBytes), Bytes(u.HeapBytes), 100*u.GCPart, r.mallocsPerEvent())
}

// mallocsPerEvent is what the process allocated for each event, all in all.
func (r *Result) mallocsPerEvent() float64 {
	if r.Usage == nil || r.Events == 0 {
		return 0
	}
	return float64(r.Usage.Mallocs) / float64(r.Events)
}

// slowWords say where the trace of a slow call is, and how to open it.
func slowWords(s trace.Slow) string {
	if s.File == "" {
		return "nothing took longer than " + Nanos(s.After)
	}
	return fmt.Sprintf("the first that took longer than %s took %s; the trace of the second before: go tool trace %s",
		Nanos(s.After), Nanos(s.Took), s.File)
}

// since says what the latencies are.
func (r *Result) since() string {
	switch {
	case r.Rate > 0:
		return "from when an event was due to its acknowledgement"
	case r.Door == string(bench.Single):
		return "of each call"
	}
	return "from Send to the acknowledgement"
}

func latencyWords(l bench.Latency, what string) string {
	return fmt.Sprintf("p50 %s · p90 %s · p99 %s · p99.9 %s · max %s (%s)",
		Nanos(l.P50), Nanos(l.P90), Nanos(l.P99), Nanos(l.P999), Nanos(l.Max), what)
}

// RecoveryWords describes a recovery in one line.
func RecoveryWords(r bench.Recovery) string {
	s := fmt.Sprintf("opened in %.3f s: %s; ", r.Seconds, plural(r.Keys, "key"))
	switch {
	case r.Clean:
		s += "it had been closed, nothing had to be replayed"
	case r.Seconds > 0 && r.Events > 0:
		s += fmt.Sprintf("%s replayed from %s of log (%s events/s)", plural(r.Events, "event"), Bytes(r.LogBytes), Count(int64(float64(r.Events)/r.Seconds)))
	default:
		s += "nothing had to be replayed"
	}
	if r.SnapshotKeys > 0 {
		s += fmt.Sprintf("; %s from %s of snapshots", plural(r.SnapshotKeys, "key"), Bytes(r.SnapshotBytes))
	}
	if r.ShardsBefore > 0 {
		s += fmt.Sprintf("; it had %s before", plural(r.ShardsBefore, "shard"))
	}
	if r.TornBytes > 0 {
		s += fmt.Sprintf("; %s of a torn end dropped", Bytes(r.TornBytes))
	}
	for _, w := range r.Warnings {
		s += "; warning: " + w
	}
	return s
}

func (v *Verify) words() string {
	if v.OK {
		return fmt.Sprintf("OK: %s with %s are what a single thread computes", plural(v.Keys, "key"), plural(v.Events, "event"))
	}
	return fmt.Sprintf("FAILED: %s lost, %s wrong: %s", plural(v.Lost, "acknowledged event"),
		plural(v.Wrong, "key"), strings.Join(v.Examples, "; "))
}
