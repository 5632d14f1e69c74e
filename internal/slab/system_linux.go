//go:build linux && !race

package slab

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapMemory returns bytes of zeroed memory outside the Go heap, a multiple of
// regionBytes and aligned to it, for which the system is asked to use huge pages. It
// returns nil where the system has none.
func mapMemory(bytes int) unsafe.Pointer {
	const protection, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(bytes+regionBytes), protection, flags)
	if err != nil {
		return nil
	}
	head := -uintptr(p) & (regionBytes - 1)
	start := unsafe.Add(p, head)
	if head > 0 {
		unmapMemory(p, int(head))
	}
	unmapMemory(unsafe.Add(start, bytes), regionBytes-int(head))
	adviseHuge(start, bytes, true)
	return start
}

// unmapMemory gives address space back. Nothing may point there any more.
func unmapMemory(p unsafe.Pointer, bytes int) { _ = unix.MunmapPtr(p, uintptr(bytes)) }

// adviseHuge says whether huge pages pay in a piece of memory. It is advice: a system
// without them goes on with small ones.
func adviseHuge(p unsafe.Pointer, bytes int, huge bool) {
	advice := unix.MADV_NOHUGEPAGE
	if huge {
		advice = unix.MADV_HUGEPAGE
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(p), bytes), advice)
}

// discardMemory gives the pages of a piece of memory back to the system. They are
// zeroed when they are used again.
func discardMemory(p unsafe.Pointer, bytes int) {
	if unix.Madvise(unsafe.Slice((*byte)(p), bytes), unix.MADV_DONTNEED) != nil {
		clearMemory(p, bytes) // whoever takes it next counts on zeroes
	}
}

// forbidMemory makes every access to a piece of memory fault.
func forbidMemory(p unsafe.Pointer, bytes int) {
	_ = unix.Mprotect(unsafe.Slice((*byte)(p), bytes), unix.PROT_NONE)
}

// systemPage is the unit in which the system takes memory back.
func systemPage() int { return unix.Getpagesize() }
