// Package imaging measures what a snapshot round costs an engine under full load, in turn
// with none: the throughput of a producer, the latency of a caller who makes calls when
// they are due, and the memory of the process.
//
// Each window without a round is as long as the one before it with a round, and not
// shorter than a second. The clock of a call runs from when it was due, so that one that
// waits also makes those after it late.
package imaging
