package report

import (
	"fmt"
	"strings"
	"time"
)

// table is one table, for Markdown and HTML. Each row ends with what every row must say.
type table struct {
	// caption stands above it, notes below it.
	caption string
	head    []string
	rows    [][]string
	notes   []string
}

// everywhere are the columns at the end of every table.
var everywhere = []string{"durability", "verified", "seed", "machine", "revision", "date"}

// newTable makes one with columns of its own between the number and what every row says.
func newTable(columns ...string) *table {
	return &table{head: append(append([]string{"#"}, columns...), everywhere...)}
}

// row appends the cells of a result.
func (t *table) row(r *entry, own ...string) {
	all := append([]string{fmt.Sprint(r.number)}, own...)
	all = append(all, r.Durability(), r.verified(), fmt.Sprint(r.Seed), r.machine, r.Machine.RevisionWords(), r.Started.UTC().Format(time.DateOnly))
	t.rows = append(t.rows, all)
}

// some is t, if it has rows.
func (t *table) some() []*table {
	if len(t.rows) == 0 {
		return nil
	}
	return []*table{t}
}

// markdown writes the table.
func (t *table) markdown(w *strings.Builder) {
	if t.caption != "" {
		w.WriteString(t.caption + ":\n\n")
	}
	cells(w, t.head)
	cells(w, strings.Split(strings.Repeat("-", len(t.head)), ""))
	for _, r := range t.rows {
		cells(w, r)
	}
	w.WriteString("\n")
	for _, n := range t.notes {
		w.WriteString("- " + n + "\n")
	}
	if len(t.notes) > 0 {
		w.WriteString("\n")
	}
}

func cells(w *strings.Builder, list []string) {
	for _, c := range list {
		w.WriteString("| " + strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ") + " ")
	}
	w.WriteString("|\n")
}
