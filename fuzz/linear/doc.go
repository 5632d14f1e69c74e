// Package linear checks that calls are linearizable: that the answers of Do and Get of
// many callers at once, through moves, snapshots and a crash, are those of some order in
// which each call takes effect at one moment between its begin and its end. It is a
// module of its own, because of the checker that it uses.
//
//	cd fuzz/linear && go test ./... -linear.histories 1000
package linear
