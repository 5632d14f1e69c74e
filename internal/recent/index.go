package recent

const (
	// indexMin is the size of the smallest index.
	indexMin = 8
	// shrinkBytes is how much memory is held whatever is in it.
	shrinkBytes = 1 << 10
)

// offsetOf is where the entry lies that a word leads to.
func offsetOf(word uint64) int { return (int(uint32(word)) - 1) * 4 }

func wordOf(id ID, offset int) uint64 { return id[0]<<32 | uint64(offset/4+1) }

// home is where the search for a word begins.
func (s *Set) home(word uint64) int { return int(word>>32) & (len(s.index) - 1) }

// locate returns the position of the word of an id, or where it belongs.
func (s *Set) locate(id ID) (position int, ok bool) {
	if len(s.index) == 0 {
		return 0, false
	}
	mask := len(s.index) - 1
	for position = int(uint32(id[0])) & mask; ; position = (position + 1) & mask {
		word := s.index[position]
		if word == 0 {
			return position, false
		}
		if uint32(word>>32) == uint32(id[0]) && idAt(s.data[offsetOf(word):]) == id {
			return position, true
		}
	}
}

// place makes the index lead from an id to an entry.
func (s *Set) place(id ID, offset int) {
	if s.words >= len(s.index)*3/4 {
		s.rebuild(max(indexMin, 2*len(s.index)))
		return // the entry was among them
	}
	position, there := s.locate(id)
	s.index[position] = wordOf(id, offset)
	if !there {
		s.words++
	}
}

// rebuild makes an index of n words over all entries.
func (s *Set) rebuild(n int) {
	s.index, s.words = make([]uint64, n), 0
	for at := s.head; at < len(s.data); at += FirstBytes(s.data[at:]) {
		id := idAt(s.data[at:])
		position, there := s.locate(id)
		s.index[position] = wordOf(id, at)
		if !there {
			s.words++
		}
	}
}

// unplace takes a word out of the index, and moves up those behind it.
func (s *Set) unplace(position int) {
	mask := len(s.index) - 1
	hole := position
	for next := (hole + 1) & mask; s.index[next] != 0; next = (next + 1) & mask {
		if home := s.home(s.index[next]); (next-home)&mask >= (next-hole)&mask {
			s.index[hole] = s.index[next]
			hole = next
		}
	}
	s.index[hole] = 0
	s.words--
}

// reserve makes room for n bytes: where the forgotten ones were, if they are many.
func (s *Set) reserve(n int) {
	if len(s.data)+n <= cap(s.data) {
		return
	}
	live := len(s.data) - s.head
	if s.head >= live/4 && live+n <= cap(s.data) {
		s.settle(s.data[:live])
		return
	}
	s.settle(make([]byte, live, max(live+live/2, live+n, 64)))
}

// settle moves the entries to the beginning of to, which has their size.
func (s *Set) settle(to []byte) {
	copy(to, s.data[s.head:])
	moved := uint64(s.head / 4)
	for i, word := range s.index {
		if word != 0 {
			s.index[i] = word - moved
		}
	}
	s.data, s.head = to, 0
}

// shrink gives back memory of which little is in use.
func (s *Set) shrink() {
	if live := len(s.data) - s.head; cap(s.data) > shrinkBytes && live < cap(s.data)/4 {
		s.settle(make([]byte, live, live+live/2))
	}
	if len(s.index) > indexMin && s.words < len(s.index)/8 {
		s.rebuild(len(s.index) / 4)
	}
}
