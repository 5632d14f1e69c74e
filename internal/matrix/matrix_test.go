package matrix_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/internal/matrix"
)

func TestRowsThatAreAddedAtOnceAreLinesOfTheirOwn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rows")
	t.Setenv(matrix.Variable, name)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if err := matrix.Add(matrix.Row{Row: "R1", Name: strings.Repeat("x", 100), Cycles: int64(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cycles := map[int64]bool{}
	for line := range strings.Lines(string(text)) {
		var r matrix.Row
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Row != "R1" {
			t.Fatalf("%q: %v", line, err)
		}
		cycles[r.Cycles] = true
	}
	if len(cycles) != 50 {
		t.Errorf("%d rows of 50", len(cycles))
	}
}

func TestWithoutAFileNothingIsWritten(t *testing.T) {
	t.Setenv(matrix.Variable, "")
	if err := matrix.Add(matrix.Row{Row: "R1"}); err != nil {
		t.Error(err)
	}
}

// A failing is a test that has failed, and ends when it is told.
type failing struct {
	*testing.T
	end func()
}

func (f *failing) Cleanup(end func()) { f.end = end }
func (f *failing) Failed() bool       { return true }

func TestATestThatFailsIsAViolationInItsRow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rows")
	t.Setenv(matrix.Variable, name)
	f := &failing{T: t}
	r := matrix.Begin(f, "R9", "flipped", "refused")
	r.Cycles += 3
	f.end()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var have matrix.Row
	if err := json.Unmarshal(text, &have); err != nil {
		t.Fatal(err)
	}
	have.Seconds = 0
	if want := (matrix.Row{Row: "R9", Name: "flipped", Goal: "refused", Cycles: 3, Violations: 1}); have != want {
		t.Errorf("%+v, want %+v", have, want)
	}
}
