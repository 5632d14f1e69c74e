package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/keyfold/keyfold/bench/peers/rival"
	"github.com/keyfold/keyfold/bench/report"
)

// table writes the rows, a table for each cell.
func table(w io.Writer, rows []*row) {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].cell == rows[0].cell {
			n++
		}
		if rows[0].cell.Door == killDoor {
			killTable(w, rows[:n])
		} else {
			cellTable(w, rows[:n])
		}
		rows = rows[n:]
	}
}

// cellTable is the table of one cell. Below it stands how many times as fast Keyfold is.
func cellTable(w io.Writer, rows []*row) {
	fmt.Fprintf(w, "\n%s\n", heading(rows[0]))
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "peer\tevents/s\tof limit\tof keyfold\tof by hand\tp50\tp99\tp99.9\tcores\tRSS\twritten/event\tdisk/event\tchecked\t")
	for _, r := range rows {
		cores := fmt.Sprintf("%.1f", r.Cores)
		if r.ServerCores > 0 {
			cores = fmt.Sprintf("%.1f+%.1f", r.ServerCores, r.Cores-r.ServerCores)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t%.0f\t%s\t\n",
			r.Peer, short(r.EventsPerSecond), ratio(r.RatioToLimit), ratio(r.RatioToKeyfold), ratio(r.RatioToHand),
			report.Nanos(r.Latency.P50), report.Nanos(r.Latency.P99), report.Nanos(r.Latency.P999),
			cores, report.Bytes(r.RSSBytes), r.WrittenPerEvent, r.DevicePerEvent, r.checkWords())
	}
	_ = tab.Flush() // to a screen
	for _, r := range rows {
		if words := ahead(r, rows); r.ours && words != "" {
			fmt.Fprintf(w, "%s is %s\n", r.Peer, words)
		}
	}
}

// ahead says how many times as fast a row is as those that goals are about.
func ahead(r *row, rows []*row) string {
	var list []string
	if best := bestByHand(rows); best != nil {
		list = append(list, fmt.Sprintf("%s times the best by hand (%s)", ratio(r.RatioToHand), best.Peer))
	}
	for _, name := range []string{"pebble", "redis-hincrby", "redis-lua"} {
		if other := named(rows, name); other != nil {
			list = append(list, fmt.Sprintf("%s times %s", ratio(times(r, other)), name))
		}
	}
	return strings.Join(list, ", ")
}

// killTable is about stores that were killed.
func killTable(w io.Writer, rows []*row) {
	fmt.Fprintf(w, "\n%s · killed under an unsynced load, then opened\n", rows[0].Input)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "peer\tseconds\tkeys\tevents acknowledged\tof them lost\twrong keys\tRSS\ton disk\t")
	for _, r := range rows {
		if r.Verify == nil {
			fmt.Fprintf(tab, "%s\tFAILED\t\t\t\t\t\t\t\n", r.Peer)
			continue
		}
		fmt.Fprintf(tab, "%s\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Peer, r.Recovery.Seconds, report.Count(r.Recovery.Keys), report.Count(r.Recovery.Events),
			report.Count(r.Verify.Lost), report.Count(r.Verify.Wrong), report.Bytes(r.RSSBytes), report.Bytes(r.DiskBytes))
	}
	_ = tab.Flush() // to a screen
}

// heading says what the rows of a cell have in common.
func heading(r *row) string {
	s := fmt.Sprintf("%s · %s · ", r.Input, r.Durability())
	switch r.cell.Door {
	case rival.Stream:
		return s + "streamed in batches of 256; latency of a batch"
	case rival.Window:
		return s + fmt.Sprintf("windows, %d in flight; latency of a window", r.cell.InFlight)
	}
	return s + fmt.Sprintf("%d callers, one event each; latency of a call", r.cell.InFlight)
}

func ratio(f float64) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", f)
}

// short is a rate with three digits.
func short(rate float64) string {
	value, prefix := humanize.ComputeSI(rate)
	return fmt.Sprintf("%.3g %s", value, prefix)
}

// checkWords says how the result was checked.
func (r *row) checkWords() string {
	switch {
	case r.Failed != "":
		return "FAILED"
	case r.Verify == nil:
		return "-"
	case r.PerKey:
		return "every key"
	}
	return "sum"
}
