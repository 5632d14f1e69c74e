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
//	go test ./fuzz -fuzz.rounds 20       twenty times as much
//	go test ./fuzz -run Name -fuzz.seed N
package fuzz
