package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// loadTable is about single loads.
func loadTable(entries []entry) []*table {
	t := newTable("input", "shards", "senders", "rate", "events", "events/s", "p50", "p99", "p99.9", "max")
	for i := range entries {
		r := &entries[i]
		l := r.Latency
		t.row(r, r.input(), fmt.Sprint(r.Shards), r.senders(), r.rate(), Count(r.Events), Count(int64(r.EventsPerSecond)),
			Nanos(l.P50), Nanos(l.P99), Nanos(l.P999), Nanos(l.Max))
	}
	return t.some()
}

// recoveryTable is about openings of stores.
func recoveryTable(entries []entry) []*table {
	t := newTable("input", "shards", "seconds", "keys", "keys/s", "from snapshots", "events replayed", "events/s", "log read", "torn")
	for i := range entries {
		r, c := &entries[i], entries[i].Recovery
		t.row(r, r.Input, fmt.Sprint(r.Shards), fmt.Sprintf("%.3f", c.Seconds), Count(c.Keys), perSecond(c.Keys, c.Seconds), Count(c.SnapshotKeys),
			Count(c.Events), perSecond(c.Events, c.Seconds), Bytes(c.LogBytes), Bytes(c.TornBytes))
	}
	return t.some()
}

func perSecond(count uint64, seconds float64) string {
	if count == 0 || seconds <= 0 {
		return "-"
	}
	return Count(int64(float64(count) / seconds))
}

// limitTable is about the engine beside limit rows: a row for each of them.
func limitTable(entries []entry) []*table {
	t := newTable("input", "door", "shards", "engine events/s", "limit row", "its events/s", "ratio", "lowest", "highest", "rounds")
	for i := range entries {
		r := &entries[i]
		for _, l := range r.LimitRows {
			t.row(r, r.input(), r.Door, fmt.Sprint(r.Shards), Count(int64(r.EventsPerSecond)), l.Name, Count(int64(l.EventsPerSecond.Median)),
				fmt.Sprintf("%.2f", l.Ratio.Median), fmt.Sprintf("%.2f", l.Ratio.Min), fmt.Sprintf("%.2f", l.Ratio.Max), r.rounds())
		}
	}
	return t.some()
}

// rounds is how many rounds a result is the median of.
func (r *Result) rounds() string {
	if len(r.Samples) == 0 {
		return "1"
	}
	return fmt.Sprint(len(r.Samples[0].Rounds))
}

// peersTables are about other stores, a table for each job.
func peersTables(entries []entry) (list []*table) {
	for i := range entries {
		r, p := &entries[i], entries[i].Peer
		if job := r.job(); len(list) == 0 || list[len(list)-1].caption != job {
			t := newTable("store", "events/s", "of Keyfold", "of the best by hand", "of the limit", "p50", "p99", "p99.9", "cores", "RSS", "written/event", "rounds")
			t.caption = job
			list = append(list, t)
		}
		list[len(list)-1].row(r, p.Name, Count(int64(r.EventsPerSecond)), ratio(p.RatioToKeyfold), ratio(p.RatioToHand), ratio(r.RatioToLimit),
			Nanos(r.Latency.P50), Nanos(r.Latency.P99), Nanos(r.Latency.P999), fmt.Sprintf("%.1f", p.Cores), Bytes(p.RSSBytes),
			Bytes(uint64(p.WrittenPerEvent)), r.rounds())
	}
	if len(list) > 0 {
		list[len(list)-1].notes = peersWords(entries)
	}
	return list
}

// killedTable is about other stores that were killed under load and opened again.
func killedTable(entries []entry) []*table {
	t := newTable("store", "input", "seconds", "keys", "events acknowledged", "of them lost", "RSS", "on disk")
	for i := range entries {
		r, c := &entries[i], entries[i].Recovery
		lost := "-"
		if r.Verify != nil {
			lost = Count(r.Verify.Lost)
		}
		t.row(r, r.Peer.Name, r.Input, fmt.Sprintf("%.3f", c.Seconds), Count(c.Keys), Count(c.Events), lost, Bytes(r.Peer.RSSBytes), Bytes(r.Peer.DiskBytes))
	}
	return t.some()
}

// job is what the peers of one table have in common.
func (r *Result) job() string {
	s := fmt.Sprintf("%s, %s, door %s", r.Input, r.Durability(), r.Door)
	if r.Window > 0 {
		s += fmt.Sprintf(", %s unacknowledged", Count(r.Window))
	}
	return s
}

// peersWords say how each store was set up.
func peersWords(entries []entry) (list []string) {
	for _, r := range entries {
		words := r.Peer.Name + ": " + cmp.Or(r.Peer.About, "no words")
		if !slices.Contains(list, words) {
			list = append(list, words)
		}
	}
	return list
}

func ratio(f float64) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", f)
}

// growthTables are about sweeps and the search for the knee, a table each.
func growthTables(entries []entry) (list []*table) {
	for i := range entries {
		if r := &entries[i]; len(r.Curve) > 0 {
			list = append(list, curveTable(r))
		} else {
			list = append(list, stepsTable(r))
		}
	}
	return list
}

func curveTable(r *entry) *table {
	t := newTable("input", "door", r.knob(), "ns/event", "lowest", "highest", "to first", "events/s", "of the limit row", "rounds")
	first := r.Curve[0].Nanos.Median
	for _, p := range r.Curve {
		limit := "-"
		if p.Ratio != nil {
			limit = fmt.Sprintf("%.2f", p.Ratio.Median)
		}
		t.row(r, r.input(), r.Door, p.Value, fmt.Sprintf("%.1f", p.Nanos.Median), fmt.Sprintf("%.1f", p.Nanos.Min), fmt.Sprintf("%.1f", p.Nanos.Max),
			fmt.Sprintf("%.2f", quotient(p.Nanos.Median, first)), Count(int64(quotient(1e9, p.Nanos.Median))), limit, r.rounds())
	}
	return t
}

// quotient is 0 where there is none.
func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func stepsTable(r *entry) *table {
	t := newTable("input", "door", "rate tried", "events/s", "p50", "p99", "max", "held")
	for _, s := range r.Steps {
		held := "yes"
		if !s.Held {
			held = "no: " + strings.Join(s.Broken, ", ")
		}
		t.row(r, r.input(), r.Door, Count(int64(s.Rate)), Count(int64(s.EventsPerSecond)), Nanos(s.P50), Nanos(s.P99), Nanos(s.Max), held)
	}
	return t
}

// memoryTable is about the loads that said what they used.
func memoryTable(entries []entry) []*table {
	t := newTable("input", "shards", "keys", "resident", "bytes a key", "live Go heap", "CPU of its collection", "allocations an event")
	for i := range entries {
		r := &entries[i]
		if r.Usage == nil {
			continue
		}
		keys, each := "-", "-"
		if r.Verify != nil && r.Verify.Keys > 0 {
			keys, each = Count(r.Verify.Keys), Count(r.Usage.RSSBytes/r.Verify.Keys)
		}
		t.row(r, r.input(), fmt.Sprint(r.Shards), keys, Bytes(r.Usage.RSSBytes), each, Bytes(r.Usage.HeapBytes),
			fmt.Sprintf("%.1f %%", 100*r.Usage.GCPart), fmt.Sprintf("%.3f", r.mallocsPerEvent()))
	}
	return t.some()
}
