// Package pair measures the engine and the rows of package limit over the same events,
// in turn, in one process: the ratio of two figures that were taken one after the
// other says more than either, because the machine was the same for both.
//
// A [Side] takes all events of a stream in each pass. All its keys are in before the
// first pass, and what it holds at the end is compared with what one thread computes.
package pair
