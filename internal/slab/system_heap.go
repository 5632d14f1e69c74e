//go:build !linux || race

package slab

import "unsafe"

// Elsewhere than on Linux all memory is of the Go heap, and so it is under the race
// detector, which does not see any other.

func mapMemory(int) unsafe.Pointer         { return nil }
func unmapMemory(unsafe.Pointer, int)      {}
func adviseHuge(unsafe.Pointer, int, bool) {}
func discardMemory(unsafe.Pointer, int)    {}
func forbidMemory(unsafe.Pointer, int)     {}
func systemPage() int                      { return pageBytes }
