// Command mutants tests the tests: it switches on each bug of package internal/mutant
// in turn and wants a test to fail of it. Run it by `make mutants`; arguments name the
// bugs to try, all of them if there are none.
//
// Each bug has a place where it is expected to show, so that most cost seconds. When it
// does not show there, everything else is run as well before it counts as missed. All
// tests are run without a bug first: one that fails anyway catches nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/internal/matrix"
)

// patience is how long the tests of a package may take before they are said to hang,
// which is a way to fail.
const patience = 12 * time.Minute

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// A probe is some tests of a package.
type probe struct{ dir, tests string }

// A hunter runs tests with a bug, or without one.
type hunter struct {
	packages []string         // where to look, cheap ones first
	expected map[string]probe // where a bug shows first
	variable string           // that names the bug to the tests
	sound    map[probe]bool   // tests that pass without a bug
	build    func(dir string) (binary string, err error)
}

// checkExpected runs the tests that are expected to catch the bugs, without any, once for
// each package.
func (h *hunter) checkExpected(bugs []string) error {
	for _, dir := range h.packages {
		var tests []string
		for _, bug := range bugs {
			if p := h.expected[bug]; p.dir == dir && !slices.Contains(tests, p.tests) {
				tests = append(tests, p.tests)
			}
		}
		if len(tests) == 0 {
			continue
		}
		if err := h.require(probe{dir, strings.Join(tests, "|")}); err != nil {
			return err
		}
		for _, of := range tests {
			h.sound[probe{dir, of}] = true
		}
	}
	return nil
}

// require makes sure that tests pass without a bug.
func (h *hunter) require(p probe) error {
	if h.sound[p] {
		return nil
	}
	at := time.Now()
	by, err := h.try(p, "")
	if err == nil && by != "" {
		err = fmt.Errorf("without any bug a test fails, and would seem to catch them all: %s", by)
	}
	if err != nil {
		return err
	}
	h.sound[p] = true
	fmt.Printf("%-26s %s passes what is run there (%.1f s)\n", "no bug", p.dir, time.Since(at).Seconds())
	return nil
}

// hunt runs tests with a bug until one fails, and says which; "" if none does.
func (h *hunter) hunt(bug string) (by string, err error) {
	probes := []probe{}
	if first, ok := h.expected[bug]; ok {
		probes = append(probes, first)
	}
	for _, dir := range h.packages {
		probes = append(probes, probe{dir: dir, tests: "^Test"})
	}
	for _, p := range probes {
		if err := h.require(p); err != nil {
			return "", err
		}
		if by, err = h.try(p, bug); by != "" || err != nil {
			return by, err
		}
	}
	return "", nil
}

// try runs tests with a bug, or with none, in the directory of their package, as go test
// does. It says which test failed; "" if none did.
func (h *hunter) try(p probe, bug string) (by string, err error) {
	binary, err := h.build(p.dir)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	test := exec.CommandContext(ctx, binary, "-test.failfast", "-test.run", p.tests, "-test.timeout", patience.String())
	test.Dir = p.dir
	test.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, matrix.Variable+"=") || strings.HasPrefix(v, h.variable+"=")
	})
	if bug != "" {
		test.Env = append(test.Env, h.variable+"="+bug)
	}
	out, err := test.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	return p.dir + ": " + blame(out), nil
}

// blame finds the name of the test that failed: the innermost of the first one, or what
// ended the process.
func blame(out []byte) string {
	by := ""
	for _, m := range failed.FindAllSubmatch(out, -1) {
		if name := string(m[1]); by == "" || strings.HasPrefix(name, by+"/") {
			by = name
		}
	}
	if by != "" {
		return by
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return "the end of the process: " + lines[0]
}
