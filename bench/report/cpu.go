package report

import (
	"io"

	"github.com/keyfold/keyfold/bench/profile"
)

// CPU writes where the CPU time went: the stages of the shards, packages, functions.
func CPU(w io.Writer, p *profile.Summary) {
	row(w, "cpu", "%.2f s in all; profile in %s", p.Seconds, p.File)
	if p.Flame != "" {
		row(w, "", "flame graph in %s", p.Flame)
	}
	for _, list := range []struct {
		name   string
		shares []profile.Share
		max    int
	}{{"shard", p.ShardStages, cpuShardsMax}, {"package", p.Packages, 8}, {"function", p.Functions, 8}} {
		for _, s := range list.shares[:min(len(list.shares), list.max)] {
			row(w, "", "%-9s %5.1f %%  %7.2f s  %s", list.name, 100*s.Part, s.Seconds, s.Name)
		}
	}
}

// cpuShardsMax is how many stages of shards the table lists; JSON has all.
const cpuShardsMax = 24

// Changes writes what changed between two profiles, in parts of all CPU time.
func Changes(w io.Writer, c profile.Changes) {
	row(w, "cpu", "%.2f s before, %.2f s after; in parts of each:", c.SecondsBefore, c.SecondsAfter)
	row(w, "", "%-9s %9s %9s %9s", "", "before", "after", "change")
	same := true
	for _, list := range []struct {
		name    string
		changes []profile.Change
	}{{"shard", c.ShardStages}, {"function", c.Functions}} {
		for _, f := range list.changes {
			if f.Before == f.After {
				continue
			}
			same = false
			row(w, "", "%-9s %7.1f %% %7.1f %% %+7.1f %%  %s", list.name, 100*f.Before, 100*f.After, 100*f.Points(), f.Name)
		}
	}
	if same {
		row(w, "", "nothing: the two are the same")
	}
}
