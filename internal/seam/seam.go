// Package seam is where a test takes the place of the operating system: the disk and
// the clock of an engine.
package seam

import (
	"context"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
)

// An Environment is what an engine lives in.
type Environment struct {
	FS fsys.FS
	// Now is the time in nanoseconds of Unix time. It is safe for concurrent use.
	Now func() int64
	// Hear is given a function that whoever moves the clock must call behind that: shards
	// that sleep would not notice. It waits until nothing is due any more that can be
	// fired. Hear may be nil.
	Hear func(moved func(context.Context) error)
	// Seed makes the hash seed of a new store repeatable, if it is not 0.
	Seed uint64
	// Hash replaces the hash of keys, if it is not nil.
	Hash func(key []byte, seed uint64) uint64
	// OperatingSystem says that FS is the operating system's, so that a library that
	// knows no other may be used, and shards may be pinned.
	OperatingSystem bool
}

// System is the operating system's environment.
func System() *Environment {
	return &Environment{
		FS:              fsys.OS(),
		Now:             func() int64 { return time.Now().UnixNano() },
		OperatingSystem: true,
	}
}
