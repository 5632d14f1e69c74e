package tidy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// snippet is a small repository and the places in it that a rule must report.
type snippet struct {
	rule  string
	files map[string]string
	want  string // "path:line" of each Problem, with spaces between; "" if all is well
}

// one is a repository of a single file.
func one(rule, name, text, want string) snippet {
	return snippet{rule, map[string]string{name: text}, want}
}

// The words that the rules look for must not stand in this file as themselves.
var openWord = "TO" + "DO"

var snippets = []snippet{
	one("parse", "wal/a.go", "package wal\nfunc {", "wal/a.go:1"),
	one("parse", "wal/a.go", "package wal\n", ""),

	one("gofmt", "wal/a.go", "package wal\n\nvar  a = 1\n", "wal/a.go:3"),
	one("gofmt", "wal/a.go", "package wal\n\nvar a = 1\n", ""),

	one("comment", "wal/a.go", "package wal\n", "wal/a.go:1"),
	one("comment", "wal/a.go", "// Package wal is invisible.\n\npackage wal\n", "wal/a.go:3"),
	one("comment", "wal/a.go", "// This is wal.\npackage wal\n", "wal/a.go:2"),
	one("comment", "cmd/x/main.go", "package main\n", "cmd/x/main.go:1"),
	one("comment", "cmd/x/main.go", "// X does it.\npackage main\n", ""),
	one("comment", "wal/a_test.go", "package wal_test\n", ""),
	{"comment", map[string]string{"wal/a.go": "// Package wal is one.\npackage wal\n", "wal/b.go": "// Package wal is two.\npackage wal\n"}, "wal/b.go:2"},

	one("exported", "wal/a.go", "package wal\n\nfunc Open() {}\n", "wal/a.go:3"),
	one("exported", "wal/a.go", "package wal\n\n// Opens it.\nfunc Open() {}\n", "wal/a.go:4"),
	one("exported", "wal/a.go", "package wal\n\n// Opening is not Open.\nfunc Open() {}\n", "wal/a.go:4"),
	one("exported", "wal/a.go", "package wal\n\n// Open opens.\nfunc Open() {}\n", ""),
	one("exported", "wal/a.go", "package wal\n\n// A Log is one.\ntype Log[T any] struct{}\n\nfunc (l *Log[T]) Sync() {}\n", "wal/a.go:6"),
	one("exported", "wal/a.go", "package wal\n\ntype log struct{}\n\nfunc (log) Sync() {}\n", ""),
	one("exported", "wal/a.go", "package wal\n\n// A Log is one.\ntype Log struct {\n\tA int\n}\n", ""),
	one("exported", "engine/a.go", "package engine\n\n// A Log is one.\ntype Log struct {\n\tA int\n\tb int\n\n\t// C is.\n\tC int\n\tD int\n\n\tE int\n\tF int // said\n}\n", "engine/a.go:5 engine/a.go:12"),
	one("exported", "wal/a.go", "package wal\n\n// A Log is one.\ntype Log interface {\n\tSync() error\n}\n", "wal/a.go:5"),
	one("exported", "wal/a.go", "package wal\n\nvar ErrA = 1\n\n// The limits.\nconst (\n\tMax = 1\n\tMin = 2\n)\n", "wal/a.go:3"),
	one("exported", "cmd/x/main.go", "package main\n\nfunc Open() {}\n", ""),

	one("size", "wal/a.go", "package wal\n\nfunc f() {\n"+strings.Repeat("\t_ = 1\n", 69)+"}\n", "wal/a.go:3"),
	one("size", "wal/a.go", "package wal\n\nfunc f() {\n"+strings.Repeat("\t_ = 1\n", 68)+"}\n", ""),
	one("size", "wal/a.go", "package wal\n"+strings.Repeat("\n", 600), "wal/a.go:1"),
	one("size", "wal/a_test.go", "package wal\n"+strings.Repeat("\n", 999), ""),
	one("size", "wal/a_test.go", "package wal\n"+strings.Repeat("\n", 1000), "wal/a_test.go:1"),
	one("size", "wal/a.go", "package wal\n\ntype s struct {\n\ta, b, c, d, e, f, g, h, i, j, k, l, m, n, o int\n\t_ [64]byte\n}\n", ""),
	one("size", "wal/a.go", "package wal\n\ntype s struct {\n\ta, b, c, d, e, f, g, h, i, j, k, l, m, n, o int\n\terror\n}\n", "wal/a.go:3"),
	one("size", "wal/a_test.go", "package wal\n\ntype s struct {\n\ta, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p int\n}\n", ""),

	one("name", "wal/util.go", "package wal\n", "wal/util.go:1"),
	one("name", "wal/sync_helpers_linux.go", "package wal\n", "wal/sync_helpers_linux.go:1"),
	one("name", "internal/common/a.go", "package common\n", "internal/common/a.go:1"),
	one("name", "wal/v2/a.go", "package wal\n", "wal/v2/a.go:1"),
	one("name", "wal/basement.go", "package wal\n", ""),

	one("atomics", "wal/a.go", "package wal\n\nimport \"sync/atomic\"\n\nvar n uint64\n\nfunc f() { atomic.AddUint64(&n, 1) }\n", "wal/a.go:7"),
	one("atomics", "wal/a.go", "package wal\n\nimport a \"sync/atomic\"\n\nvar n uint64\n\nfunc f() { a.StoreUint64(&n, 1) }\n", "wal/a.go:7"),
	one("atomics", "wal/a.go", "package wal\n\nimport \"sync/atomic\"\n\nvar n atomic.Uint64\n\nfunc f() { n.Add(1) }\n", ""),
	one("atomics", "wal/a.go", "package wal\n\nimport \"sync/atomic\"\n\nvar n uint64\n\n//tidy:ignore atomics: shared with the kernel\nfunc f() { atomic.AddUint64(&n, 1) }\n", ""),

	one("sleep", "wal/a_test.go", "package wal\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", "wal/a_test.go:5"),
	one("sleep", "wal/a.go", "package wal\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", ""),

	one("imports", "wal/a.go", "package wal\n\nimport _ \"example.com/m/shard\"\n", "wal/a.go:3"),
	one("imports", "wal/a.go", "package wal\n\nimport _ \"example.com/m/snapshot\"\n", "wal/a.go:3"),
	one("imports", "internal/ring/a.go", "package ring\n\nimport _ \"example.com/m/wal\"\n", "internal/ring/a.go:3"),
	one("imports", "shard/a.go", "package shard\n\nimport (\n\t_ \"example.com/m/internal/ring\"\n\t_ \"example.com/m/wal\"\n)\n", ""),
	one("imports", "engine/a_test.go", "package engine\n\nimport _ \"example.com/m/enginetest\"\n", "engine/a_test.go:3"),
	one("imports", "engine/a_test.go", "package engine_test\n\nimport _ \"example.com/m/enginetest\"\n", ""),
	one("imports", "examples/first/main.go", "package main\n\nimport _ \"example.com/m/shard\"\n", "examples/first/main.go:3"),
	one("imports", "examples/first/main.go", "package main\n\nimport _ \"example.com/m/engine\"\n", ""),
	one("imports", "stray/a.go", "package stray\n\nimport _ \"example.com/m/engine\"\n", "stray/a.go:3"),

	one("output", "wal/a_test.go", "package wal\n\nfunc ExampleOpen() {\n\tOpen()\n}\n", "wal/a_test.go:3"),
	one("output", "wal/a_test.go", "package wal\n\nfunc ExampleOpen() {\n\tOpen()\n\t// Output: open\n}\n", ""),
	one("output", "wal/a_test.go", "package wal\n\nfunc ExampleOpen() {\n\tOpen()\n\t// Output:\n}\n", ""),

	one("open", "wal/a.go", "package wal\n\n/* a\n"+openWord+" b */\n", "wal/a.go:4"),
	one("open", "wal/a.go", "package wal\n\n// "+openWord+"(anna): b\n", "wal/a.go:3"),
	one("open", "wal/a.go", "package wal\n\n// "+openWord+"(#12): b, "+openWord+"NT\n", ""),

	one("doclink", "wal/a.go", "package wal\n\n// Open is like\n// [Closed].\nfunc Open() {}\n", "wal/a.go:4"),
	one("doclink", "wal/a.go", "// Package wal has [Open], [*Log], [Log.Sync], [Log.Size], [os.ErrExist] and\n// a[Index], [T], [1, 2), [N]byte, [see RFC], [Page].\n//\n// [Page]: https://example.com\npackage wal\n\n// Open is.\nfunc Open() {}\n\n// A Log is.\ntype Log struct{ Size int }\n\n// Sync is.\nfunc (Log) Sync() {}\n", ""),
	one("doclink", "wal/a.go", "package wal\n\n// Open is like [Log.Sink] and [os.ErrNoSuch].\nfunc Open() {}\n\n// A Log is.\ntype Log struct{}\n", "wal/a.go:3 wal/a.go:3"),
	one("doclink", "wal/a.go", "package wal\n\n// open is like [Closed], which go doc never shows.\nfunc open() {}\n", ""),
	{"doclink", map[string]string{
		"engine/a.go": "// Package engine uses [wal.Open], [wal.Shut] and [ring.Ring].\npackage engine\n\nimport \"example.com/m/wal\"\n",
		"wal/a.go":    "package wal\n\n// Open is.\nfunc Open() {}\n",
	}, "engine/a.go:1 engine/a.go:1"},

	one("pagelink", "README.md", "# A b\n[a](DESIGN.md) [b](#a-b) [c](https://example.com) `[d](e)`\n\n```\n[f](g)\n```\n", "README.md:2"),
	one("pagelink", "README.md", "# A `B`, c!\n[a](#a-b-c)\n[b](#a-b)\n[c]: missing\n", "README.md:3 README.md:4"),
	{"pagelink", map[string]string{"README.md": "[a](docs/a.md#there) [b](docs/)\n", "docs/a.md": "## There\n[up](../README.md) [no](../NO.md)\n"}, "docs/a.md:2"},

	one("seed", "wal/a_test.go", "package wal\n\nfunc FuzzScan(f *testing.F) {\n\tf.Fuzz(nil)\n}\n", "wal/a_test.go:3"),
	one("seed", "wal/a_test.go", "package wal\n\nfunc FuzzScan(f *testing.F) {\n\tf.Add(1)\n\tf.Fuzz(nil)\n}\n", ""),
	one("seed", "wal/a_test.go", "package wal\n\nfunc FuzzScan(f *testing.F) {\n\taddLogs(f)\n\tf.Fuzz(nil)\n}\n", ""),
	{"seed", map[string]string{"wal/a_test.go": "package wal\n\nfunc FuzzScan(f *testing.F) {\n\tf.Fuzz(nil)\n}\n", "wal/testdata/fuzz/FuzzScan/1": "x"}, ""},

	{"mention", map[string]string{"BENCHMARKS.md": "x\n`Benchmark" + "Gone`, BenchmarkHere/bytes=1\n", "wal/a_test.go": "package wal\n\n// See Test" + "Gone.\nfunc BenchmarkHere() {}\n"}, "BENCHMARKS.md:2 wal/a_test.go:3"},

	one("word", "wal/a.go", "package wal\n\n// A "+"check"+"point is\n// not \"check"+"point\".\nvar lastCheck"+"point int\n", "wal/a.go:3 wal/a.go:5"),
	one("word", "README.md", "See CHANGELOG.md for the `change"+"log`,\nand the change"+"log, with exactly-once"+" delivery.\n", "README.md:2 README.md:2"),

	one("ignore", "wal/a.go", "package wal\n\n//tidy:ignore size: generated\n//tidy:ignore size:\n//tidy:ignore sise: generated\n", "wal/a.go:4 wal/a.go:5"),
}

func TestRulesReportWhatBreaksThem(t *testing.T) {
	for i, s := range snippets {
		t.Run(fmt.Sprintf("%s/%d", s.rule, i), func(t *testing.T) {
			found, err := run(s.rule, s.files)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range found {
				got = append(got, fmt.Sprintf("%s:%d", p.Path, max(p.Line, 1)))
			}
			if strings.Join(got, " ") != s.want {
				t.Errorf("reported %v, want %q\n%v", found, s.want, s.files)
			}
		})
	}
}

func TestEveryRuleHasABadSnippet(t *testing.T) {
	for _, rule := range Rules() {
		if !slices.ContainsFunc(snippets, func(s snippet) bool { return s.rule == rule.Name && s.want != "" }) {
			t.Errorf("no snippet breaks %s", rule.Name)
		}
	}
}

// run applies one rule to files, or every rule if it is "all".
func run(rule string, files map[string]string) ([]Problem, error) {
	repository := fstest.MapFS{"go.mod": {Data: []byte("module example.com/m\n")}}
	for name, text := range files {
		repository[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := Load(repository)
	if err != nil {
		return nil, err
	}
	var found []Problem
	for _, r := range Rules() {
		if r.Name == rule || rule == "all" {
			found = append(found, r.Run(tree)...)
		}
	}
	return found, nil
}

// Each snippet is seen by every rule, so none may stumble over what another is about.
func TestRulesBearEachOthersSnippets(t *testing.T) {
	for _, s := range snippets {
		if _, err := run("all", s.files); err != nil {
			t.Errorf("%v: %v", s.files, err)
		}
	}
}

func TestProblemSaysPlaceRuleAndAdvice(t *testing.T) {
	found, err := run("sleep", map[string]string{"wal/a_test.go": "package wal\n\nimport \"time\"\n\nvar _ = time.Sleep\n"})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	text := found[0].String()
	if !strings.HasPrefix(text, "wal/a_test.go:5: ") || !strings.Contains(text, "synctest") || !strings.HasSuffix(text, "(sleep)") {
		t.Error(text)
	}
}

func TestUnlinkableReportsStrangersOnce(t *testing.T) {
	list := "golang.org/x/sys\nexample.com/a\n\ngithub.com/keyfold/keyfold\nexample.com/a\n"
	if got := unlinkable(list, "github.com/keyfold/keyfold"); !slices.Equal(got, []string{"example.com/a"}) {
		t.Error(got)
	}
}
