// Package recent remembers the latest ids of events with what was answered to each, in
// the order in which they came.
//
// An id is a fingerprint of 16 bytes. Memory holds no pointers, whatever the answers are,
// and grows and shrinks with what is remembered. Entries lie in memory as [Set.Raw] gives
// them and [Set.Load] takes them. Integers are little-endian:
//
//	size  field   meaning
//	  16  id      fingerprint
//	   8  time     when it was added
//	   4  length  of the answer; 0xffffffff: there is none that could be given
//	   n  answer  and zero to 3 bytes 0, up to a multiple of 4
package recent

import (
	"encoding/binary"
	"errors"
)

// An ID is a fingerprint: whoever makes it sees to it that its bits are evenly spread.
type ID [2]uint64

// An Answer is what was said when the id was added.
type Answer struct {
	Bytes []byte // borrowed from the set
	Lost  bool   // there were no bytes that could be kept
	Time  int64  // when
}

// Sizes of an entry, in bytes.
const (
	headBytes = 28
	lost      = 1<<32 - 1
)

// A Set is the latest ids. It belongs to one goroutine. The zero Set is empty and ready
// to use.
//
// Invariant: each word of the index leads to an entry, by the offset in whole words of 4
// bytes, plus one, in its low half; its high half is the low one of the id. An id that was
// added twice has one word, which leads to the later entry.
type Set struct {
	data  []byte // entries, the oldest at head
	head  int
	index []uint64
	words int // of the index in use
	count int // entries
}

// Len is the number of entries.
func (s *Set) Len() int { return s.count }

// Bytes is the memory held.
func (s *Set) Bytes() int { return cap(s.data) + 8*cap(s.index) }

// Raw is all entries, the oldest first, borrowed.
func (s *Set) Raw() []byte { return s.data[s.head:] }

// Find returns what was answered to an id.
func (s *Set) Find(id ID) (Answer, bool) {
	position, ok := s.locate(id)
	if !ok {
		return Answer{}, false
	}
	return answerAt(s.data[offsetOf(s.index[position]):]), true
}

// All gives all entries, the oldest first.
func (s *Set) All(yield func(ID, Answer) bool) {
	for raw := s.Raw(); len(raw) > 0; raw = raw[FirstBytes(raw):] {
		if !yield(idAt(raw), answerAt(raw)) {
			return
		}
	}
}

// Oldest is when the oldest entry was added.
func (s *Set) Oldest() (time int64, ok bool) {
	if s.count == 0 {
		return 0, false
	}
	return answerAt(s.data[s.head:]).Time, true
}

// Add remembers an id. The answer is copied.
func (s *Set) Add(id ID, a Answer) {
	n := entryBytes(len(a.Bytes))
	s.reserve(n)
	at := len(s.data)
	s.data = s.data[:at+n]
	e := s.data[at:]
	binary.LittleEndian.PutUint64(e, id[0])
	binary.LittleEndian.PutUint64(e[8:], id[1])
	binary.LittleEndian.PutUint64(e[16:], uint64(a.Time))
	length := uint32(len(a.Bytes))
	if a.Lost {
		length = lost
	}
	binary.LittleEndian.PutUint32(e[24:], length)
	clear(e[headBytes+copy(e[headBytes:], a.Bytes):])
	s.count++
	s.place(id, at)
}

// DropOldest forgets the oldest entry, if there is one.
func (s *Set) DropOldest() {
	if s.count == 0 {
		return
	}
	e := s.data[s.head:]
	if position, ok := s.locate(idAt(e)); ok && offsetOf(s.index[position]) == s.head {
		s.unplace(position)
	}
	s.head += entryBytes(len(answerAt(e).Bytes))
	if s.count--; s.count == 0 {
		*s = Set{}
		return
	}
	s.shrink()
}

// LoseAnswers makes the answers of the entries from the one of a number on lost.
func (s *Set) LoseAnswers(from int) {
	var kept Set
	for raw := s.Raw(); len(raw) > 0; raw = raw[FirstBytes(raw):] {
		a := answerAt(raw)
		if from--; from < 0 {
			a = Answer{Lost: true, Time: a.Time}
		}
		kept.Add(idAt(raw), a)
	}
	*s = kept
}

// errEntries says that bytes are not what Raw gives.
var errEntries = errors.New("they are not ids with their answers")

// Load adds entries that Raw has given, or a part of them.
func (s *Set) Load(count int, raw []byte) error {
	for range count {
		n := FirstBytes(raw)
		if n == 0 {
			return errEntries
		}
		s.Add(idAt(raw), answerAt(raw))
		raw = raw[n:]
	}
	if len(raw) != 0 {
		return errEntries
	}
	return nil
}

// FirstBytes is the size of the first entry of raw, or 0 if it is not whole.
func FirstBytes(raw []byte) int {
	if len(raw) < headBytes {
		return 0
	}
	length := uint64(binary.LittleEndian.Uint32(raw[24:]))
	if length == lost {
		return headBytes
	}
	if length > uint64(len(raw)-headBytes) {
		return 0
	}
	n := entryBytes(int(length))
	if n > len(raw) {
		return 0
	}
	return n
}

func entryBytes(answer int) int { return (headBytes + answer + 3) &^ 3 }

func idAt(e []byte) ID {
	return ID{binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:])}
}

func answerAt(e []byte) Answer {
	a := Answer{Time: int64(binary.LittleEndian.Uint64(e[16:]))}
	length := binary.LittleEndian.Uint32(e[24:])
	if length == lost {
		a.Lost = true
		return a
	}
	a.Bytes = e[headBytes:][:length:length]
	return a
}
