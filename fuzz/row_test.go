package fuzz

import (
	"testing"
	"time"

	"github.com/keyfold/keyfold/internal/matrix"
)

// A row is what a test adds to the matrix when it ends.
type row struct {
	matrix.Row
	t *testing.T
}

// tries begins a row: which fault, what is done, and the goal. The test counts its
// cycles and what it has checked.
func tries(t *testing.T, fault, name, goal string) *row {
	t.Helper()
	r := &row{Row: matrix.Row{Row: fault, Name: name, Goal: goal}, t: t}
	began := time.Now()
	t.Cleanup(func() {
		r.Seconds = time.Since(began).Seconds()
		if t.Failed() {
			r.Violations++
		}
		if err := matrix.Add(r.Row); err != nil {
			t.Error(err)
		}
		t.Logf("%s, %s: %d cycles, %d checked", r.Row.Row, r.Name, r.Cycles, r.Checked)
	})
	return r
}

// counted adds a cycle after which the events of the oracle were there.
func (r *row) counted(o *oracle) {
	r.Cycles++
	o.each(func(l *line) { r.Checked += int64(l.safe) })
}
