package slab

import (
	"math/bits"
	"unsafe"
)

const (
	// carvedMin and carvedMax bound the blocks that are smaller than a page. Their
	// sizes are powers of two.
	carvedMin     = 32
	carvedMax     = pageBytes / 2
	carvedClasses = 5 // 32, 64, ... 512
)

// A carvedPage is a page that is divided into blocks of one class.
type carvedPage struct {
	region     *region
	page       int
	class      int
	free       uint32 // bit i: block i is free
	prev, next *carvedPage
}

// carver divides pages into small blocks.
//
// Invariant: the list of a class has exactly the pages with both free and used blocks.
type carver struct {
	partly [carvedClasses]*carvedPage
}

// carvedClass is the class of a block.
func carvedClass(bytes int) int { return bits.Len(uint(max(bytes, carvedMin)-1)) - 5 }

// allFree is what free is when no block of a class is used.
func allFree(class int) uint32 { return ^uint32(0) >> (32 - pageBytes/(carvedMin<<class)) }

// take returns a block, or nil if there is no more memory.
func (c *carver) take(bytes int, h *regions, system *mappings) unsafe.Pointer {
	class := carvedClass(bytes)
	p := c.partly[class]
	if p == nil {
		if p = c.carve(class, h, system); p == nil {
			return nil
		}
	}
	i := bits.TrailingZeros32(p.free)
	if p.free &^= 1 << i; p.free == 0 {
		c.unlink(p)
	}
	return unsafe.Add(p.region.page(p.page), i*(carvedMin<<class))
}

// carve takes a page and puts it into the list of a class.
func (c *carver) carve(class int, h *regions, system *mappings) *carvedPage {
	start := h.take(1, system)
	if start == nil {
		return nil
	}
	r, page := h.find(start)
	if r.carved == nil {
		r.carved = new([regionPages]*carvedPage)
	}
	p := &carvedPage{region: r, page: page, class: class, free: allFree(class)}
	r.carved[page] = p
	c.link(p)
	return p
}

// give takes back a block, and gives back the page when that was the last one in it.
func (c *carver) give(r *region, page int, block unsafe.Pointer, h *regions) {
	p := r.carved[page]
	if p.free == 0 {
		c.link(p)
	}
	p.free |= 1 << (uintptr(block) % pageBytes / (carvedMin << p.class))
	if p.free == allFree(p.class) {
		c.unlink(p)
		r.carved[page] = nil
		h.give(r, page, 1)
	}
}

func (c *carver) link(p *carvedPage) {
	p.prev, p.next = nil, c.partly[p.class]
	if p.next != nil {
		p.next.prev = p
	}
	c.partly[p.class] = p
}

func (c *carver) unlink(p *carvedPage) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		c.partly[p.class] = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}
