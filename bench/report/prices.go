package report

import (
	"cmp"
	"fmt"

	"github.com/keyfold/keyfold/bench/stats"
)

// pricesTables are about the prices of layers, a table for each result.
func pricesTables(entries []entry) (list []*table) {
	for i := range entries {
		r := &entries[i]
		t := newTable("input", "event", "shards", "table", "events/s", "ns/event", "more", "CPU ns/event", "more CPU", "memory", "log an event", "rounds")
		for _, p := range r.Prices {
			name, more, cpu := p.Name, "-", "-"
			if p.Beside != "" {
				name = fmt.Sprintf("%s, beside %s", p.Name, p.Beside)
				more, cpu = spreadWords(p.MoreNanos), spreadWords(p.MoreCPU)
			}
			t.row(r, r.Input, r.event(), fmt.Sprint(r.Shards), name, Count(int64(quotient(1e9, p.Nanos.Median))),
				fmt.Sprintf("%.1f", p.Nanos.Median), more, fmt.Sprintf("%.1f", p.CPU.Median), cpu, cmp.Or(p.Memory(), "-"), fmt.Sprintf("%.1f B", p.LogBytes), r.rounds())
		}
		list = append(list, t)
	}
	return list
}

// spreadWords are a difference with its ends.
func spreadWords(s stats.Spread) string {
	return fmt.Sprintf("%+.1f (%+.1f to %+.1f)", s.Median, s.Min, s.Max)
}
