package tidy

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// typedAtomics are the names of sync/atomic that may be used. Functions on plain
// words leave it to every reader to know that a word is shared.
var typedAtomics = []string{"Bool", "Int32", "Int64", "Uint32", "Uint64", "Uintptr", "Pointer", "Value"}

func checkAtomics(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		s.eachUse("sync/atomic", func(use *ast.SelectorExpr) {
			if !slices.Contains(typedAtomics, use.Sel.Name) {
				report(t.at(use.Pos(), "atomic."+use.Sel.Name+" works on a plain word; declare it as atomic.Uint64 or the like"))
			}
		})
	}
}

func checkSleep(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		if !s.test() {
			continue
		}
		s.eachUse("time", func(use *ast.SelectorExpr) {
			if use.Sel.Name == "Sleep" {
				report(t.at(use.Pos(), "a test must not sleep: it is slow or it fails now and then; wait for what must happen, or use testing/synctest"))
			}
		})
	}
}

// eachUse visits every use of a package's names. A local variable that hides the
// package is taken for it.
func (s *source) eachUse(importPath string, visit func(*ast.SelectorExpr)) {
	local := ""
	for _, spec := range s.file.Imports {
		if importOf(spec) != importPath {
			continue
		}
		local = path.Base(importPath)
		if spec.Name != nil {
			local = spec.Name.Name
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if use, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := use.X.(*ast.Ident); ok && x.Name == local {
				visit(use)
			}
		}
		return true
	})
}

func importOf(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return ""
	}
	return name
}

// checkSeeds wants a corpus for every fuzz target, so that go test alone already
// runs it on the cases that matter.
func checkSeeds(t *Tree, report func(Problem)) {
	for _, s := range t.sources {
		if !s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Body == nil || len(f.Type.Params.List) != 1 {
				continue
			}
			if !seeds(f) && !t.hasFiles(path.Join(s.dir(), "testdata/fuzz", f.Name.Name)) {
				report(t.at(f.Pos(), f.Name.Name+" has no seeds; call f.Add, or put them into testdata/fuzz/"+f.Name.Name))
			}
		}
	}
}

// seeds reports whether f calls Add on its parameter, or hands it to a function
// that may.
func seeds(f *ast.FuncDecl) bool {
	names := f.Type.Params.List[0].Names
	if len(names) == 0 {
		return false
	}
	isParameter := func(e ast.Expr) bool {
		x, ok := e.(*ast.Ident)
		return ok && x.Name == names[0].Name
	}
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if use, ok := call.Fun.(*ast.SelectorExpr); ok && isParameter(use.X) && use.Sel.Name == "Add" {
			found = true
		}
		found = found || slices.ContainsFunc(call.Args, isParameter)
		return true
	})
	return found
}
