package slab

import (
	"math/bits"
	"unsafe"
)

const (
	// regionBytes is the size and the alignment of a region: a huge page.
	regionBytes = 2 << 20
	// pageBytes is what a region is divided into. A chunk of a power of two of
	// records is nearly always a whole number of them.
	pageBytes   = 1 << 10
	regionPages = regionBytes / pageBytes
	bitWords    = regionPages / 64
)

// A bitmap has a bit for each page of a region.
type bitmap [bitWords]uint64

// next returns the first page from at on whose bit is as wanted, or regionPages.
func (b *bitmap) next(at int, set bool) int {
	for at < regionPages {
		word := b[at/64]
		if !set {
			word = ^word
		}
		if word >>= at % 64; word != 0 {
			return at + bits.TrailingZeros64(word)
		}
		at = (at/64 + 1) * 64
	}
	return regionPages
}

// before returns the page behind the last set bit below at, or 0.
func (b *bitmap) before(at int) int {
	for at > 0 {
		word := b[(at-1)/64] << (63 - (at-1)%64)
		if word != 0 {
			return at - bits.LeadingZeros64(word)
		}
		at = (at - 1) / 64 * 64
	}
	return 0
}

// fill sets or clears n bits from at on.
func (b *bitmap) fill(at, n int, set bool) {
	for n > 0 {
		part := min(n, 64-at%64)
		mask := (^uint64(0) >> (64 - part)) << (at % 64)
		if set {
			b[at/64] |= mask
		} else {
			b[at/64] &^= mask
		}
		at, n = at+part, n-part
	}
}

// count is how many of n bits from at on are set.
func (b *bitmap) count(at, n int) int {
	total := 0
	for n > 0 {
		part := min(n, 64-at%64)
		mask := (^uint64(0) >> (64 - part)) << (at % 64)
		total += bits.OnesCount64(b[at/64] & mask)
		at, n = at+part, n-part
	}
	return total
}

// A region is a piece of address space of the size of a huge page.
//
// Invariant: no page is both used and gone.
type region struct {
	start  unsafe.Pointer
	index  int    // in regions.all
	used   bitmap // pages in use
	gone   bitmap // pages that the system has back, and will zero
	free   int    // pages not in use
	split  bool   // parts were given back: the system was asked for small pages
	carved *[regionPages]*carvedPage
}

// page returns the address of a page.
func (r *region) page(i int) unsafe.Pointer { return unsafe.Add(r.start, i*pageBytes) }

// find returns the first run of at least n free pages. If there is none, it returns
// the length of the longest.
func (r *region) find(n int) (page, longest int, ok bool) {
	for at := r.used.next(0, false); at < regionPages; {
		end := r.used.next(at, true)
		if end-at >= n {
			return at, 0, true
		}
		longest = max(longest, end-at)
		at = r.used.next(end, false)
	}
	return 0, longest, false
}

// take marks a run as used and returns how many more pages the system now keeps
// memory for. The first touch of a whole region fetches all of it.
func (r *region) take(page, n int) (fetched int) {
	if !r.split && r.gone.count(page, 1) == 1 {
		fetched = regionPages
		r.gone = bitmap{}
	} else {
		fetched = r.gone.count(page, n)
		r.gone.fill(page, n, false)
	}
	r.used.fill(page, n, true)
	r.free -= n
	return fetched
}

// give marks a run as free and returns the length of the free run it is now part of.
func (r *region) give(page, n int) (run int) {
	r.used.fill(page, n, false)
	r.free += n
	return r.used.next(page, true) - r.used.before(page)
}

// discard gives the free pages back to the system and returns how many.
func (r *region) discard() (discarded int) {
	before := r.gone.count(0, regionPages)
	if r.free == regionPages {
		discardMemory(r.start, regionBytes)
		adviseHuge(r.start, regionBytes, true)
		r.split = false
		r.gone.fill(0, regionPages, true)
		return regionPages - before
	}
	if !r.split {
		adviseHuge(r.start, regionBytes, false)
		r.split = true
	}
	for at := r.used.next(0, false); at < regionPages; {
		end := r.used.next(at, true)
		r.discardRun(at, end)
		at = r.used.next(end, false)
	}
	return r.gone.count(0, regionPages) - before
}

// discardRun gives back what whole pages of the system a free run has.
func (r *region) discardRun(from, to int) {
	unit := max(1, systemPage()/pageBytes)
	from, to = (from+unit-1)/unit*unit, to/unit*unit
	if from < to && r.gone.count(from, to-from) < to-from {
		discardMemory(r.page(from), (to-from)*pageBytes)
		r.gone.fill(from, to-from, true)
	}
}
