package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/keyfold/keyfold/internal/mutant"
)

var magicBytes = binary.LittleEndian.AppendUint32(nil, magic)

// prefix reads the length in front of the frame at off.
func (s *scanner) prefix(off int64) (n, length int, err error) {
	b, err := s.window.at(off, int(min(prefixBytesMax, s.window.size-off)))
	if err != nil {
		return 0, 0, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v < frameBytesMin || v > frameBytesMin+FrameBytesLimit || n != prefixBytes(int(v)) {
		return 0, 0, badFrame{errPrefix}
	}
	if off+int64(n)+headerBytes > s.window.size {
		return 0, 0, badFrame{errShort}
	}
	return n, int(v), nil
}

// header reads and checks the header of a frame that has length bytes, before memory
// is taken for its body.
func (s *scanner) header(off int64, length int) (h header, hash uint64, err error) {
	b, err := s.window.at(off, headerBytes)
	if err != nil {
		return h, 0, err
	}
	h, hash, err = readHeader(b, s.seed)
	switch {
	case errors.Is(err, ErrFormat):
		return h, 0, fmt.Errorf("%s: %w", s.window.path, err)
	case err == errReserved:
		return h, 0, s.corrupt(off, err)
	case err != nil:
		return h, 0, badFrame{err}
	case h.number != s.next:
		return h, 0, badFrame{fmt.Errorf("frame %d: %w", h.number, errNumber)}
	case uint64(h.length)+frameBytesMin != uint64(length):
		return h, 0, badFrame{errPrefix}
	case int(h.length) > s.bodyBytesMax():
		return h, 0, fmt.Errorf("%s, frame %d: %w", s.window.path, h.number, tooLarge(int(h.length), s.bodyBytesMax()))
	case off+int64(length) > s.window.size:
		return h, 0, badFrame{errShort}
	}
	return h, hash, nil
}

func (s *scanner) bodyBytesMax() int {
	if s.next == 0 {
		return startBytes + PayloadBytesMax
	}
	return s.options.FrameBytesMax
}

func readTrailer(frame []byte) uint64 {
	return binary.LittleEndian.Uint64(frame[len(frame)-trailerBytes:])
}

// judge decides what is missing at off in the first of the segments: a tear, which it
// counts, or damage.
func (s *scanner) judge(segments []segment, off int64, why error) error {
	damaged := func(err error) error {
		return &CorruptError{Path: segments[0].path, Offset: off, Sequence: s.next, Err: err}
	}
	if s.next == 0 && off == 0 {
		if err := s.within(segments[0], s.foreign); err != nil {
			return err
		}
	}
	most := 2 // segments that a crash may have taken something of
	if off == 0 && segments[0].number != s.next+1 {
		most-- // it is the one before that is short
	}
	if s.options.Seal != nil || len(segments) > most || off == 0 && segments[0].number < s.next+1 {
		return damaged(why)
	}
	var r rest
	for i, segment := range segments {
		from := int64(0)
		if i == 0 {
			from = off
		}
		if err := s.within(segment, func() error { return s.search(&r, from) }); err != nil {
			return err
		}
	}
	if mutant.HorizonTooLow && r.horizon > 0 {
		r.horizon--
	}
	if r.horizon > 0 && r.horizon >= s.next {
		return damaged(fmt.Errorf("%w; a later frame says that it was durable", why))
	}
	if r.bytes > 0 {
		s.result.TornBytes, s.result.TornFrames = r.bytes, r.headers
		s.result.TornPath, s.result.TornOffset = segments[0].path, off
	}
	return nil
}

// A rest is what lies behind the frames that were taken.
type rest struct {
	headers int
	horizon uint64 // the highest one of the headers
	bytes   int64  // of all segments, up to the last one in each that is not zero
}

// search adds what lies in a segment from off on: headers at any offset. One that this
// version cannot read might say anything.
func (s *scanner) search(r *rest, off int64) error {
	from, end := off, off
	for off < s.window.size {
		b, err := s.window.at(off, int(min(readBytes, s.window.size-off)))
		if err != nil {
			return err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			end = off + int64(n)
		}
		for i := nextMagic(b, 0); i >= 0; i = nextMagic(b, i+1) {
			h, _, err := readHeader(b[i:], s.seed)
			switch {
			case err == errReserved || errors.Is(err, ErrFormat):
				r.horizon = math.MaxUint64
			case err != nil:
				continue
			}
			r.horizon = max(r.horizon, h.horizon)
			r.headers++
		}
		if off += int64(len(b)); off < s.window.size {
			off -= headerBytes - 1
		}
	}
	r.bytes += end - from
	return nil
}

// nextMagic finds where a header might begin in b, at from or behind it.
func nextMagic(b []byte, from int) int {
	if len(b)-from < headerBytes {
		return -1
	}
	i := bytes.Index(b[from:], magicBytes)
	if i < 0 || len(b)-from-i < headerBytes {
		return -1
	}
	return from + i
}

// foreign reports whether the first frame of the segment is the whole header frame of
// another log. A void generation would look the same without it.
func (s *scanner) foreign() error {
	n := int(min(prefixBytesMax+headerBytes+startBytes, s.window.size))
	b, err := s.window.at(0, n)
	if err != nil {
		return err
	}
	_, prefix := binary.Uvarint(b)
	if prefix <= 0 || len(b) < prefix+headerBytes+startBytes {
		return nil
	}
	id, generation := identity(b[prefix+headerBytes:])
	if id == s.id && generation == s.generation {
		return nil
	}
	if _, _, err := readHeader(b[prefix:], id.seed(generation)); err == errMagic || err == errHeaderHash {
		return nil
	}
	return s.corrupt(0, fmt.Errorf("%w: store %x, layout %d, shard %d, generation %d", ErrForeign, id.Store, id.Layout, id.Shard, generation))
}
