package fuzz

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// childVariable makes the test binary a child that is to be killed; its value is the
// directory of the store.
const childVariable = "KEYFOLD_FUZZ_CHILD"

func TestMain(m *testing.M) {
	flag.Parse()
	if dir := os.Getenv(childVariable); dir != "" {
		if err := beChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(guestVariable); dir != "" {
		if err := beGuest(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	debug.SetGCPercent(400) // stores come and go by the thousand
	os.Exit(m.Run())
}

// guestVariable makes the test binary one that opens the store in a directory, and says how
// that went.
const guestVariable = "KEYFOLD_FUZZ_GUEST"

// beGuest opens a store, folds some events, takes a snapshot and closes it.
func beGuest(dir string) error {
	r := newRig(small(), hashes["full"])
	r.dir = dir
	if err := r.open(); err != nil {
		var corrupt *engine.CorruptError
		return fmt.Errorf("rights %v, damage %v: %w", errors.Is(err, fs.ErrPermission), errors.As(err, &corrupt), err)
	}
	if warnings := r.engine.Recovery().Warnings; len(warnings) > 0 {
		return fmt.Errorf("something was left out: %q", warnings)
	}
	ctx, cancel := patiently()
	defer cancel()
	for i := range 40 {
		if _, err := r.tallies.Do(ctx, fmt.Sprint(i), step{Filler: filler(300, 1)}, engine.Durable); err != nil {
			return err
		}
	}
	if err := snapshot(r); err != nil {
		return err
	}
	return r.engine.Close()
}
