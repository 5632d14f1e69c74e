package fuzz

import (
	"testing"

	"github.com/keyfold/keyfold/internal/matrix"
)

// A row is what a test adds to the matrix when it ends.
type row struct{ *matrix.Row }

// tries begins a row: which fault, what is done, and the goal. The test counts its
// cycles and what it has checked.
func tries(t *testing.T, fault, name, goal string) *row {
	t.Helper()
	return &row{matrix.Begin(t, fault, name, goal)}
}

// counted adds a cycle after which the events of the oracle were there.
func (r *row) counted(o *oracle) {
	r.Cycles++
	o.each(func(l *line) { r.Checked += int64(l.safe) })
}

// wholeRounds is how many rounds it takes for a test to leave nothing out: each bit of
// a log, each call of a kind. With fewer it tries a sample, another one each time.
const wholeRounds = 4

// longRounds is how many rounds make the long run.
const longRounds = 20

// stride is the distance of what is tried of n, if with one round about so many are.
func stride(n, sample int) int {
	if *rounds >= wholeRounds {
		return 1
	}
	return max(1, n/(max(1, sample)**rounds))
}
