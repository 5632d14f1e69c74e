// Package profile takes a CPU profile of a run and says where the time went: by
// shard, by stage, by the package and by the function on top of the stack. It draws
// flame graphs, and says what changed between two profiles.
//
// Shards and stages are told apart by the profiler labels `shard` and `stage`, which
// cost nothing per event.
package profile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// Share is how much of the CPU time went where.
type Share struct {
	// Name is that of a shard, a stage, a package or a function without its type
	// arguments; of a shard's stage it is both, with a blank between them.
	Name string `json:"name"`
	// Seconds is the CPU time.
	Seconds float64 `json:"seconds"`
	// Part is its part of all CPU time, from 0 to 1.
	Part float64 `json:"part"`
}

// Summary says where the CPU time of a run went. Each list begins with the largest.
type Summary struct {
	// Seconds is the CPU time of the whole process.
	Seconds float64 `json:"seconds"`
	// Shards is the time by the label `shard`; what has none is `(other)`.
	Shards []Share `json:"shards,omitempty"`
	// Stages is the time by the label `stage`.
	Stages []Share `json:"stages,omitempty"`
	// ShardStages is the time by both labels.
	ShardStages []Share `json:"shard_stages,omitempty"`
	// Packages is the time by the package of the function on top.
	Packages []Share `json:"packages"`
	// Functions is the time of the functions on top, the first few.
	Functions []Share `json:"functions"`
	// File holds the profile, for go tool pprof, and Flame its flame graph, if there is
	// one.
	File  string `json:"file"`
	Flame string `json:"flame,omitempty"`
}

// functionsMax is how many functions a Summary names.
const functionsMax = 12

// Recording is a profile that is being taken. There is one at a time in a process.
type Recording struct {
	dir  string
	data bytes.Buffer
}

// FileName is the name of a stored profile.
const FileName = "cpu.pb.gz"

// Start begins a profile that will be stored in dir, which is made if need be.
func Start(dir string) (*Recording, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	r := &Recording{dir: dir}
	if err := pprof.StartCPUProfile(&r.data); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return r, nil
}

// Stop ends the profile, stores it with the comments, as FileName, beside its flame
// graph, FlameName, and sums it up.
func (r *Recording) Stop(comments ...string) (Summary, error) {
	pprof.StopCPUProfile()
	p, err := profile.ParseData(r.data.Bytes())
	if err != nil {
		return Summary{}, fmt.Errorf("profile: %w", err)
	}
	p.Comments = append(p.Comments, comments...)
	file := filepath.Join(r.dir, FileName)
	if err := write(p, file); err != nil {
		return Summary{}, fmt.Errorf("profile: %w", err)
	}
	s, err := Sum(p)
	s.File, s.Flame = file, filepath.Join(r.dir, FlameName)
	return s, errors.Join(err, WriteFlame(s.Flame, p, nil))
}

func write(p *profile.Profile, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return p.Write(f)
}

// Read reads a CPU profile from a file, as a Recording or a Go benchmark with
// -cpuprofile leaves it.
func Read(name string) (p *profile.Profile, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if p, err = profile.Parse(io.LimitReader(f, profileBytesMax)); err != nil {
		return nil, fmt.Errorf("profile: %s is not a profile: %w", name, err)
	}
	if _, err := p.SampleIndexByName("cpu"); err != nil {
		return nil, fmt.Errorf("profile: %s has no CPU time in it; go test -cpuprofile and loadgen run --profile take profiles that do: %w", name, err)
	}
	return p, nil
}

// profileBytesMax bounds a file that is read as a profile.
const profileBytesMax = 256 << 20

// Sum sums up a CPU profile.
func Sum(p *profile.Profile) (Summary, error) {
	t, err := tallyOf(p)
	if err != nil {
		return Summary{}, err
	}
	return Summary{
		Seconds:     time.Duration(t.total).Seconds(),
		Shards:      t.shards.shares(t.total),
		Stages:      t.stages.shares(t.total),
		ShardStages: t.both.shares(t.total),
		Packages:    first(t.packages.shares(t.total)),
		Functions:   first(t.functions.shares(t.total)),
	}, nil
}

func first(s []Share) []Share { return s[:min(len(s), functionsMax)] }

// tally adds up nanoseconds.
type tally struct {
	total                                     int64
	shards, stages, both, packages, functions sums
}

func tallyOf(p *profile.Profile) (*tally, error) {
	value, err := p.SampleIndexByName("cpu")
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	t := &tally{shards: sums{}, stages: sums{}, both: sums{}, packages: sums{}, functions: sums{}}
	for _, sample := range p.Sample {
		t.add(sample, sample.Value[value])
	}
	return t, nil
}

func (t *tally) add(s *profile.Sample, nanos int64) {
	t.total += nanos
	shard, stage := label(s, "shard"), label(s, "stage")
	t.shards[shard] += nanos
	t.stages[stage] += nanos
	if shard == stage { // neither has a name
		t.both[unlabelled] += nanos
	} else {
		t.both[shard+" "+stage] += nanos
	}
	f := top(s)
	t.functions[f] += nanos
	t.packages[packageOf(f)] += nanos
}

// unlabelled is the share of what has no label.
const unlabelled = "(other)"

func label(s *profile.Sample, key string) string {
	if v := s.Label[key]; len(v) > 0 {
		return v[0]
	}
	return unlabelled
}

// top is the innermost function of a sample.
func top(s *profile.Sample) string {
	if len(s.Location) == 0 || len(s.Location[0].Line) == 0 || s.Location[0].Line[0].Function == nil {
		return "(unknown)"
	}
	return withoutTypes(s.Location[0].Line[0].Function.Name)
}

// withoutTypes cuts type arguments out of a name: a whole struct may be among them.
func withoutTypes(name string) string {
	before, rest, ok := strings.Cut(name, "[")
	end := strings.LastIndexByte(rest, ']')
	if !ok || end < 0 {
		return name
	}
	return before + rest[end+1:]
}

// packageOf cuts a function's name to that of its package: what follows the first dot
// behind the last slash does not belong to it.
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	if dot := strings.IndexByte(function[slash:], '.'); dot >= 0 {
		return function[:slash+dot]
	}
	if strings.Contains(function, "(") {
		return function
	}
	return "runtime" // assembly without a package: memmove and its like
}

// sums are nanoseconds by name.
type sums map[string]int64

// shares is empty if nothing has a name of its own.
func (s sums) shares(total int64) []Share {
	if len(s) == 1 && s[unlabelled] > 0 {
		return nil
	}
	list := make([]Share, 0, len(s))
	for name, nanos := range s {
		list = append(list, Share{Name: name, Seconds: time.Duration(nanos).Seconds(), Part: float64(nanos) / float64(max(total, 1))})
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Name, b.Name))
	})
	return list
}
