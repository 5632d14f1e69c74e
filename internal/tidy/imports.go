package tidy

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// layers says who may import whom: a package imports only what stands lower, or
// in its own directory. Neighbours of one height know nothing of each other.
var layers = map[string]int{
	"testdata":   0,
	"internal":   1,
	"window":     1,
	"wal":        2,
	"snapshot":   2,
	"shard":      3,
	"engine":     4,
	"enginetest": 5,
	"metrics":    5,
	"bench":      6,
	"fuzz":       6,
	"examples":   6,
	"contrib":    6,
	"cmd":        7,
}

// linkable are the modules that a program may get by importing package engine.
// Each has its reason in DESIGN.md.
var linkable = []string{
	"github.com/tidwall/wal",
	"github.com/tidwall/gjson",
	"github.com/tidwall/match",
	"github.com/tidwall/pretty",
	"github.com/tidwall/tinylru",
	"github.com/zeebo/xxh3",
	"github.com/klauspost/cpuid/v2",
	"github.com/valyala/fastjson",
	"github.com/gofrs/flock",
	"golang.org/x/sys",
}

func checkImports(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		if strings.HasSuffix(s.file.Name.Name, "_test") {
			continue // an external test is a user and may stand anywhere
		}
		for _, spec := range s.file.Imports {
			dir, ours := strings.CutPrefix(importOf(spec), t.module+"/")
			if !ours {
				continue
			}
			if wrong := judgeImport(s, dir); wrong != "" {
				report(t.at(spec.Pos(), wrong))
			}
		}
	}
}

// judgeImport says what is wrong with the import of dir by s, or "".
func judgeImport(s *source, dir string) string {
	from, _, _ := strings.Cut(s.dir(), "/")
	to, _, _ := strings.Cut(dir, "/")
	height, known := layers[from]
	if !known {
		return fmt.Sprintf("%s has no place among the layers; give it one in internal/tidy/imports.go", from)
	}
	below, known := layers[to]
	switch {
	case !known:
		return fmt.Sprintf("%s has no place among the layers; give it one in internal/tidy/imports.go", to)
	case from == "examples" && dir != "engine" && dir != "window" && !(s.test() && to == "enginetest"):
		return "an example shows what a user can do, so it imports engine and window and nothing else of ours"
	case from != to && below >= height:
		return fmt.Sprintf("%s must not import %s: imports point down, see internal/tidy/imports.go; move what is shared below both", from, dir)
	}
	return ""
}

// unlinkable returns the modules of list that the library must not link. list is
// one module path a line, as go list prints them.
func unlinkable(list, module string) []string {
	var wrong []string
	for _, name := range strings.Fields(list) {
		if name != module && !slices.Contains(linkable, name) && !slices.Contains(wrong, name) {
			wrong = append(wrong, name)
		}
	}
	return wrong
}

// ignorePrefix begins the comment that allows a place to break a rule.
const ignorePrefix = "//tidy:ignore "

// ignored reports whether the line of p, or the one above it, makes an exception.
func (t *Tree) ignored(p Problem) bool {
	found := false
	t.eachIgnore(func(s *source, c *ast.Comment, rule, reason string) {
		line := t.line(c.Pos())
		found = found || s.path == p.Path && rule == p.Rule && (line == p.Line || line == p.Line-1)
	})
	return found
}

// checkIgnores wants exceptions that name a rule and give a reason.
func checkIgnores(t *Tree, report func(Problem)) {
	t.eachIgnore(func(s *source, c *ast.Comment, rule, reason string) {
		known := slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Name == rule })
		if !known || rule == "ignore" || strings.TrimSpace(reason) == "" {
			report(t.at(c.Pos(), "an exception names a rule and a reason, as in \"//tidy:ignore size: generated\""))
		}
	})
}

func (t *Tree) eachIgnore(visit func(s *source, c *ast.Comment, rule, reason string)) {
	t.eachComment(func(s *source, c *ast.Comment) {
		if rest, ok := strings.CutPrefix(c.Text, ignorePrefix); ok {
			rule, reason, _ := strings.Cut(rest, ":")
			visit(s, c, rule, reason)
		}
	})
}
