//go:build mutant

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyfold/keyfold/internal/matrix"
	"github.com/keyfold/keyfold/internal/mutant"
)

// packages are where the matrix lives, cheap ones first.
var packages = []string{"internal/fsys", "internal/ring", "wal", "snapshot", "shard", "engine", "fuzz"}

// expected says where a bug shows first.
var expected = map[string]probe{
	"ack-before-sync":         {"shard", "TestDurableAckWaitsForTheSyncOfItsFrame"},
	"ack-of-frame-before":     {"shard", "TestDurableAckWaitsForTheSyncOfItsFrame"},
	"ack-before-rotation":     {"shard", "TestNothingInANewGenerationIsAcknowledgedBeforeItIsValid"},
	"ignored-sync-error":      {"fuzz", "TestADiskThatFailsOnce"},
	"ignored-write-error":     {"fuzz", "TestADiskThatFailsOnce"},
	"forgotten-failure":       {"shard", "TestErrorOfTheLogFailsTheShardForGood"},
	"segment-not-listed":      {"fuzz", "TestACrashAfterAnyOperation"},
	"full-segment-not-synced": {"wal", "TestACrashAnywhere"},
	"full-segment-left":       {"wal", "TestSegmentsThatNobodyHasSynced"},
	"generation-not-listed":   {"fuzz", "TestACrashAfterAnyOperation"},
	"replacement-not-listed":  {"fuzz", "TestACrashAfterAnyOperation"},
	"replacement-not-synced":  {"fuzz", "TestACrashAfterAnyOperation"},
	"manifest-not-listed":     {"fuzz", "TestACrashAtAnyMoment|TestACrashAfterAnyOperation"},
	"checksum-not-checked":    {"fuzz", "TestAFlippedBit"},
	"header-not-checked":      {"fuzz", "TestAFlippedBit"},
	"chain-not-checked":       {"wal", "TestAWholeFrameInTheWrongPlace"},
	"snapshot-not-checked":    {"fuzz", "TestADamagedSnapshot"},
	"seal-not-checked":        {"fuzz", "TestACutOfTheLastSegment"},
	"empty-entry-accepted":    {"fuzz", "TestAHole"},

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
	"not-locked":             {"fuzz", "TestStoresThatComeAndGo"},
}

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
	h := hunter{
		packages: packages, expected: expected, variable: mutant.Variable, sound: map[probe]bool{},
		build: func(dir string) (string, error) { return build(scratch, dir) },
	}
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

// build builds the tests of a package, once, when they are needed: those of some take a
// minute.
func build(scratch, dir string) (binary string, err error) {
	binary = filepath.Join(scratch, strings.ReplaceAll(dir, "/", "-")+".test")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	out, err := exec.Command("go", "test", "-c", "-tags", "mutant", "-o", binary, "./"+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", dir, err, out)
	}
	return binary, nil
}
