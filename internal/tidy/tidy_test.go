package tidy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const root = "../.."

func TestRepositoryKeepsTheHouseRules(t *testing.T) {
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.sources) == 0 || tree.module == "unknown" {
		t.Fatal("found no source; the test must run inside the repository")
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, p := range rule.Run(tree) {
				t.Error(p)
			}
		})
	}
}

// The library goes into other people's programs, so what it links is part of its
// price. The list holds for every platform.
func TestLibraryLinksFewModules(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, "engine")); err != nil {
		t.Skip("there is no engine to link yet")
	}
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-e", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./engine")
		list.Dir = root
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		modules, err := list.Output()
		if err != nil {
			t.Skipf("go list does not work here: %v", err)
		}
		for _, name := range unlinkable(string(modules), "github.com/keyfold/keyfold") {
			t.Errorf("on %s package engine links %s; do without, or move what needs it out of the library", system, name)
		}
	}
}
