package tidy

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// A Tree is what the rules look at: every Go file and every Markdown page of a
// repository. It is read once and must be used by one goroutine at a time.
type Tree struct {
	files    fs.FS
	module   string // module path, from go.mod
	fset     *token.FileSet
	sources  []*source
	packages []*pkg
	pages    []*page
	broken   []Problem // files that do not parse
}

// source is one Go file.
type source struct {
	path string
	text []byte
	file *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) dir() string {
	return path.Dir(s.path)
}

// pkg is the files of one directory with one package name, whatever they are
// built for.
type pkg struct {
	dir, name string
	sources   []*source
	symbols   map[string]bool // Name, Type.Method, Type.Field
}

// page is one Markdown file.
type page struct {
	path  string
	lines []string
}

// Load reads the repository below files. A Go file that does not parse becomes a
// Problem of the rule "parse" and is left out otherwise. Directories whose names
// begin with a dot or an underscore are skipped, and so is testdata, but for a
// package in testdata itself.
func Load(files fs.FS) (*Tree, error) {
	t := &Tree{files: files, fset: token.NewFileSet(), module: "unknown"}
	if text, err := fs.ReadFile(files, "go.mod"); err == nil {
		if m := modulePattern.FindSubmatch(text); m != nil {
			t.module = string(m[1])
		}
	}
	if err := fs.WalkDir(files, ".", t.visit); err != nil {
		return nil, err
	}
	t.group()
	return t, nil
}

var modulePattern = regexp.MustCompile(`(?m)^module\s+(\S+)`)

func (t *Tree) visit(name string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if entry.IsDir() {
		if hidden := strings.HasPrefix(entry.Name(), ".") || strings.HasPrefix(entry.Name(), "_"); hidden && name != "." {
			return fs.SkipDir
		}
		if strings.Contains(name, "/testdata") || strings.HasPrefix(name, "testdata/") {
			return fs.SkipDir
		}
		return nil
	}
	switch path.Ext(name) {
	case ".go":
		return t.addSource(name)
	case ".md":
		return t.addPage(name)
	}
	return nil
}

func (t *Tree) addSource(name string) error {
	text, err := fs.ReadFile(t.files, name)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments)
	if err != nil {
		t.broken = append(t.broken, Problem{Path: name, Text: err.Error()})
		return nil
	}
	t.sources = append(t.sources, &source{name, text, file})
	return nil
}

func (t *Tree) addPage(name string) error {
	text, err := fs.ReadFile(t.files, name)
	if err != nil {
		return err
	}
	t.pages = append(t.pages, &page{name, strings.Split(string(text), "\n")})
	return nil
}

// group sorts the sources into packages; tests of package x_test are one apart.
func (t *Tree) group() {
	found := map[[2]string]*pkg{}
	for _, s := range t.sources {
		key := [2]string{s.dir(), s.file.Name.Name}
		p := found[key]
		if p == nil {
			p = &pkg{dir: key[0], name: key[1], symbols: map[string]bool{}}
			found[key] = p
			t.packages = append(t.packages, p)
		}
		p.sources = append(p.sources, s)
		addSymbols(p.symbols, s.file)
	}
}

// library reports whether others can import the package: it is no command and no
// external test.
func (p *pkg) library() bool { return p.name != "main" && !strings.HasSuffix(p.name, "_test") }

// shipped returns the files that are not tests.
func (p *pkg) shipped() []*source {
	var list []*source
	for _, s := range p.sources {
		if !s.test() {
			list = append(list, s)
		}
	}
	return list
}

// doc returns the package as go doc shows it, or nil if it has nothing but tests.
func (p *pkg) doc(t *Tree) *doc.Package {
	var files []*ast.File
	for _, s := range p.shipped() {
		files = append(files, s.file)
	}
	if len(files) == 0 {
		return nil
	}
	d, err := doc.NewFromFiles(t.fset, files, path.Join(t.module, p.dir), doc.PreserveAST)
	if err != nil {
		return nil
	}
	return d
}

func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// at makes a Problem at a place in the source.
func (t *Tree) at(pos token.Pos, text string) Problem {
	p := t.fset.Position(pos)
	return Problem{Path: p.Filename, Line: p.Line, Text: text}
}

// lookup returns the package in a directory that others can import, or nil.
func (t *Tree) lookup(dir string) *pkg {
	for _, p := range t.packages {
		if p.dir == dir && p.library() {
			return p
		}
	}
	return nil
}
