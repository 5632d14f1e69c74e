package report

import (
	"fmt"

	"github.com/keyfold/keyfold/bench/profile"
)

// pageShares is how many shares of each list the page names.
const pageShares = 8

// cpuTables say where the CPU time of the profiled loads went.
func cpuTables(entries []entry) (tables []*table) {
	for i := range entries {
		r := &entries[i]
		if r.Profile == nil {
			continue
		}
		t := newTable("input", "of", "name", "CPU seconds", "part", "CPUs")
		for _, list := range []struct {
			of     string
			shares []profile.Share
		}{{"shard and stage", r.Profile.ShardStages}, {"package", r.Profile.Packages}, {"function", r.Profile.Functions}} {
			for _, s := range list.shares[:min(len(list.shares), pageShares)] {
				t.row(r, r.input(), list.of, "`"+s.Name+"`", fmt.Sprintf("%.2f", s.Seconds), fmt.Sprintf("%.1f %%", 100*s.Part),
					fmt.Sprintf("%.2f", quotient(s.Seconds, r.Seconds)))
			}
		}
		tables = append(tables, t.some()...)
	}
	return tables
}
