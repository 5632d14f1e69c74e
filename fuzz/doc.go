// Package fuzz holds the tests that try the whole engine at random, and those that
// crash it or damage its files: model against engine, a crash after every operation
// of the disk, every bit of a log flipped, every operation failing once, a process
// killed under load.
//
// All of them judge by the same oracle, which lives outside the store. It keeps the
// events that were submitted to each partition, in order, and how many of the first
// were acknowledged. A recovered partition must equal the fold of exactly the first
// S of them, for one S with acknowledged <= S <= submitted. States hold a chain of
// hashes over what made them, so that order, holes and duplicates show.
//
// Everything random is drawn from one seed, which a failing test prints with the
// command that repeats it. What runs at once repeats only as far as the scheduler
// does.
//
//	go test ./fuzz                       about a minute
//	go test ./fuzz -fuzz.rounds 4        four times as much, and nothing left out of what can
//	                                     be counted: bits of a log, bytes of a snapshot,
//	                                     operations of a disk
//	go test ./fuzz -fuzz.rounds 20       that, and 1,000 events for every recovered store
//	go test ./fuzz -run Name -fuzz.seed N
//	fuzz/each.sh 20                      every native fuzz target of the module for 20 s
//
// A test that is a part of the matrix of faults says so by a row: tries(t, "R9", ...).
package fuzz
