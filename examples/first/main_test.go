package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// home is where this package lies: the example changes the directory.
var home, _ = os.Getwd()

// Twice in one directory: the second run knows of the first.
func Example() {
	dir, err := os.MkdirTemp("", "first")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		panic(err)
	}
	main()
	main()
	// Output:
	// 1 <nil>
	// 2 <nil>
}

func TestReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(home, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(home, "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	if shown, _, _ := strings.Cut(rest, "```"); shown != string(program) {
		t.Errorf("the first program of the README is not examples/first/main.go:\n%s", shown)
	}
}
