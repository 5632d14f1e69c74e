// Package drill kills a process under load, again and again, and checks what is left
// each time: every acknowledged event is there, once and in order, and nothing is
// there that was not sent.
//
// The parent starts a child of the same program. The child opens the store, writes
// down all states that it finds, then sends a stream of its own, and marks in a file
// how far each of its producers is. The parent kills it at a random moment, in the
// middle of the load or while it is still opening the store, and audits what the
// child had found against the streams and marks of the children before. Marks are
// written with write(2), into the page cache, which a killed process does not take
// along: so a kill shows what the process lost, not what the machine might.
package drill
