package report

import (
	"fmt"
	"strings"
	"time"
)

// The markers between which Markdown writes.
const (
	markBegin = "<!-- results: begin (written by loadgen report) -->"
	markEnd   = "<!-- results: end -->"
)

// Markdown puts a table of results into a page: between the markers, or, if page
// has none, into a new page. An error says that one marker is missing.
func Markdown(page string, results []*Result) (string, error) {
	if !strings.Contains(page, markBegin) && !strings.Contains(page, markEnd) {
		page = newPage
	}
	before, rest, ok := strings.Cut(page, markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok || !ok2 {
		return "", fmt.Errorf("report: the page needs both markers, %q and %q, in this order", markBegin, markEnd)
	}
	return before + markBegin + "\n\n" + tables(results) + "\n" + markEnd + after, nil
}

const newPage = `# Benchmarks

Every row names the command that gives it again, and what an acknowledgement meant:
rows of different durability do not compare. Latencies run from when an event was due
in an open loop (a rate is given), else from its Send to the end of the Flush of its
window, or of the call that sent it alone. A closed loop shows the highest rate; what
its windows wait for is part of its latencies.

` + markBegin + "\n" + markEnd + "\n"

// tables are the table of rates, that of recoveries if there are any, the commands
// and the machines.
func tables(results []*Result) string {
	var b strings.Builder
	loads(&b, results)
	recoveries(&b, results)
	b.WriteString("\nCommands, in the order of the rows:\n\n")
	for i, r := range results {
		fmt.Fprintf(&b, "%d. `%s`\n", i+1, strings.ReplaceAll(r.Command, "`", "'"))
	}
	return b.String()
}

func loads(b *strings.Builder, results []*Result) {
	line(b, "#", "input", "durability", "shards", "senders", "rate", "events", "events/s", "p50", "p99", "p99.9", "max", "verified", "seed", "machine", "revision", "date")
	line(b, strings.Split(strings.Repeat("-", 17), "")...)
	for i, r := range results {
		if r.Events == 0 {
			continue
		}
		l := r.Latency
		line(b, fmt.Sprint(i+1), r.Input+fmt.Sprintf(", %d B", r.EventBytes), r.Durability(), fmt.Sprint(r.Shards), r.senders(), r.rate(),
			Count(r.Events), Count(int64(r.EventsPerSecond)), Nanos(l.P50), Nanos(l.P99), Nanos(l.P999), Nanos(l.Max),
			r.verified(), fmt.Sprint(r.Seed), r.Machine.Short(), r.Machine.Revision, r.Started.UTC().Format(time.DateOnly))
	}
}

func recoveries(b *strings.Builder, results []*Result) {
	head := false
	for i, r := range results {
		if r.Recovery == nil {
			continue
		}
		if !head {
			head = true
			b.WriteString("\nRecovery:\n\n")
			line(b, "#", "input", "durability", "shards", "seconds", "keys", "events replayed", "log read", "torn", "verified", "seed", "machine")
			line(b, strings.Split(strings.Repeat("-", 12), "")...)
		}
		c := r.Recovery
		line(b, fmt.Sprint(i+1), r.Input, r.Durability(), fmt.Sprint(r.Shards), fmt.Sprintf("%.3f", c.Seconds), Count(c.Keys), Count(c.Events),
			Bytes(c.LogBytes), Bytes(c.TornBytes), r.verified(), fmt.Sprint(r.Seed), r.Machine.Short())
	}
}

func line(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

func (r *Result) senders() string {
	if r.Window == 0 {
		return fmt.Sprintf("%d calling", r.Producers)
	}
	return fmt.Sprintf("%d with windows of %s", r.Producers, Count(r.Window))
}

func (r *Result) rate() string {
	if r.Rate == 0 {
		return "closed loop"
	}
	return Count(int64(r.Rate)) + "/s"
}

func (r *Result) verified() string {
	switch {
	case r.Verify == nil:
		return "no"
	case r.Verify.OK:
		return "every key"
	}
	return "FAILED"
}
