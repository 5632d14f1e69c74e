//go:build amd64 || arm64

package slab

import "unsafe"

// prefetch asks for the cache line of an address without waiting for it. A plain
// load would do too, but the processor cannot look further ahead than a few of
// them while they wait: with prefetching, a run of updates in a large table takes
// about half the time (BenchmarkUpdate).
//
//go:noescape
func prefetch(address unsafe.Pointer)

// prefetchBoth asks for the cache lines of two addresses.
//
//go:noescape
func prefetchBoth(first, last unsafe.Pointer)
