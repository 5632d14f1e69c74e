package tidy

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

var (
	mention = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	quoted  = regexp.MustCompile("`[^`]*`|\"[^\"]*\"|'[^']*'")
)

// avoided are words for which the vocabulary has another one, and a promise that
// nobody can keep.
var avoided = []struct {
	pattern *regexp.Regexp
	advice  string
}{
	{regexp.MustCompile(`(?i)check[- ]?point`), "say \"snapshot\" for the image of the state, \"position\" for a cut"},
	{regexp.MustCompile(`(?i)change[- ]?log`), "say \"log\" for what recovery replays, \"changes\" for the feed"},
	{regexp.MustCompile(`(?i)exactly[- ]once deliver`), "say \"effectively once\""},
}

// checkMentions wants every test, fuzz target and benchmark that prose names to
// exist. In a page a whole name counts wherever it stands, code blocks included.
func checkMentions(t *Tree, report func(Problem)) {
	known := map[string]bool{}
	for _, s := range t.sources {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if x, ok := n.(*ast.Ident); ok {
				known[x.Name] = true
			}
			return true
		})
	}
	t.eachProseLine(func(path string, i int, line string) {
		for _, name := range mention.FindAllString(line, -1) {
			if !known[name] {
				report(Problem{Path: path, Line: i, Text: name + " does not exist; name one that does"})
			}
		}
	})
}

// checkWords refuses avoided words in prose and in names. A word in quotes is
// mentioned, not used; CHANGELOG.md is a file.
func checkWords(t *Tree, report func(Problem)) {
	judge := func(path string, i int, text string) {
		for _, a := range avoided {
			if word := a.pattern.FindString(text); word != "" {
				report(Problem{Path: path, Line: i, Text: word + " is not a word of this project; " + a.advice})
			}
		}
	}
	t.eachProseLine(func(path string, i int, line string) {
		line = quoted.ReplaceAllString(line, "")
		judge(path, i, strings.ReplaceAll(strings.ReplaceAll(line, "CHANGELOG", ""), "# Changelog", ""))
	})
	for _, s := range t.sources {
		ast.Inspect(s.file, func(n ast.Node) bool {
			for _, x := range declared(n) {
				judge(s.path, t.line(x.Pos()), x.Name)
			}
			return true
		})
	}
}

// declared returns the names that a node declares. Those of other projects, which
// we only use, are theirs.
func declared(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.Field:
		return n.Names
	case *ast.AssignStmt:
		var names []*ast.Ident
		for _, left := range n.Lhs {
			if x, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE {
				names = append(names, x)
			}
		}
		return names
	}
	return nil
}

// eachProseLine visits every line of every comment and page, counted from 1.
func (t *Tree) eachProseLine(visit func(path string, i int, line string)) {
	t.eachComment(func(s *source, c *ast.Comment) {
		first := t.line(c.Pos())
		for i, line := range strings.Split(c.Text, "\n") {
			visit(s.path, first+i, line)
		}
	})
	for _, p := range t.pages {
		for i, line := range p.lines {
			visit(p.path, i+1, line)
		}
	}
}
