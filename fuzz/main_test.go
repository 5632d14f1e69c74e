package fuzz

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
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
	debug.SetGCPercent(400) // stores come and go by the thousand
	os.Exit(m.Run())
}
