package slab

import (
	"bytes"
	"fmt"
	"unsafe"
)

// check returns the first broken invariant of a table.
func (t *Table) check() error {
	if err := t.store.check(); err != nil {
		return err
	}
	return t.checkIndex()
}

// checkIndex returns the first broken invariant of the index.
func (t *Table) checkIndex() error {
	n := t.entries.count
	if n > t.limit {
		return fmt.Errorf("%d slots in an index for %d", n, t.limit)
	}
	words := uint64(t.mask) + 1
	if uint64(n)*5 > words*4 {
		return fmt.Errorf("%d slots in an index of %d words", n, words)
	}
	used, seen := uint32(0), make([]bool, n)
	for position := uint32(0); ; position++ {
		if word := *t.index.at(position); word != 0 {
			used++
			if err := t.checkWord(position, word, seen); err != nil {
				return err
			}
		}
		if position == t.mask {
			break
		}
	}
	if used != n {
		return fmt.Errorf("%d words for %d slots", used, n)
	}
	return nil
}

// checkWord returns what is wrong with one word.
func (t *Table) checkWord(position, word uint32, seen []bool) error {
	slot := t.slot(word)
	if slot >= t.entries.count || seen[slot] {
		return fmt.Errorf("word %#x at %d: slot %d of %d unknown or twice", word, position, slot, t.entries.count)
	}
	seen[slot] = true
	hash := t.head(slot).hash
	if !t.sameTag(word, hash) {
		return fmt.Errorf("word %#x at %d: tag is not that of hash %#x", word, position, hash)
	}
	for p := hash & t.mask; p != position; p = (p + 1) & t.mask {
		if *t.index.at(p) == 0 {
			return fmt.Errorf("word %#x at %d cannot be reached from %d: %d is free", word, position, hash&t.mask, p)
		}
	}
	return nil
}

// check returns the first broken invariant of the entries and the long keys.
func (s *store) check() error {
	if err := s.entries.check(); err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	blocks := make([]uint32, len(s.long))
	for slot := range s.entries.count {
		n := int(s.head(slot).length)
		if n <= int(s.inline) {
			if err := s.checkRecord(slot, n); err != nil {
				return err
			}
			continue
		}
		class, b := classOf(n), s.head(slot).block
		if class >= len(s.long) || b >= s.long[class].blocks.count || s.long[class].owner(b) != slot {
			return fmt.Errorf("slot %d: block %d of class %d is not its own", slot, b, class)
		}
		blocks[class]++
	}
	for class := range s.long {
		v := &s.long[class].blocks
		if err := v.check(); err != nil {
			return fmt.Errorf("class %d: %w", class, err)
		}
		if blocks[class] != v.count {
			return fmt.Errorf("class %d: %d blocks for %d keys", class, v.count, blocks[class])
		}
	}
	return nil
}

// checkRecord makes sure that nothing is left over behind the key and behind the state.
func (s *store) checkRecord(slot uint32, n int) error {
	entry := unsafe.Slice((*byte)(s.entries.at(slot)), s.entries.stride)
	for _, rest := range [][]byte{entry[keyStart+n : keyStart+s.inline], entry[keyStart+s.inline+s.stateBytes:]} {
		if len(bytes.Trim(rest, "\x00")) > 0 {
			return fmt.Errorf("slot %d: %x is left over", slot, rest)
		}
	}
	return nil
}

// check returns the first broken invariant of a vector that is not in an image.
func (v *vector) check() error {
	last := len(v.chunks) - 1
	if last < 0 {
		if v.count != 0 || v.room != 0 {
			return fmt.Errorf("%d records, room for %d, no chunk", v.count, v.room)
		}
		return nil
	}
	if v.count > v.room || v.lastRoom() == 0 || v.lastRoom() > v.per() {
		return fmt.Errorf("%d records, room for %d in %d chunks of %d", v.count, v.room, last+1, v.per())
	}
	if uint64(v.per())*uint64(v.stride) > chunkBytes && v.per() > 1 {
		return fmt.Errorf("chunk of %d records of %d bytes", v.per(), v.stride)
	}
	return nil
}

// check returns the first broken invariant of an arena.
func (a *Arena) check() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	used, kept := 0, 0
	for i, r := range a.regions.all {
		if err := r.check(int(a.regions.longest[i])); err != nil {
			return fmt.Errorf("region %d: %w", i, err)
		}
		used += regionPages - r.free
		kept += regionPages - r.gone.count(0, regionPages)
	}
	if used != a.regions.used || kept != a.regions.kept {
		return fmt.Errorf("%d pages used and %d kept, counted as %d and %d", used, kept, a.regions.used, a.regions.kept)
	}
	return a.carver.check()
}

// check returns the first broken invariant of a region whose longest free run is said
// to be at most longest.
func (r *region) check(longest int) error {
	free := 0
	for page := range regionPages {
		used, gone := r.used.count(page, 1), r.gone.count(page, 1)
		if free += 1 - used; used+gone > 1 {
			return fmt.Errorf("page %d is used and gone", page)
		}
		if r.carved != nil && r.carved[page] != nil && used == 0 {
			return fmt.Errorf("page %d is carved and free", page)
		}
	}
	if free != r.free {
		return fmt.Errorf("%d pages are free, counted as %d", free, r.free)
	}
	if _, _, ok := r.find(longest + 1); ok {
		return fmt.Errorf("there is a run of more than %d free pages", longest)
	}
	return nil
}

// check returns the first broken invariant of the lists.
func (c *carver) check() error {
	for class := range c.partly {
		var before *carvedPage
		for p := c.partly[class]; p != nil; before, p = p, p.next {
			if p.prev != before || p.class != class || p.free == 0 || p.free == allFree(class) || p.region.carved[p.page] != p {
				return fmt.Errorf("class %d: page %+v does not belong into the list", class, *p)
			}
		}
	}
	return nil
}

// arenas are the kinds of memory that a table must be correct in.
var arenas = map[string]func() *Arena{"heap": func() *Arena { return nil }, "mapped": NewArena}

// close closes an arena, if it is one.
func (a *Arena) close() {
	if a != nil {
		a.Close()
	}
}

// word is the first word of a state.
func word(state unsafe.Pointer) uint64 { return *(*uint64)(state) }
