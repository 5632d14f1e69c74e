package tidy

import (
	"go/ast"
	"go/token"
)

// decl is one exported name and what is said about it.
type decl struct {
	name    string            // as in Type.Method
	pos     token.Pos         // of the name
	doc     *ast.CommentGroup // above it
	comment *ast.CommentGroup // behind it
	group   *ast.CommentGroup // above the group or the run of fields that it stands in
	named   bool              // the comment must begin with the name
	field   bool              // a field of a struct
}

// last returns the name without its type.
func (d decl) last() string {
	for i := len(d.name) - 1; i >= 0; i-- {
		if d.name[i] == '.' {
			return d.name[i+1:]
		}
	}
	return d.name
}

// exported returns the exported names of a file, in its order.
func (t *Tree) exported(file *ast.File) []decl {
	var list []decl
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			list = append(list, exportedFunc(d)...)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				list = append(list, t.exportedSpec(d, spec)...)
			}
		}
	}
	return list
}

func exportedFunc(f *ast.FuncDecl) []decl {
	name := f.Name.Name
	if receiver := receiverName(f); receiver != "" {
		if !ast.IsExported(receiver) {
			return nil
		}
		name = receiver + "." + name
	}
	if !f.Name.IsExported() {
		return nil
	}
	return []decl{{name: name, pos: f.Name.Pos(), doc: f.Doc, named: true}}
}

// receiverName returns the type that f is a method of, or "".
func receiverName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	return typeName(f.Recv.List[0].Type)
}

// typeName returns the name of a type without pointer, package and parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func (t *Tree) exportedSpec(d *ast.GenDecl, spec ast.Spec) []decl {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return nil
		}
		doc := spec.Doc
		if doc == nil && !d.Lparen.IsValid() {
			doc = d.Doc
		}
		list := []decl{{name: spec.Name.Name, pos: spec.Pos(), doc: doc, named: true}}
		return append(list, t.members(spec)...)
	case *ast.ValueSpec:
		return exportedValues(d, spec)
	}
	return nil
}

func exportedValues(d *ast.GenDecl, spec *ast.ValueSpec) []decl {
	var list []decl
	for _, name := range spec.Names {
		if !name.IsExported() {
			continue
		}
		one := decl{name: name.Name, pos: name.Pos(), doc: spec.Doc, comment: spec.Comment, group: d.Doc, named: len(spec.Names) == 1}
		if !d.Lparen.IsValid() {
			one.doc, one.group = d.Doc, nil
		}
		list = append(list, one)
	}
	return list
}

// members returns the exported fields of a struct or methods of an interface. A
// member without a comment of its own shares the one of the member right above it.
func (t *Tree) members(spec *ast.TypeSpec) []decl {
	var list []decl
	var run *ast.CommentGroup
	_, isStruct := spec.Type.(*ast.StructType)
	last := 0
	for _, f := range fields(spec.Type) {
		if f.Doc != nil {
			run = f.Doc
		} else if t.line(f.Pos()) > last+1 {
			run = nil
		}
		last = t.line(f.End())
		for _, name := range f.Names {
			if name.IsExported() {
				one := decl{name: spec.Name.Name + "." + name.Name, pos: name.Pos(), doc: f.Doc, comment: f.Comment, group: run, field: isStruct}
				list = append(list, one)
			}
		}
	}
	return list
}

func fields(e ast.Expr) []*ast.Field {
	switch e := e.(type) {
	case *ast.StructType:
		return e.Fields.List
	case *ast.InterfaceType:
		return e.Methods.List
	}
	return nil
}

// addSymbols adds what a doc link to this file may name.
func addSymbols(symbols map[string]bool, file *ast.File) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if receiver := receiverName(d); receiver != "" {
				name = receiver + "." + name
			}
			symbols[name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				addSpec(symbols, spec)
			}
		}
	}
}

func addSpec(symbols map[string]bool, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			symbols[name.Name] = true
		}
	case *ast.TypeSpec:
		symbols[spec.Name.Name] = true
		for _, f := range fields(spec.Type) {
			for _, name := range f.Names {
				symbols[spec.Name.Name+"."+name.Name] = true
			}
			if len(f.Names) == 0 {
				symbols[spec.Name.Name+"."+typeName(f.Type)] = true
			}
		}
	}
}
