package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table is one table, for Markdown and HTML. Each row says what every row must say.
type table struct {
	// caption stands above it, notes below it; details are notes that are folded away.
	caption string
	head    []string
	rows    [][]string
	notes   []string
	details []string
}

// everywhere are the columns at the end of every table. Where all rows agree, what they
// say stands above the table, once; so do those of input, if there are several rows.
var (
	everywhere = []string{"durability", "verified", "seed", "machine", "sync", "revision", "date"}
	input      = []string{"input", "event", "warm-up", "door", "shards", "senders", "rate", "rounds"}
)

// newTable makes one with columns of its own between the number and what every row says.
func newTable(columns ...string) *table {
	return &table{head: append(append([]string{"#"}, columns...), everywhere...)}
}

// row appends the cells of a result.
func (t *table) row(r *entry, own ...string) {
	all := append([]string{fmt.Sprint(r.number)}, own...)
	all = append(all, r.Durability(), r.verified(), fmt.Sprint(r.Seed), r.machine, Nanos(r.Machine.Sync.P50), r.Machine.RevisionWords(), r.Started.UTC().Format(time.DateOnly))
	t.rows = append(t.rows, all)
}

// some is t, if it has rows.
func (t *table) some() []*table {
	if len(t.rows) == 0 {
		return nil
	}
	return []*table{t}
}

// folded is the table without the columns in which all rows agree, and with a caption
// that says what stood there.
func (t *table) folded() *table {
	out := &table{notes: t.notes, details: t.details, rows: make([][]string, len(t.rows))}
	var said []string
	if t.caption != "" {
		said = append(said, t.caption)
	}
	for i, name := range t.head {
		if t.liftable(name) && t.agree(i) {
			said = append(said, columnWords(name, t.rows[0][i]))
			continue
		}
		out.head = append(out.head, name)
		for j, r := range t.rows {
			out.rows[j] = append(out.rows[j], r[i])
		}
	}
	out.caption = strings.Join(said, " · ")
	return out
}

func (t *table) liftable(name string) bool {
	return slices.Contains(everywhere, name) || len(t.rows) > 1 && slices.Contains(input, name)
}

// agree says that all rows have the same in a column.
func (t *table) agree(column int) bool {
	return len(t.rows) > 0 && !slices.ContainsFunc(t.rows, func(r []string) bool { return r[column] != t.rows[0][column] })
}

// columnWords say what a column has in all rows.
func columnWords(name, value string) string {
	switch name {
	case "durability", "input", "date", "rate":
		return value
	case "verified":
		return "verified: " + value
	case "event":
		return "events of " + value
	case "warm-up":
		return "after " + value + " events"
	}
	return name + " " + value
}

// markdown writes the table.
func (t *table) markdown(w *strings.Builder) {
	f := t.folded()
	if f.caption != "" {
		w.WriteString("**" + f.caption + "**\n\n")
	}
	cells(w, f.head)
	cells(w, strings.Split(strings.Repeat("-", len(f.head)), ""))
	for _, r := range f.rows {
		cells(w, r)
	}
	w.WriteString("\n")
	list(w, f.notes)
	if len(f.details) > 0 {
		w.WriteString("<details><summary>What the rows are</summary>\n\n")
		list(w, f.details)
		w.WriteString("</details>\n\n")
	}
}

func list(w *strings.Builder, items []string) {
	for _, n := range items {
		w.WriteString("- " + n + "\n")
	}
	if len(items) > 0 {
		w.WriteString("\n")
	}
}

func cells(w *strings.Builder, list []string) {
	for _, c := range list {
		w.WriteString("| " + strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ") + " ")
	}
	w.WriteString("|\n")
}
