package slab

import (
	"os/exec"
	"strings"
	"testing"
)

// Goal: what a lookup runs has no bounds check.
// Method: the compiler is asked for those that it leaves; table.go and index.go have
// the whole of Touch, TouchEntry, Find, Insert and Delete for keys within their entry.
func TestLookupsHaveNoBoundsCheck(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-d=ssa/check_bce", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "vector.go") {
		t.Fatalf("the compiler has not said what it checks:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "table.go") || strings.Contains(line, "index.go") {
			t.Error(line)
		}
	}
}
