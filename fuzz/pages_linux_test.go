package fuzz

import "golang.org/x/sys/unix"

// Stores of a few keys that come and go by the thousand would spend a quarter of their time
// on huge pages that are zeroed for them.
func init() { _ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) } // it is slower without
