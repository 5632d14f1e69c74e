package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"path"
	"slices"
	"strings"
)

// The limits of the house. A function fits a screen; a file is read in one go; a
// struct beyond its limit has owners that are not written down.
const (
	funcLinesMax    = 70
	fileLinesMax    = 600
	testLinesMax    = 1000
	structFieldsMax = 15
)

// forbidden names say nothing about what they hold, and so hold anything.
var forbidden = []string{"util", "utils", "helper", "helpers", "common", "misc", "base", "types", "manager", "v2"}

func checkParse(t *Tree, report func(Problem)) {
	for _, p := range t.broken {
		report(p)
	}
}

func checkFormat(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		formatted, err := format.Source(s.text)
		if err == nil && bytes.Equal(formatted, s.text) {
			continue
		}
		report(Problem{Path: s.path, Line: firstDifference(s.text, formatted), Text: "not formatted; run gofmt -w " + s.path})
	}
}

// firstDifference returns the first line in which two texts differ.
func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return 1 + bytes.Count(a[:i], []byte("\n"))
		}
	}
	return 1 + bytes.Count(a[:n], []byte("\n"))
}

func checkSize(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		limit := fileLinesMax
		if s.test() {
			limit = testLinesMax
		}
		if n := bytes.Count(s.text, []byte("\n")); n > limit {
			report(Problem{Path: s.path, Text: fmt.Sprintf("%d lines, and %d are allowed; split it by idea", n, limit)})
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := t.line(n.End()) - t.line(n.Pos()) + 1; lines > funcLinesMax {
					report(t.at(n.Pos(), fmt.Sprintf("%s has %d lines, and %d are allowed; take a step out of it", n.Name.Name, lines, funcLinesMax)))
				}
			case *ast.StructType:
				// A test may well have one field of every kind there is.
				if count := fieldCount(n); count > structFieldsMax && !s.test() {
					report(t.at(n.Pos(), fmt.Sprintf("%d fields, and %d are allowed; group them by owner", count, structFieldsMax)))
				}
			}
			return true
		})
	}
}

// fieldCount counts names; padding does not count.
func fieldCount(s *ast.StructType) int {
	count := 0
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 {
			count++
		}
		for _, name := range f.Names {
			if name.Name != "_" {
				count++
			}
		}
	}
	return count
}

func checkNames(t *Tree, report func(Problem)) {
	const advice = "; name what it is, or put it beside its only caller"
	for _, p := range t.packages {
		for _, name := range []string{p.name, path.Base(p.dir)} {
			if slices.Contains(forbidden, strings.TrimSuffix(name, "_test")) {
				report(t.at(p.sources[0].file.Package, "a package must not be called "+name+advice))
				break
			}
		}
	}
	for _, s := range t.sources {
		for _, part := range strings.Split(strings.TrimSuffix(path.Base(s.path), ".go"), "_") {
			if slices.Contains(forbidden, part) {
				report(Problem{Path: s.path, Text: "a file must not be called " + part + advice})
			}
		}
	}
}
