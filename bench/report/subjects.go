package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/stats"
)

// ratesTable is about open loops, with what their latencies consist of.
func ratesTable(entries []entry) []*table {
	t := newTable("input", "event", "warm-up", "shards", "senders", "rate", "events/s", "", "p50", "p90", "p99", "p99.9", "max")
	for i := range entries {
		r := &entries[i]
		for _, of := range []struct {
			name string
			l    *bench.Latency
		}{{"response", &r.Latency}, {"service", r.Service}, {"lag", r.Late}} {
			if of.l != nil {
				t.row(r, r.Input, r.event(), r.warmup(), fmt.Sprint(r.Shards), r.senders(), r.rate(), Count(int64(r.EventsPerSecond)), of.name,
					Nanos(of.l.P50), Nanos(of.l.P90), Nanos(of.l.P99), Nanos(of.l.P999), Nanos(of.l.Max))
			}
		}
	}
	return t.some()
}

// loadTable is about single loads.
func loadTable(entries []entry) []*table {
	t := newTable("input", "event", "warm-up", "shards", "senders", "rate", "events/s", "p50", "p99", "p99.9", "max")
	for i := range entries {
		r := &entries[i]
		l := r.Latency
		t.row(r, r.Input, r.event(), r.warmup(), fmt.Sprint(r.Shards), r.senders(), r.rate(), Count(int64(r.EventsPerSecond)),
			Nanos(l.P50), Nanos(l.P99), Nanos(l.P999), Nanos(l.Max))
	}
	return t.some()
}

// recoveryTable is about openings of stores.
func recoveryTable(entries []entry) []*table {
	t := newTable("input", "shards", "seconds", "keys", "keys/s", "from snapshots", "events replayed", "events/s", "before the kill", "log read", "torn", "page cache")
	for i := range entries {
		r, c := &entries[i], entries[i].Recovery
		t.row(r, r.Input, fmt.Sprint(r.Shards), fmt.Sprintf("%.3f", c.Seconds), Count(c.Keys), perSecond(c.Keys, c.Seconds), Count(c.SnapshotKeys),
			Count(c.Events), perSecond(c.Events, c.Seconds), perSecond(uint64(c.Live), 1), Bytes(c.LogBytes), Bytes(c.TornBytes),
			map[bool]string{false: "as it was", true: "dropped"}[c.Cold])
	}
	return t.some()
}

func perSecond(count uint64, seconds float64) string {
	if count == 0 || seconds <= 0 {
		return "-"
	}
	return Count(int64(float64(count) / seconds))
}

// limitTables are about the engine beside limit rows, a table for each door: a row for
// each limit row.
func limitTables(entries []entry) (list []*table) {
	for i := range entries {
		r := &entries[i]
		if i == 0 || r.Door != entries[i-1].Door {
			list = append(list, newTable("input", "event", "door", "shards", "engine events/s", "beside", "its events/s", "ratio", "lowest", "highest", "rounds"))
		}
		t := list[len(list)-1]
		add := func(name string, rate, ratio stats.Spread) {
			t.row(r, r.Input, r.event(), r.Door, fmt.Sprint(r.Shards), Count(int64(r.EventsPerSecond)), name, Count(int64(rate.Median)),
				fmt.Sprintf("%.2f", ratio.Median), fmt.Sprintf("%.2f", ratio.Min), fmt.Sprintf("%.2f", ratio.Max), r.rounds())
		}
		for _, l := range r.LimitRows {
			add(l.Name, l.EventsPerSecond, l.Ratio)
		}
		if d := r.Durable; d != nil {
			add("itself, durable (its rate over the engine's)", d.EventsPerSecond, d.Ratio)
		}
	}
	return list
}

// guestTable is about handlers beside the engine.
func guestTable(entries []entry) []*table {
	t := newTable("input", "shards", "pinned", "spin", "events/s", "of its peak", "requests/s", "", "p50", "p99", "p99.9", "p99 ratio", "lowest", "highest", "rounds")
	for i := range entries {
		r, g := &entries[i], entries[i].Guest
		spin := "default"
		if g.Spin != 0 {
			spin = g.Spin.String()
		}
		for _, side := range []struct {
			name string
			of   GuestTimes
		}{{"without", g.Without}, {"with", g.With}} {
			for _, l := range []struct {
				name string
				of   bench.Latency
			}{{"response", side.of.Response}, {"service", side.of.Service}, {"lag", side.of.Lag}} {
				ratio, low, high := "", "", ""
				switch {
				case side.name == "with" && l.name == "response":
					ratio, low, high = fmt.Sprintf("%.2f", g.P99.Median), fmt.Sprintf("%.2f", g.P99.Min), fmt.Sprintf("%.2f", g.P99.Max)
				case side.name == "with" && l.name == "service":
					ratio, low, high = fmt.Sprintf("%.2f", g.ServiceP99.Median), fmt.Sprintf("%.2f", g.ServiceP99.Min), fmt.Sprintf("%.2f", g.ServiceP99.Max)
				}
				t.row(r, r.Input, fmt.Sprint(r.Shards), yesNo(g.Pinned), spin, Count(int64(r.Rate)), fmt.Sprintf("%.0f %%", 100*quotient(r.Rate, g.Peak)),
					Count(int64(g.RequestsPerSecond)), side.name+", "+l.name, Nanos(l.of.P50), Nanos(l.of.P99), Nanos(l.of.P999), ratio, low, high, r.rounds())
			}
		}
	}
	return t.some()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
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
		if i == 0 || r.number != entries[i-1].number || r.job() != entries[i-1].job() {
			t := newTable("store", "events/s", "of Keyfold", "of the best by hand", "of the limit", "p50", "p99", "p99.9", "cores", "RSS", "written/event", "rounds")
			t.caption = r.doorWords()
			list = append(list, t)
		}
		list[len(list)-1].row(r, p.Name, Count(int64(r.EventsPerSecond)), ratio(p.RatioToKeyfold), ratio(p.RatioToHand), ratio(r.RatioToLimit),
			Nanos(r.Latency.P50), Nanos(r.Latency.P99), Nanos(r.Latency.P999), fmt.Sprintf("%.1f", p.Cores), Bytes(p.RSSBytes),
			Bytes(uint64(p.WrittenPerEvent)), r.rounds())
	}
	if len(list) > 0 {
		list[len(list)-1].details = peersWords(entries)
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
func (r *Result) job() string { return r.doorWords() + ", " + r.Durability() }

// doorWords say what peers were given, and how.
func (r *Result) doorWords() string {
	switch r.Door {
	case windowDoor:
		return fmt.Sprintf("%s, windows of %s", r.Input, Count(r.Window))
	case callersDoor:
		return fmt.Sprintf("%s, %s, each waits for its event", r.Input, plural(r.Window, "caller"))
	}
	return r.Input + ", streamed"
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

// growthTables are about sweeps, a table each.
func growthTables(entries []entry) (list []*table) {
	for i := range entries {
		list = append(list, curveTable(&entries[i]))
	}
	return list
}

// stepsTables are about searches for the knee, a table each.
func stepsTables(entries []entry) (list []*table) {
	for i := range entries {
		list = append(list, stepsTable(&entries[i]))
	}
	return list
}

func curveTable(r *entry) *table {
	t := newTable("input", "event", "door", r.knob(), "ns/event", "lowest", "highest", "to first", "events/s", "of the limit row", "rounds")
	first := r.Curve[0].Nanos.Median
	for _, p := range r.Curve {
		limit := "-"
		if p.Ratio != nil {
			limit = fmt.Sprintf("%.2f", p.Ratio.Median)
		}
		t.row(r, r.Input, r.event(), r.Door, p.Value, fmt.Sprintf("%.1f", p.Nanos.Median), fmt.Sprintf("%.1f", p.Nanos.Min), fmt.Sprintf("%.1f", p.Nanos.Max),
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
	t := newTable("input", "event", "door", "shards", "senders", "rate tried", "events/s", "p50", "p99", "max", "held")
	if r.EventsPerSecond > 0 {
		t.caption = Count(int64(r.EventsPerSecond)) + " events/s are the highest that held"
	}
	for _, s := range r.Steps {
		held := "yes"
		if !s.Held {
			held = "no: " + strings.Join(s.Broken, ", ")
		}
		t.row(r, r.Input, r.event(), r.Door, fmt.Sprint(r.Shards), r.senders(), Count(int64(s.Rate)), Count(int64(s.EventsPerSecond)), Nanos(s.P50), Nanos(s.P99), Nanos(s.Max), held)
	}
	return t
}

// memoryTable is about the loads that said what they used.
func memoryTable(entries []entry) []*table {
	t := newTable("input", "event", "shards", "keys", "resident", "bytes a key", "live Go heap", "CPU of its collection", "allocations an event")
	for i := range entries {
		r := &entries[i]
		if r.Usage == nil || r.Verify == nil {
			continue // nobody has counted the keys
		}
		keys, each := "-", "-"
		if r.Verify != nil && r.Verify.Keys > 0 {
			keys, each = Count(r.Verify.Keys), Count(r.Usage.RSSBytes/r.Verify.Keys)
		}
		t.row(r, r.Input, r.event(), fmt.Sprint(r.Shards), keys, Bytes(r.Usage.RSSBytes), each, Bytes(r.Usage.HeapBytes),
			fmt.Sprintf("%.1f %%", 100*r.Usage.GCPart), fmt.Sprintf("%.3f", r.mallocsPerEvent()))
	}
	return t.some()
}
