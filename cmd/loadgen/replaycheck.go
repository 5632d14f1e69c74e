package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/bench/store"
)

// replayCheckCommand folds the log of a run again, twice.
type replayCheckCommand struct {
	Dir string `arg:"" type:"path" help:"The --dir of the run."`
}

// Run folds, compares and says what was found.
func (c *replayCheckCommand) Run(p *process) error {
	d, err := readDescription(c.Dir)
	if err != nil {
		return err
	}
	d.Store.Dir = filepath.Join(c.Dir, storeName)
	if entries, err := os.ReadDir(d.Store.Dir); err != nil || len(entries) == 0 {
		return usage("%s holds no store", d.Store.Dir)
	}
	report, err := store.ReplayCheck(p.ctx, d.Store)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%-10s%d events of the log, each twice\n", "folded", report.Events)
	fmt.Fprintf(p.stdout, "%-10s%d states with a later snapshot\n", "compared", report.Compared)
	for _, t := range report.Tables {
		fmt.Fprintf(p.stdout, "%-10s%q: %d keys, digest %016x\n", "table", t.Name, t.Keys, t.Digest)
	}
	for _, note := range report.Notes {
		fmt.Fprintf(p.stdout, "%-10s%s\n", "note", note)
	}
	if report.First != nil {
		return &exitError{exitVerify, fmt.Errorf("%d states differ; the first: %w", report.Different, report.First)}
	}
	fmt.Fprintf(p.stdout, "%-10snothing\n", "differs")
	return nil
}
