// Package load is what a child does before it is killed, stopped, or its disk taken
// away: it opens a store, writes down what it holds, and sends events to all partitions
// at once, by one of the doors, while snapshots are taken, partitions move and the clock
// jumps.
//
// Each partition has one sender, so that the order of its events is known, and a Mark in
// memory that the child shares with its parent: how many events were submitted, and how
// many of the first are acknowledged. Whatever becomes of the child, the parent knows.
package load
