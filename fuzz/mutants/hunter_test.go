package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// newHunter makes a hunter whose tests are a script. Its argument is the bug, if there is one.
func newHunter(t *testing.T, script string) *hunter {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	binary := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &hunter{
		packages: []string{"."}, expected: map[string]probe{"bug": {".", "TestNamed"}}, variable: "HUNTED_BUG", sound: map[probe]bool{},
		build: func(string) (string, error) { return binary, nil },
	}
}

const fails = "echo '--- FAIL: TestNamed (0.00s)'; echo '    --- FAIL: TestNamed/part (0.00s)'; exit 1\n"

// A test that fails anyway would seem to catch every bug.
func TestATestThatFailsWithoutABugEndsTheRun(t *testing.T) {
	h := newHunter(t, fails)
	if err := h.checkExpected([]string{"bug"}); err == nil || !strings.Contains(err.Error(), "TestNamed/part") {
		t.Errorf("it goes on: %v", err)
	}
	if by, err := h.hunt("bug"); err == nil {
		t.Errorf("caught by %q", by)
	}
}

func TestABugIsCaughtByTheTestThatFailsOfIt(t *testing.T) {
	h := newHunter(t, `[ "$HUNTED_BUG" = bug ] || exit 0`+"\n"+fails)
	if err := h.checkExpected([]string{"bug"}); err != nil {
		t.Fatal(err)
	}
	if by, err := h.hunt("bug"); by != ".: TestNamed/part" || err != nil {
		t.Errorf("caught by %q, %v", by, err)
	}
}

func TestABugThatNoTestFailsOfIsNotCaught(t *testing.T) {
	h := newHunter(t, "exit 0\n")
	if by, err := h.hunt("bug"); by != "" || err != nil {
		t.Errorf("caught by %q, %v", by, err)
	}
}
