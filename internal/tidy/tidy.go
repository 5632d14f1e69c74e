// Package tidy holds the house rules of this repository as a test. CONTRIBUTING.md
// gives the reasons; this package reads the source as text and syntax, without the
// network and without tools, and reports every place that breaks a rule, with what
// to do instead.
//
// A place that has to break a rule says so, with the reason, in a comment on its
// line or on the line above it:
//
//	//tidy:ignore atomics: the word lies in memory that the kernel writes
//
// Every rule has bad snippets in rules_test.go that it must report.
package tidy

import (
	"fmt"
	"slices"
	"strings"
)

// A Problem is one place that breaks a rule.
type Problem struct {
	Path string // from the root of the repository, with slashes
	Line int    // from 1; 0 if the whole file is meant
	Rule string // the name of the rule
	Text string // what is wrong and what to do instead
}

// String gives the place first, so that editors can jump to it.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s (%s)", p.Path, max(p.Line, 1), p.Text, p.Rule)
}

// A Rule is one of the house rules.
type Rule struct {
	Name  string                     // one word, as in //tidy:ignore comments
	Check func(*Tree, func(Problem)) // reports every place that breaks the rule
}

// Rules returns the house rules.
func Rules() []Rule {
	return []Rule{
		{"parse", checkParse},
		{"gofmt", checkFormat},
		{"comment", checkPackageComment},
		{"exported", checkExported},
		{"size", checkSize},
		{"name", checkNames},
		{"atomics", checkAtomics},
		{"sleep", checkSleep},
		{"imports", checkImports},
		{"output", checkOutput},
		{"open", checkOpenEnds},
		{"doclink", checkDocLinks},
		{"pagelink", checkPageLinks},
		{"seed", checkSeeds},
		{"mention", checkMentions},
		{"word", checkWords},
		{"ignore", checkIgnores},
	}
}

// Run applies one rule and returns what it found, in the order of the files,
// without the places that are marked as exceptions.
func (r Rule) Run(t *Tree) []Problem {
	var found []Problem
	r.Check(t, func(p Problem) {
		p.Rule = r.Name
		if !t.ignored(p) {
			found = append(found, p)
		}
	})
	slices.SortFunc(found, func(a, b Problem) int {
		if a.Path != b.Path {
			return strings.Compare(a.Path, b.Path)
		}
		return a.Line - b.Line
	})
	return found
}
