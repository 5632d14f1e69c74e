package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/keyfold/keyfold/bench/report"
)

// reportCommand writes BENCHMARKS.md.
type reportCommand struct {
	Files []string `arg:"" name:"file" type:"path" help:"JSON results of runs and recoveries, in the order of the rows."`
	Out   string   `short:"o" type:"path" default:"BENCHMARKS.md" help:"The page; a part between its markers is replaced (${default})."`
}

// Run writes the page.
func (c *reportCommand) Run(p *process) error {
	var results []*report.Result
	for _, name := range c.Files {
		r, err := report.ReadFile(name)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	page, err := os.ReadFile(c.Out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := report.Markdown(string(page), results)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: %d results\n", c.Out, len(results))
	return os.WriteFile(c.Out, []byte(text), 0o644)
}
