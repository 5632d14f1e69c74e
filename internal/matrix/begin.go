package matrix

import (
	"testing"
	"time"
)

// Begin begins the row of a test: which fault, what is done, and the goal. The test
// counts its cycles and what it has checked, or says why it does nothing; the row is
// added when the test has ended, with a violation if it has failed.
func Begin(t testing.TB, fault, name, goal string) *Row {
	t.Helper()
	r := &Row{Row: fault, Name: name, Goal: goal}
	began := time.Now()
	t.Cleanup(func() {
		r.Seconds = time.Since(began).Seconds()
		if t.Failed() {
			r.Violations++
		}
		if err := Add(*r); err != nil {
			t.Error(err)
		}
		t.Logf("%s, %s: %d cycles, %d checked", r.Row, r.Name, r.Cycles, r.Checked)
	})
	return r
}
