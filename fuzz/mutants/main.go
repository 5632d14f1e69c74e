//go:build mutant

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
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/internal/matrix"
	"github.com/keyfold/keyfold/internal/mutant"
)

// patience is how long the tests of a package may take before they are said to hang,
// which is a way to fail.
const patience = 4 * time.Minute

// packages are where the matrix lives, cheap ones first.
var packages = []string{"internal/fsys", "internal/ring", "wal", "snapshot", "shard", "engine", "fuzz"}

// A probe is some tests of a package.
type probe struct{ dir, tests string }

// expected says where a bug shows first.
var expected = map[string]probe{
	"ack-before-sync":        {"shard", "TestDurableAckWaitsForTheSyncOfItsFrame"},
	"ack-of-frame-before":    {"shard", "TestDurableAckWaitsForTheSyncOfItsFrame"},
	"ack-before-rotation":    {"shard", "TestNothingInANewGenerationIsAcknowledgedBeforeItIsValid"},
	"ignored-sync-error":     {"fuzz", "TestADiskThatFailsOnce"},
	"ignored-write-error":    {"fuzz", "TestADiskThatFailsOnce"},
	"forgotten-failure":      {"shard", "TestErrorOfTheLogFailsTheShardForGood"},
	"segment-not-listed":     {"fuzz", "TestACrashAfterAnyOperation"},
	"generation-not-listed":  {"fuzz", "TestACrashAfterAnyOperation"},
	"replacement-not-listed": {"fuzz", "TestACrashAfterAnyOperation"},
	"replacement-not-synced": {"fuzz", "TestACrashAfterAnyOperation"},
	"manifest-not-listed":    {"fuzz", "TestACrashAtAnyMoment|TestACrashAfterAnyOperation"},
	"checksum-not-checked":   {"fuzz", "TestAFlippedBit"},
	"header-not-checked":     {"fuzz", "TestAFlippedBit"},
	"chain-not-checked":      {"wal", "TestAWholeFrameInTheWrongPlace"},
	"snapshot-not-checked":   {"fuzz", "TestADamagedSnapshot"},
	"seal-not-checked":       {"fuzz", "TestACutOfTheLastSegment"},
	"empty-entry-accepted":   {"fuzz", "TestAHole"},

	"horizon-too-high":       {"shard", "TestEveryOrderOfSteps"},
	"horizon-too-low":        {"fuzz", "TestAFlippedBit"},
	"tail-not-written-again": {"shard", "TestEveryOrderOfSteps"},
	"append-behind-tear":     {"fuzz", "TestACrashAfterAnyOperation"},
	"snapshot-not-synced":    {"fuzz", "TestACrashAfterAnyOperation"},
	"snapshot-not-listed":    {"fuzz", "TestACrashAfterAnyOperation"},
	"snapshot-outruns-log":   {"fuzz", "TestASnapshotNeverOvertakesTheLog"},
	"stamp-too-high":         {"fuzz", "TestACrashAfterAnyOperation"},
	"log-removed-early":      {"fuzz", "TestACrashAfterAnyOperation"},
	"older-log-forgotten":    {"fuzz", "TestADamagedSnapshot"},
	"applied-twice":          {"shard", "Recover|Snapshot|Replay|Round"},
	"time-not-marked":        {"fuzz", "TestModelAndEngineAgree"},
	"commit-before-parts":    {"shard", "TestMovesAtEveryStep|TestCrashAfterEveryOperationOfAMove"},
	"old-owner-wins":         {"shard", "TestMovesAtEveryStep|TestCrashAfterEveryOperationOfAMove"},
	"route-not-checked":      {"internal/ring", "TestRoute"},
	"applied-without-room":   {"shard", "Room|Full"},
	"read-only-forever":      {"shard", "Room|Full"},
	"panic-not-undone":       {"shard", "Panic"},
	"not-locked":             {"engine", "TestSecondEngineIsLockedOut"},
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(bugs []string) error {
	if len(bugs) == 0 {
		bugs = mutant.Names
	}
	scratch, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	began := time.Now()
	for _, dir := range packages {
		build := exec.Command("go", "test", "-c", "-tags", "mutant", "-o", binary(scratch, dir), "./"+dir)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the tests of %s: %w\n%s", dir, err, out)
		}
	}
	h := hunter{scratch: scratch, sound: map[probe]bool{}}
	if err := h.checkExpected(bugs); err != nil {
		return err
	}
	caught := 0
	for _, bug := range bugs {
		at := time.Now()
		by, err := h.hunt(bug)
		if err != nil {
			return err
		}
		if by != "" {
			caught++
		} else {
			by = "NOTHING"
		}
		fmt.Printf("%-26s caught by %s (%.1f s)\n", bug, by, time.Since(at).Seconds())
	}
	fmt.Printf("mutants: caught %d of %d\n", caught, len(bugs))
	err = matrix.Add(matrix.Row{
		Row: "R18", Name: "bugs switched on in a test build", Goal: "every one is caught by a test that names it",
		Cycles: int64(len(bugs)), Checked: int64(caught), Violations: int64(len(bugs) - caught), Seconds: time.Since(began).Seconds(),
	})
	if caught < len(bugs) {
		err = errors.Join(err, errors.New("some bugs are not caught"))
	}
	return err
}

func binary(scratch, dir string) string {
	return filepath.Join(scratch, strings.ReplaceAll(dir, "/", "-")+".test")
}

// A hunter runs the tests that were built into a directory.
type hunter struct {
	scratch string
	sound   map[probe]bool // tests that pass without a bug
}

// checkExpected runs the tests that are expected to catch the bugs, without any, once for
// each package.
func (h *hunter) checkExpected(bugs []string) error {
	for _, dir := range packages {
		var tests []string
		for _, bug := range bugs {
			if p := expected[bug]; p.dir == dir && !slices.Contains(tests, p.tests) {
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
	by, err := p.try(h.scratch, "")
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
	if first, ok := expected[bug]; ok {
		probes = append(probes, first)
	}
	for _, dir := range packages {
		probes = append(probes, probe{dir: dir, tests: "^Test"})
	}
	for _, p := range probes {
		if err := h.require(p); err != nil {
			return "", err
		}
		if by, err = p.try(h.scratch, bug); by != "" || err != nil {
			return by, err
		}
	}
	return "", nil
}

// try runs tests with a bug, or with none, in the directory of their package, as go test
// does. It says which test failed; "" if none did.
func (p probe) try(scratch, bug string) (by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	test := exec.CommandContext(ctx, binary(scratch, p.dir), "-test.failfast", "-test.run", p.tests, "-test.timeout", patience.String())
	test.Dir = p.dir
	test.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, matrix.Variable+"=") || strings.HasPrefix(v, mutant.Variable+"=")
	})
	if bug != "" {
		test.Env = append(test.Env, mutant.Variable+"="+bug)
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
