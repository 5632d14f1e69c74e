package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench/machine"
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

These tables are written by ` + "`loadgen report`" + ` from the results of single runs. What is
outside the two markers below is kept when they are written again.

## How to read them

An acknowledgement means what the column *durability* says: rows that differ there do
not compare, nor do rows of different machines. The time of a sync is often all that a
latency consists of, so each machine is listed with its own.

*events/s* counts acknowledged events, from the first Send to the last acknowledgement.
Without a rate the loop is closed: senders go on as long as no more events are
unacknowledged than *senders* says. Such a row shows the highest rate, and its latencies
are mostly the time in the queue that the sender itself has filled. With a rate the loop
is open: each event has a time when it is due, and its latency runs from then, however
late it was sent. *Calling* senders wait for each event.

A closed loop's latency runs from Send to the acknowledgement, rounded up by the time of
up to 63 other sends. A sender notices acknowledgements between its sends, and while it
waits for room up to three eighths of its window late; with several shards it knows how
many events are acknowledged rather than which, so that single latencies are exchanged
between neighbours.

*verified* says whether every key was compared with what a single thread computes.

## How to repeat them

` + "`make results`" + ` runs all of the commands below and writes this page; each takes a quarter
of a minute at most. ` + "`FLIGHTS=file`" + ` names the file of the flights (testdata/SOURCE says how
to get it; without it the 2,000 flights in testdata are used). A single row is repeated by
its command; the same seed gives the same events. The machine must have nothing else to
do: run a row three times, and look at how much it moves.

## Results

` + markBegin + "\n" + markEnd + "\n"

// tables are the table of rates, that of recoveries if there are any, the commands
// and the machines.
func tables(results []*Result) string {
	var b strings.Builder
	loads(&b, results)
	recoveries(&b, results)
	b.WriteString("\nCommands:\n\n")
	for i, r := range results {
		fmt.Fprintf(&b, "%d. `%s`\n", i+1, strings.ReplaceAll(r.Command, "`", "'"))
	}
	b.WriteString("\nMachines:\n\n")
	for i, m := range machines(results) {
		fmt.Fprintf(&b, "%s. %s\n", letter(i), m)
	}
	return b.String()
}

// machines are the different machines of the results, in words.
func machines(results []*Result) (list []string) {
	for _, r := range results {
		if m := machineWords(r); !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// machineWords leave out what is in the rows: the time of a sync, and the revision.
func machineWords(r *Result) string {
	m := r.Machine
	m.Sync = machine.Probe{}
	return strings.Join(append(m.Lines()[:2], m.Go), "; ")
}

// letter names a machine.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i)
}

// machine is the letter of a result's machine, and its sync.
func (r *Result) machine(all []*Result) string {
	return letter(slices.Index(machines(all), machineWords(r))) + ", sync " + Nanos(r.Machine.Sync.P50)
}

func loads(b *strings.Builder, results []*Result) {
	line(b, "#", "input", "durability", "shards", "senders", "rate", "events", "events/s", "p50", "p99", "p99.9", "max", "verified", "seed", "machine", "revision", "date")
	line(b, strings.Split(strings.Repeat("-", 17), "")...)
	for i, r := range results {
		if r.Events == 0 {
			continue
		}
		l := r.Latency
		line(b, fmt.Sprint(i+1), r.input(), r.Durability(), fmt.Sprint(r.Shards), r.senders(), r.rate(),
			Count(r.Events), Count(int64(r.EventsPerSecond)), Nanos(l.P50), Nanos(l.P99), Nanos(l.P999), Nanos(l.Max),
			r.verified(), fmt.Sprint(r.Seed), r.machine(results), r.Machine.RevisionWords(), r.Started.UTC().Format(time.DateOnly))
	}
}

// input is what was sent, and after what.
func (r *Result) input() string {
	s := fmt.Sprintf("%s, %d B", r.Input, r.EventBytes)
	if r.Warmup > 0 {
		s += fmt.Sprintf(", after %s", plural(r.Warmup, "event"))
	}
	return s
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
			line(b, "#", "input", "durability", "shards", "seconds", "keys", "events replayed", "log read", "torn", "verified", "seed", "machine", "revision", "date")
			line(b, strings.Split(strings.Repeat("-", 14), "")...)
		}
		c := r.Recovery
		line(b, fmt.Sprint(i+1), r.Input, r.Durability(), fmt.Sprint(r.Shards), fmt.Sprintf("%.3f", c.Seconds), Count(c.Keys), Count(c.Events),
			Bytes(c.LogBytes), Bytes(c.TornBytes), r.verified(), fmt.Sprint(r.Seed), r.machine(results), r.Machine.RevisionWords(),
			r.Started.UTC().Format(time.DateOnly))
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
	return fmt.Sprintf("%d, %s unacknowledged", r.Producers, Count(r.Window))
}

func (r *Result) rate() string {
	if r.Rate == 0 {
		return "closed loop"
	}
	return Count(int64(r.Rate)) + "/s"
}

func (r *Result) verified() string {
	switch {
	case r.Failed != "":
		return "RUN FAILED"
	case r.Verify == nil:
		return "no"
	case r.Verify.OK:
		return "every key"
	}
	return "FAILED"
}
