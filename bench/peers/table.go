package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/report"
)

// table writes the rows, a table for each cell.
func table(w io.Writer, rows []*row) {
	var last drive.Cell
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		if r.cell != last {
			last = r.cell
			_ = tab.Flush() // to a screen
			fmt.Fprintf(w, "\n%s\n", heading(r))
			fmt.Fprintln(tab, "peer\tevents/s\tof limit\tof keyfold\tp50\tp99\tp99.9\tcores\tRSS\twritten/event\tdisk/event\tchecked\t")
		}
		cores := fmt.Sprintf("%.1f", r.Cores)
		if r.ServerCores > 0 {
			cores = fmt.Sprintf("%.1f+%.1f", r.ServerCores, r.Cores-r.ServerCores)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t%.0f\t%s\t\n",
			r.Peer, short(r.EventsPerSecond), ratio(r.RatioToLimit), ratio(r.RatioToKeyfold),
			report.Nanos(r.Latency.P50), report.Nanos(r.Latency.P99), report.Nanos(r.Latency.P999),
			cores, report.Bytes(r.RSSBytes), r.WrittenPerEvent, r.DevicePerEvent, r.checkWords())
	}
	_ = tab.Flush() // to a screen
}

// heading says what the rows of a cell have in common.
func heading(r *row) string {
	s := fmt.Sprintf("%s · %s · ", r.Input, r.Durability())
	switch r.cell.Door {
	case drive.Stream:
		return s + "streamed in batches of 256; latency of a batch"
	case drive.Window:
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
