package tidy

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a further table may compile: a program compiles as much again for each of its tables of
// other types, and the tests of package engine have eighty.
const (
	tableFunctionsMax = 230 // 199 with Go 1.26
	tableBytesMax     = 60_000
)

// Goal: of the engine only what needs the types of a table is compiled for each. Method: a
// package with one table and the same with a second one, and the difference of the functions
// in what the compiler makes of them.
func TestTableCompilesOnlyWhatNeedsItsTypes(t *testing.T) {
	functions, size := compiled(t, "second")
	before, sizeBefore := compiled(t, "first")
	functions, size = functions-before, size-sizeBefore
	t.Logf("a further table compiles %d functions of %d bytes", functions, size)
	if functions < 20 || functions > tableFunctionsMax || size > tableBytesMax {
		t.Errorf("a further table compiles %d functions of %d bytes, at most %d and %d are wanted: what does not call functions of the table or hand out its values belongs into types without parameters",
			functions, size, tableFunctionsMax, tableBytesMax)
	}
}

// compiled counts the functions of testdata/tables under a build tag, and their bytes.
func compiled(t *testing.T, tag string) (functions, size int) {
	archive := filepath.Join(t.TempDir(), "tables.a")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, "-o", archive, "./testdata/tables").CombinedOutput(); err != nil {
		t.Skipf("go build does not work here: %v: %s", err, out)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", "-size", archive).Output()
	if err != nil {
		t.Skipf("go tool nm does not work here: %v", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(symbols)); lines.Scan(); {
		var address, n, kind = "", 0, ""
		if _, err := fmt.Sscan(lines.Text(), &address, &n, &kind); err == nil && strings.EqualFold(kind, "T") {
			functions, size = functions+1, size+n
		}
	}
	return functions, size
}
