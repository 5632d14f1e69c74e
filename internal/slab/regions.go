package slab

import "unsafe"

const (
	// mappedMax is how many regions are mapped at once. Mapping takes address space,
	// not memory.
	mappedMax = 32
	// idleMin is how much memory of a process an arena may hold for later use
	// although hardly any is in use, in pages.
	idleMin = 8 << 20 / pageBytes
)

// regions hands out runs of pages, from the first region that has room. Pages that
// were given back stay with the process as long as they are at most half of what is
// in use and idleMin; above that each run given back has one region discarded.
//
// Invariant: longest[i] is at least the longest free run of all[i].
type regions struct {
	all     []*region
	at      map[uintptr]*region // by address / regionBytes
	longest []uint16
	used    int // pages in use
	kept    int // pages that the system keeps memory for
	sweep   int // the region that is looked at next
}

// take returns a run of n pages, or nil if the system has no more memory. The bytes
// are zero or those of an earlier run.
func (h *regions) take(n int, system *mappings) unsafe.Pointer {
	for i := range h.longest {
		if int(h.longest[i]) < n {
			continue
		}
		page, longest, ok := h.all[i].find(n)
		if ok {
			return h.use(h.all[i], page, n)
		}
		h.longest[i] = uint16(longest)
	}
	if !h.add(system) {
		return nil
	}
	return h.take(n, system)
}

func (h *regions) use(r *region, page, n int) unsafe.Pointer {
	h.kept += r.take(page, n)
	h.used += n
	return r.page(page)
}

// add maps more regions.
func (h *regions) add(system *mappings) bool {
	n := min(max(1, len(h.all)/4), mappedMax)
	start := system.add(n * regionBytes)
	if start == nil {
		return false
	}
	if h.at == nil {
		h.at = make(map[uintptr]*region)
	}
	for i := range n {
		r := &region{start: unsafe.Add(start, i*regionBytes), index: len(h.all), free: regionPages}
		r.gone.fill(0, regionPages, true)
		h.all = append(h.all, r)
		h.longest = append(h.longest, regionPages)
		h.at[uintptr(r.start)/regionBytes] = r
	}
	return true
}

// find returns the region of an address, and the page. It is nil for an address
// elsewhere.
func (h *regions) find(p unsafe.Pointer) (r *region, page int) {
	return h.at[uintptr(p)/regionBytes], int(uintptr(p)%regionBytes) / pageBytes
}

// give takes back a run of n pages.
func (h *regions) give(r *region, page, n int) {
	h.used -= n
	h.longest[r.index] = max(h.longest[r.index], uint16(r.give(page, n)))
	if h.kept-h.used > h.used/2+idleMin {
		h.discardOne()
	}
}

// discardOne gives the free pages of the next region that is worth it back to the
// system: when no page is worth it, those in use are three times those kept idle.
func (h *regions) discardOne() {
	for range h.all {
		r := h.all[h.sweep%len(h.all)]
		h.sweep++
		if r.free < regionPages/4 {
			continue
		}
		if n := r.discard(); n > 0 {
			h.kept -= n
			return
		}
	}
}
