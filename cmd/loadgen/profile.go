package main

import (
	"fmt"

	pprof "github.com/google/pprof/profile"

	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/report"
)

// profileCommand says where the time went in a profile that was taken before.
type profileCommand struct {
	File  string `arg:"" type:"path" help:"A CPU profile: of go test -bench . -cpuprofile FILE, or of run --profile."`
	Diff  string `type:"path" placeholder:"FILE" help:"Say what changed since this profile, in parts of all CPU time."`
	Flame string `type:"path" placeholder:"FILE" help:"Write a flame graph, or with --diff what changed in it, as an HTML page that needs no network."`
}

// Run prints the table of a profile, or the difference of two, and writes the page.
func (c *profileCommand) Run(p *process) error {
	after, err := profile.Read(c.File)
	if err != nil {
		return usage("%w", err)
	}
	var before *pprof.Profile
	if c.Diff != "" {
		if before, err = profile.Read(c.Diff); err != nil {
			return usage("--diff: %w", err)
		}
	}
	if err := c.table(p, before, after); err != nil || c.Flame == "" {
		return err
	}
	if err := canWrite(c.Flame); err != nil {
		return usage("--flame: %w", err)
	}
	if err := profile.WriteFlame(c.Flame, after, before); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%-10s%s: open it in a browser\n", "flame", c.Flame)
	return nil
}

// table prints what a run with --profile prints.
func (c *profileCommand) table(p *process, before, after *pprof.Profile) error {
	if before != nil {
		changes, err := profile.Compare(before, after)
		if err == nil {
			report.Changes(p.stdout, changes)
		}
		return err
	}
	s, err := profile.Sum(after)
	if err == nil {
		s.File = c.File
		report.CPU(p.stdout, &s)
	}
	return err
}
