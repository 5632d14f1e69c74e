package tidy

import (
	"fmt"
	"go/ast"
	"go/doc"
	"slices"
	"strings"
)

// checkPackageComment asks go/doc, which a blank line above the package clause
// keeps from seeing a comment that a reader of the file sees.
func checkPackageComment(t *Tree, report func(Problem)) {
	for _, p := range t.packages {
		d := p.doc(t)
		if d == nil {
			continue
		}
		first := p.shipped()[0]
		switch {
		case d.Doc == "":
			report(t.at(first.file.Package, "package "+p.name+" has no package comment; write one that touches the package clause"))
		case p.library() && !strings.HasPrefix(d.Doc, "Package "+p.name+" "):
			report(t.at(first.file.Package, "the package comment must begin with \"Package "+p.name+" \""))
		}
		said := 0
		for _, s := range p.shipped() {
			if s.file.Doc == nil {
				continue
			}
			if said++; said > 1 {
				report(t.at(s.file.Package, "a second package comment; go doc would print both, so keep one file for it"))
			}
		}
	}
}

// public packages are the ones that users import. There every field is part of the
// contract; elsewhere the comment on its struct may be enough.
var public = []string{"engine", "enginetest"}

// checkExported wants a comment on every exported name of what can be imported.
func checkExported(t *Tree, report func(Problem)) {
	for _, p := range t.packages {
		if !p.library() {
			continue
		}
		for _, s := range p.shipped() {
			for _, d := range t.exported(s.file) {
				if d.field && !slices.Contains(public, p.dir) {
					continue
				}
				if wrong := judge(d); wrong != "" {
					report(t.at(d.pos, wrong))
				}
			}
		}
	}
}

// judge says what is wrong with the comment of an exported name, or "".
func judge(d decl) string {
	if d.doc == nil && d.comment == nil && d.group == nil {
		return d.name + " is exported and has no comment; say what a caller must know"
	}
	if d.doc == nil || !d.named {
		return ""
	}
	text := d.doc.Text()
	for _, article := range []string{"", "A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(text, article+d.last()); ok && (rest == "" || !isWord(rest[0])) {
			return ""
		}
	}
	return fmt.Sprintf("the comment on %s must begin with %q, so that go doc reads as sentences", d.name, d.last())
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// checkOutput wants every example to run: without an output comment it is only compiled.
func checkOutput(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		if !s.test() {
			continue
		}
		for _, e := range doc.Examples(s.file) {
			if e.Output == "" && !e.EmptyOutput {
				report(t.at(e.Code.Pos(), "Example"+e.Name+" has no \"// Output:\" and never runs; print something and state it"))
			}
		}
	}
}

// open words, written apart so that a search for them does not end here.
var openWords = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}

// checkOpenEnds refuses notes to oneself that nobody can look up.
func checkOpenEnds(t *Tree, report func(Problem)) {
	t.eachComment(func(s *source, c *ast.Comment) {
		for i, line := range strings.Split(c.Text, "\n") {
			for _, word := range openWords {
				at := wordAt(line, word)
				if at >= 0 && !strings.HasPrefix(line[at+len(word):], "(#") {
					p := t.at(c.Pos(), word+" without an issue; do it now, or write "+word+"(#12)")
					p.Line += i
					report(p)
				}
			}
		}
	})
}

// wordAt returns where word stands in line by itself, or -1.
func wordAt(line, word string) int {
	for from := 0; ; {
		i := strings.Index(line[from:], word)
		if i < 0 {
			return -1
		}
		i += from
		end := i + len(word)
		if (i == 0 || !isWord(line[i-1])) && (end == len(line) || !isWord(line[end])) {
			return i
		}
		from = end
	}
}

func (t *Tree) eachComment(visit func(*source, *ast.Comment)) {
	for _, s := range t.sources {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				visit(s, c)
			}
		}
	}
}
