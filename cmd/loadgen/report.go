package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/bench/report"
)

// reportCommand writes BENCHMARKS.md, and what shows the same results in pictures.
type reportCommand struct {
	Files []string `arg:"" name:"file" type:"path" help:"JSON results, in the order of the rows."`
	Out   string   `short:"o" type:"path" placeholder:"FILE" help:"The page in Markdown; a part between its markers is replaced. BENCHMARKS.md, if nothing else is asked for."`
	HTML  string   `name:"html" type:"path" placeholder:"FILE" help:"A page with tables and charts that needs no network."`
	SVG   string   `name:"svg" type:"path" placeholder:"DIR" help:"Store the charts there, and show them in the page in Markdown."`
}

// Run writes the pages.
func (c *reportCommand) Run(p *process) error {
	results, err := report.ReadFiles(c.Files)
	if err != nil {
		return err
	}
	page := &report.Page{Results: results}
	if c.Out == "" && c.HTML == "" && c.SVG == "" {
		c.Out = "BENCHMARKS.md"
	}
	if c.HTML != "" || c.SVG != "" {
		if page.Charts, err = report.Charts(results); err != nil {
			return err
		}
	}
	return errors.Join(c.charts(p, page), c.html(p, page), c.markdown(p, page))
}

// charts stores each chart in a file.
func (c *reportCommand) charts(p *process, page *report.Page) error {
	if c.SVG == "" {
		return nil
	}
	if err := os.MkdirAll(c.SVG, 0o755); err != nil {
		return usage("--svg: %w", err)
	}
	for _, one := range page.Charts {
		if err := os.WriteFile(filepath.Join(c.SVG, one.File), one.SVG, 0o644); err != nil {
			return usage("--svg: %w", err)
		}
	}
	fmt.Fprintf(p.stdout, "%s: %d charts\n", c.SVG, len(page.Charts))
	return nil
}

func (c *reportCommand) html(p *process, page *report.Page) error {
	if c.HTML == "" {
		return nil
	}
	text, err := page.HTML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.HTML, text, 0o644); err != nil {
		return usage("--html: %w", err)
	}
	fmt.Fprintf(p.stdout, "%s: %d results, %d charts; open it in a browser\n", c.HTML, len(page.Results), len(page.Charts))
	return nil
}

// markdown writes the page in Markdown. Charts that are not stored are not shown.
func (c *reportCommand) markdown(p *process, page *report.Page) (err error) {
	if c.Out == "" {
		return nil
	}
	shown := *page
	if c.SVG == "" {
		shown.Charts = nil
	} else if shown.Folder, err = between(c.Out, c.SVG); err != nil {
		return err
	}
	old, err := os.ReadFile(c.Out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage("--out: %w", err)
	}
	text, err := shown.Markdown(string(old))
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, []byte(text), 0o644); err != nil {
		return usage("--out: %w", err)
	}
	fmt.Fprintf(p.stdout, "%s: %d results\n", c.Out, len(page.Results))
	return nil
}

// between is the folder as seen from the page.
func between(page, folder string) (string, error) {
	page, err := filepath.Abs(page)
	if err != nil {
		return "", err
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(filepath.Dir(page), folder)
	return filepath.ToSlash(rel), err
}
