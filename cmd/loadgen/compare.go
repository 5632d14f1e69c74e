package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
)

// compareCommand compares results.
type compareCommand struct {
	Before string  `arg:"" name:"old" help:"JSON of one result, or of several of the same command, separated by commas."`
	After  string  `arg:"" name:"new" help:"The same, of what is compared with it."`
	Limit  percent `placeholder:"5%" help:"Fail with code 3 if anything is worse by more than this, and by more than chance explains."`
}

// percent is a part such as 5%.
type percent float64

// UnmarshalText reads a percentage.
func (p *percent) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(f > 0) || f > 1e6 {
		return fmt.Errorf("%q is not a percentage such as 5%%", text)
	}
	*p = percent(f / 100)
	return nil
}

// Run compares.
func (c *compareCommand) Run(p *process) error {
	before, err := readSamples(c.Before)
	if err != nil {
		return err
	}
	after, err := readSamples(c.After)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%-32s %14s %14s %9s  %s\n", "", "old", "new", "delta", "")
	var worse []string
	compared := 0
	for _, old := range before.Samples {
		now := after.Sample(old.Name)
		if now == nil {
			continue
		}
		compared++
		d, err := stats.Compare(old.Rounds, now.Rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", old.Name, err)
		}
		fmt.Fprintf(p.stdout, "%-32s %14s %14s %+8.1f%%  %s\n", old.Name+" "+old.Unit, figure(d.Old), figure(d.New), 100*d.Delta, chance(&d))
		if c.beyond(&d, old.LessIsBetter) {
			worse = append(worse, fmt.Sprintf("%s by %.1f %%", old.Name, 100*max(d.Delta, -d.Delta)))
		}
	}
	if compared == 0 {
		return usage("%s and %s have no figure of the same name", c.Before, c.After)
	}
	notes(p.stdout, before, after)
	if len(worse) > 0 {
		return &exitError{exitLimit, fmt.Errorf("worse than before: %s", strings.Join(worse, ", "))}
	}
	return nil
}

// beyond says that a difference is worse than the limit allows. With too few rounds to
// tell it from chance, the medians decide.
func (c *compareCommand) beyond(d *stats.Difference, lessIsBetter bool) bool {
	worse := -d.Delta
	if lessIsBetter {
		worse = d.Delta
	}
	return c.Limit > 0 && worse > float64(c.Limit) && (d.Shown() || !d.Enough)
}

// chance says what a difference is worth.
func chance(d *stats.Difference) string {
	rounds := fmt.Sprintf("n=%d+%d", d.Rounds[0], d.Rounds[1])
	switch {
	case !d.Enough:
		return fmt.Sprintf("(%s: fewer than %d rounds each, chance is not ruled out)", rounds, stats.RoundsMin)
	case d.Shown():
		return fmt.Sprintf("(p=%.3f %s)", d.P, rounds)
	}
	return fmt.Sprintf("~ (p=%.3f %s: no more than chance)", d.P, rounds)
}

// figure writes a number with four digits or all before the point.
func figure(f float64) string {
	if f >= 1000 || f <= -1000 {
		return report.Count(int64(f))
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}

// samples are those of the results of one side.
type samples struct {
	report.Rounds
	names   []string
	results []*report.Result
}

// readSamples reads files and puts samples of the same name together.
func readSamples(files string) (*samples, error) {
	all := new(samples)
	for name := range strings.SplitSeq(files, ",") {
		r, err := report.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := sound(r); err != nil {
			return nil, fmt.Errorf("%s: %w; its figures mean nothing", name, err)
		}
		all.names, all.results = append(all.names, name), append(all.results, r)
		for _, s := range r.Compared() {
			if known := all.Sample(s.Name); known != nil {
				known.Rounds = append(known.Rounds, s.Rounds...)
			} else {
				all.Samples = append(all.Samples, s)
			}
		}
	}
	return all, nil
}

// sound is an error if a result is of a run that did not come to its end, or whose states
// were not right.
func sound(r *report.Result) error {
	if r.Failed != "" {
		return fmt.Errorf("the run failed: %s", r.Failed)
	}
	if r.Verify != nil {
		return failed(r.Verify)
	}
	return nil
}

// notes say what one side has and the other has not, and what makes results unlike: those
// of the same side, too.
func notes(w io.Writer, before, after *samples) {
	for _, list := range []struct{ of, in *samples }{{before, after}, {after, before}} {
		for _, s := range list.of.Samples {
			if list.in.Sample(s.Name) == nil {
				fmt.Fprintf(w, "%-10s%s is only in %s\n", "note", s.Name, strings.Join(list.of.names, ","))
			}
		}
	}
	first, told := before.results[0], map[string]bool{}
	for _, r := range slices.Concat(before.results[1:], after.results) {
		for _, note := range unlike(first, r) {
			if !told[note] {
				fmt.Fprintf(w, "%-10s%s\n", "note", note)
			}
			told[note] = true
		}
	}
}

// unlike lists what two results differ in besides their figures.
func unlike(a, b *report.Result) (list []string) {
	differ := func(what, a, b string) {
		if a != b {
			list = append(list, fmt.Sprintf("%s differs: %s, then %s", what, a, b))
		}
	}
	m, n := &a.Machine, &b.Machine
	differ("the processor", m.CPU, n.CPU)
	differ("the count of CPUs", strconv.Itoa(len(m.CPUs)), strconv.Itoa(len(n.CPUs)))
	differ("GOMAXPROCS", strconv.Itoa(m.GOMAXPROCS), strconv.Itoa(n.GOMAXPROCS))
	differ("the file system", m.FileSystem, n.FileSystem)
	differ("the Go version", m.Go, n.Go)
	differ("the input", a.Input, b.Input)
	differ("the size of an event", report.Bytes(uint64(a.EventBytes)), report.Bytes(uint64(b.EventBytes)))
	differ("the door", a.Door, b.Door)
	differ("the count of producers", strconv.Itoa(a.Producers), strconv.Itoa(b.Producers))
	differ("the window", report.Count(int64(a.Window)), report.Count(int64(b.Window)))
	differ("the rate", pace(a), pace(b))
	differ("the warm-up", report.Count(a.Warmup), report.Count(b.Warmup))
	differ("the durability", a.Durability(), b.Durability())
	differ("the count of shards", strconv.Itoa(a.Shards), strconv.Itoa(b.Shards))
	if m.Race || n.Race {
		list = append(list, "the race detector was on: its figures mean nothing")
	}
	return list
}

// pace is the rate of a load in words.
func pace(r *report.Result) string {
	if r.Rate == 0 {
		return "as fast as it goes"
	}
	return report.Count(int64(r.Rate)) + " events/s"
}
