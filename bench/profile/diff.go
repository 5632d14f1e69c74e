package profile

import (
	"cmp"
	"math"
	"slices"

	"github.com/google/pprof/profile"
)

// Change is what has become of a function's, a shard's or a stage's part of the CPU
// time between two profiles. Parts run from 0 to 1: profiles of different lengths
// compare.
type Change struct {
	// Name is as in Share.
	Name string `json:"name"`
	// Before and After are its parts of all CPU time.
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Points is by how much its part has grown.
func (c Change) Points() float64 { return c.After - c.Before }

// Changes says what changed between two profiles. Each list begins with what changed
// most, and has no more than a few entries.
type Changes struct {
	// SecondsBefore and SecondsAfter are the CPU time of the processes.
	SecondsBefore float64 `json:"seconds_before"`
	SecondsAfter  float64 `json:"seconds_after"`
	// ShardStages are the stages of the shards, Functions those on top of the stack.
	ShardStages []Change `json:"shard_stages,omitempty"`
	Functions   []Change `json:"functions"`
}

// changesMax is how many functions, and stages of shards, Changes names.
const changesMax = 24

// Compare says what changed from the profile before to the one after.
func Compare(before, after *profile.Profile) (Changes, error) {
	b, err := tallyOf(before)
	if err != nil {
		return Changes{}, err
	}
	a, err := tallyOf(after)
	if err != nil {
		return Changes{}, err
	}
	return Changes{
		SecondsBefore: float64(b.total) / 1e9,
		SecondsAfter:  float64(a.total) / 1e9,
		ShardStages:   changes(b.both.shares(b.total), a.both.shares(a.total)),
		Functions:     changes(b.functions.shares(b.total), a.functions.shares(a.total)),
	}, nil
}

func changes(before, after []Share) []Change {
	byName := make(map[string]Change)
	for _, s := range before {
		byName[s.Name] = Change{Name: s.Name, Before: s.Part}
	}
	for _, s := range after {
		c := byName[s.Name]
		c.Name, c.After = s.Name, s.Part
		byName[s.Name] = c
	}
	var list []Change
	for _, c := range byName {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Points()), math.Abs(a.Points())), cmp.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), changesMax)]
}
