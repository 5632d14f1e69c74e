package tidy

import (
	"go/ast"
	"go/build"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// unlinked matches what looks like a doc link and was left as plain text.
var unlinked = regexp.MustCompile(`(^|[^\w\])])\[\*?((?:[a-z]\w*\.)?[A-Z]\w+(?:\.[A-Z]\w*)?)\]($|[^\w\[({])`)

// checkDocLinks wants every [Name] in a comment that go doc shows to name something.
func checkDocLinks(t *Tree, report func(Problem)) {
	standard := standardLibrary{}
	for _, p := range t.packages {
		if strings.HasSuffix(p.name, "_test") {
			continue
		}
		for _, s := range p.shipped() {
			l := linker{tree: t, pkg: p, source: s, standard: standard}
			for _, group := range l.shown() {
				for _, name := range l.dead(group) {
					at := t.at(group.Pos(), "the link ["+name+"] leads nowhere; name something of this package, or of one that this file imports")
					at.Line += lineOf(group, name)
					report(at)
				}
			}
		}
	}
}

// linker resolves the doc links of one file.
type linker struct {
	tree     *Tree
	pkg      *pkg
	source   *source
	standard standardLibrary
}

// shown returns the comments of a file that go doc shows.
func (l linker) shown() []*ast.CommentGroup {
	var list []*ast.CommentGroup
	seen := map[*ast.CommentGroup]bool{nil: true}
	add := func(g *ast.CommentGroup) {
		if !seen[g] {
			seen[g] = true
			list = append(list, g)
		}
	}
	add(l.source.file.Doc)
	if l.pkg.library() {
		for _, d := range l.tree.exported(l.source.file) {
			add(d.group)
			add(d.doc)
			add(d.comment)
		}
	}
	return list
}

// dead returns the links of a comment that lead nowhere.
func (l linker) dead(group *ast.CommentGroup) []string {
	p := comment.Parser{
		LookupPackage: func(name string) (string, bool) { dir := l.importPath(name); return dir, dir != "" },
		LookupSym:     func(recv, name string) bool { return l.pkg.symbols[join(recv, name)] },
	}
	var list []string
	eachText(p.Parse(group.Text()).Content, func(x comment.Text) {
		switch x := x.(type) {
		case *comment.DocLink:
			if x.ImportPath != "" && !l.exists(x.ImportPath, join(x.Recv, x.Name)) {
				list = append(list, path.Base(x.ImportPath)+"."+join(x.Recv, x.Name))
			}
		case comment.Plain:
			for _, m := range unlinked.FindAllStringSubmatch(string(x), -1) {
				list = append(list, m[2])
			}
		}
	})
	return list
}

func join(recv, name string) string {
	if recv == "" {
		return name
	}
	return recv + "." + name
}

// importPath returns what a package name stands for in this file, or in the others
// of its package, which go doc reads together.
func (l linker) importPath(name string) string {
	if name == "" || name == l.pkg.name {
		return path.Join(l.tree.module, l.pkg.dir)
	}
	for _, s := range l.pkg.shipped() {
		for _, spec := range s.file.Imports {
			importPath := importOf(spec)
			local := strings.TrimSuffix(path.Base(importPath), "/v2")
			if spec.Name != nil {
				local = spec.Name.Name
			}
			if local == name {
				return importPath
			}
		}
	}
	if importPath, ok := comment.DefaultLookupPackage(name); ok {
		return importPath
	}
	return ""
}

// exists reports whether a package has a name. Packages of other modules are not
// read and get the benefit of the doubt.
func (l linker) exists(importPath, name string) bool {
	if name == "" {
		return true
	}
	if dir, ours := strings.CutPrefix(importPath, l.tree.module+"/"); ours {
		p := l.tree.lookup(dir)
		return p != nil && p.symbols[name]
	}
	symbols := l.standard.symbols(importPath)
	return symbols == nil || symbols[name]
}

// standardLibrary holds the names of packages of the standard library, as far as
// links have asked for them.
type standardLibrary map[string]map[string]bool

// symbols returns the names of a package, or nil if it is not of the standard library.
func (lib standardLibrary) symbols(importPath string) map[string]bool {
	if known, ok := lib[importPath]; ok {
		return known
	}
	var symbols map[string]bool
	dir := filepath.Join(build.Default.GOROOT, "src", filepath.FromSlash(importPath))
	names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err == nil {
			if symbols == nil {
				symbols = map[string]bool{}
			}
			addSymbols(symbols, file)
		}
	}
	lib[importPath] = symbols
	return symbols
}

// eachText visits the text of a parsed comment, but for code.
func eachText(blocks []comment.Block, visit func(comment.Text)) {
	for _, b := range blocks {
		var text []comment.Text
		switch b := b.(type) {
		case *comment.Heading:
			text = b.Text
		case *comment.Paragraph:
			text = b.Text
		case *comment.List:
			for _, item := range b.Items {
				eachText(item.Content, visit)
			}
		}
		for _, x := range text {
			visit(x)
		}
	}
}

// lineOf returns how many lines into a comment a link stands.
func lineOf(group *ast.CommentGroup, name string) int {
	lines := 0
	for _, c := range group.List {
		for line := range strings.SplitSeq(c.Text, "\n") {
			if strings.Contains(line, name+"]") {
				return lines
			}
			lines++
		}
	}
	return 0
}

var (
	pageLink    = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s{0,3}\[[^\]]+\]:\s*(\S+)`)
	codeSpan    = regexp.MustCompile("`[^`]*`")
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// checkPageLinks wants every relative link in a page to lead to a file, and every
// anchor to a heading.
func checkPageLinks(t *Tree, report func(Problem)) {
	for _, p := range t.pages {
		p.eachProse(func(i int, line string) {
			for _, m := range pageLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, "code"), -1) {
				if target := m[1] + m[2]; !strings.Contains(target, ":") && !t.leads(p, target) {
					report(Problem{Path: p.path, Line: i + 1, Text: "the link to " + target + " leads nowhere; mend or remove it"})
				}
			}
		})
	}
}

// leads reports whether a link of page p leads somewhere.
func (t *Tree) leads(p *page, target string) bool {
	name, anchor, hasAnchor := strings.Cut(target, "#")
	file := p.path
	if name != "" {
		file = path.Join(path.Dir(p.path), name)
		if _, err := fs.Stat(t.files, file); err != nil {
			return false
		}
	}
	if !hasAnchor || path.Ext(file) != ".md" {
		return true
	}
	for _, other := range t.pages {
		if other.path == file {
			return other.anchors()[anchor]
		}
	}
	return false
}

// anchors returns the names of a page's headings, as the forges make them.
func (p *page) anchors() map[string]bool {
	found := map[string]bool{}
	p.eachProse(func(_ int, line string) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			slug := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found[strings.ReplaceAll(slug, " ", "-")] = true
		}
	})
	return found
}

// eachProse visits the lines of a page outside its code blocks.
func (p *page) eachProse(visit func(i int, line string)) {
	fenced := false
	for i, line := range p.lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			visit(i, line)
		}
	}
}

// hasFiles reports whether there is anything in a directory.
func (t *Tree) hasFiles(dir string) bool {
	entries, err := fs.ReadDir(t.files, dir)
	return err == nil && len(entries) > 0
}
