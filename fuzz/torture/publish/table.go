package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/internal/matrix"
)

// A table is the rows of the matrix, added up.
type table struct {
	rows    []*entry
	seconds float64
}

// An entry is a row of the table.
type entry struct {
	matrix.Row
	ran     int // tests that were not skipped
	skipped int
}

// read reads the rows, one JSON object a line.
func read(text string) (*table, error) {
	t := &table{}
	known := map[[3]string]*entry{}
	for n, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var r matrix.Row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		key := [3]string{r.Row, r.Name, r.Goal}
		e := known[key]
		if e == nil {
			e = &entry{Row: matrix.Row{Row: r.Row, Name: r.Name, Goal: r.Goal, System: r.System}}
			known[key] = e
			t.rows = append(t.rows, e)
		}
		t.add(e, r)
	}
	slices.SortStableFunc(t.rows, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.Row.Row[:1], b.Row.Row[:1]), cmp.Compare(number(a.Row.Row), number(b.Row.Row)))
	})
	return t, nil
}

func (t *table) add(e *entry, r matrix.Row) {
	t.seconds += r.Seconds
	if r.Skipped != "" {
		e.skipped++
		e.Skipped = r.Skipped
		return
	}
	e.ran++
	e.Cycles, e.Checked, e.Violations, e.Seconds = e.Cycles+r.Cycles, e.Checked+r.Checked, e.Violations+r.Violations, e.Seconds+r.Seconds
}

// number is the number in the name of a row.
func number(row string) int {
	n, _ := strconv.Atoi(strings.TrimLeft(row, "RS")) // 0 if there is none
	return n
}

// text is the table in Markdown, with a sentence that sums it up.
func (t *table) text(here string) string {
	var b strings.Builder
	var cycles, checked, violations int64
	skipped := 0
	for _, e := range t.rows {
		cycles, checked, violations, skipped = cycles+e.Cycles, checked+e.Checked, violations+e.Violations, skipped+e.skipped
	}
	fmt.Fprintf(&b, "%s\n\n%s cycles, %s acknowledged events looked for, **%d violations**, %d tests skipped; %s of tests.\n\n",
		here, grouped(cycles), grouped(checked), violations, skipped, lasted(t.seconds))
	b.WriteString("| row | what was done | goal | on | cycles | events checked | violations | skipped |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, e := range t.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %s |\n", e.Row.Row, cell(e.Name), cell(e.Goal), e.System,
			grouped(e.Cycles), grouped(e.Checked), e.Violations, e.skips())
	}
	return b.String()
}

func (e *entry) skips() string {
	if e.skipped == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s", e.skipped, cell(e.Skipped))
}

// failed is an error if a goal was missed.
func (t *table) failed() error {
	var all []error
	for _, e := range t.rows {
		if e.Violations > 0 {
			all = append(all, fmt.Errorf("%s, %s: %d violations", e.Row.Row, e.Name, e.Violations))
		}
	}
	return errors.Join(all...)
}

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", "/"), "\n", " ") }

// grouped is a number with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func lasted(seconds float64) string {
	if seconds < 120 {
		return fmt.Sprintf("%.0f seconds", seconds)
	}
	return fmt.Sprintf("%.0f minutes", seconds/60)
}

// The markers between which the table is.
const (
	beginMarker = "<!-- matrix: begin; made by make torture -->"
	endMarker   = "<!-- matrix: end -->"
)

// replaced is a page with another table.
func replaced(page, text string) (string, error) {
	head, rest, found := strings.Cut(page, beginMarker)
	_, tail, ended := strings.Cut(rest, endMarker)
	if !found || !ended {
		return "", fmt.Errorf("the page has no place for the table between %q and %q", beginMarker, endMarker)
	}
	return head + beginMarker + "\n" + text + endMarker + tail, nil
}
