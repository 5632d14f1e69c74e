// Package torture holds the tests that need real file systems, root, FUSE, strace and
// processes that are killed: what package fuzz does in memory is done here to the real
// thing. It is a module of its own, so that nothing that it needs goes into other
// people's programs.
//
// A child has a store under load (package load), its parent ends it in some way, and
// judges what the next child finds (package drive): for each partition the fold of its
// first S events, for one S with acknowledged <= S <= submitted; a second recovery must
// find the same to the last bit; then at least 1,000 further events are sent, and so on.
//
// Every test adds a row to the table in RELIABILITY.md, also if it cannot run here:
// internal/matrix says how.
//
//	go test ./...                             a tenth of what CI does
//	go test . -torture.length 1               what CI does, about eight minutes
//	go test . -torture.long -timeout 0        what RELIABILITY.md shows, hours
//	go test . -run Name -torture.seed N       what failed once more
package torture
