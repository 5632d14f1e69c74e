//go:build !amd64 && !arm64

package slab

import "unsafe"

// prefetch loads the word at an address. It is not inlined: the load would be
// left out.
//
//go:noinline
func prefetch(address unsafe.Pointer) uint32 { return *(*uint32)(address) }

// prefetchBoth loads the words at two addresses.
//
//go:noinline
func prefetchBoth(first, last unsafe.Pointer) uint32 {
	return *(*uint32)(first) ^ *(*uint32)(last)
}
