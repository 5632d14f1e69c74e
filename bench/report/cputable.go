package report

import (
	"fmt"
	"strings"

	"github.com/keyfold/keyfold/bench/profile"
)

// pageShares is how many shares of each list the page names.
const pageShares = 8

// cpuTables say where the CPU time of the profiled loads went, a table each: stages of
// shards beside functions.
func cpuTables(entries []entry) (tables []*table) {
	for i := range entries {
		r := &entries[i]
		if r.Profile == nil {
			continue
		}
		t := newTable("shard and stage", "part", "CPUs", "function", "part", "CPUs")
		t.caption = r.name()
		stages, functions := r.Profile.ShardStages, r.Profile.Functions
		for n := range min(pageShares, max(len(stages), len(functions))) {
			t.row(r, append(r.share(stages, n), r.share(functions, n)...)...)
		}
		tables = append(tables, t.some()...)
	}
	return tables
}

// share is the n-th of a list in three cells, empty ones if there is none.
func (r *entry) share(list []profile.Share, n int) []string {
	if n >= len(list) {
		return []string{"", "", ""}
	}
	name := strings.TrimPrefix(list[n].Name, "github.com/keyfold/keyfold/")
	return []string{"`" + name + "`", fmt.Sprintf("%.1f %%", 100*list[n].Part), fmt.Sprintf("%.2f", quotient(list[n].Seconds, r.Seconds))}
}
