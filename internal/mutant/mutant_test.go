package mutant_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/mutant"
)

// An ordinary build has none of the bugs: they are constants there, and false.
func TestAnOrdinaryBuildHasNoBugs(t *testing.T) {
	if mutant.Built {
		t.Skip("this is a build with bugs")
	}
	for name, value := range declared(t, "off.go", token.CONST) {
		if ident, ok := value.(*ast.Ident); !ok || ident.Name != "false" {
			t.Errorf("%s is not the constant false", name)
		}
	}
}

// Both builds know the same bugs.
func TestBothBuildsKnowTheSameBugs(t *testing.T) {
	off, on := declared(t, "off.go", token.CONST), declared(t, "on.go", token.VAR)
	delete(off, "Built")
	delete(on, "Names")
	a, b := slices.Sorted(maps.Keys(off)), slices.Sorted(maps.Keys(on))
	if !slices.Equal(a, b) || len(a) < 12 {
		t.Errorf("without the tag %v, with it %v", a, b)
	}
}

// declared are the names that a file declares, with their values.
func declared(t *testing.T, name string, kind token.Token) map[string]ast.Expr {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]ast.Expr{}
	for _, d := range f.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == kind {
			for _, s := range d.Specs {
				v := s.(*ast.ValueSpec)
				all[v.Names[0].Name] = nil
				if len(v.Values) > 0 {
					all[v.Names[0].Name] = v.Values[0]
				}
			}
		}
	}
	return all
}
