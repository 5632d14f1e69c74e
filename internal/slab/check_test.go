package slab

import "fmt"

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
	if tooLarge := t.limit > 0 && words > indexWordsMin && uint64(n)*5 < words; tooLarge || uint64(n)*5 > words*4 {
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
	if last > 0 && v.count+max(1, v.per()/2) <= uint32(last)<<v.shift {
		return fmt.Errorf("%d records in %d chunks of %d", v.count, last+1, v.per())
	}
	if uint64(v.per())*uint64(v.stride) > chunkBytes && v.per() > 1 {
		return fmt.Errorf("chunk of %d records of %d bytes", v.per(), v.stride)
	}
	return nil
}
