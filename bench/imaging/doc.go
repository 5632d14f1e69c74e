// Package imaging measures what a snapshot round costs an engine under full load, in turn
// with none: the throughput of a producer, the latency of a caller,
// and the memory of the process.
//
// Each window without a round is as long as the one before it with a round, and not
// shorter than a second. There is one caller, whose next call waits for the last one: under
// full load a schedule would fall behind without an end. So its latencies compare with each
// other, and are not those of an open loop.
package imaging
