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

// judge decides what the bad frame at off is: a tear, which it counts, or damage.
func (s *scanner) judge(off int64, last bool, why error) error {
	if s.next == 0 && off == 0 {
		if err := s.foreign(); err != nil {
			return err
		}
	}
	if s.options.Seal != nil || !last {
		return s.corrupt(off, why)
	}
	rest, err := s.search(off)
	if err != nil {
		return err
	}
	if mutant.HorizonTooLow && rest.horizon > 0 {
		rest.horizon--
	}
	if rest.horizon > 0 && rest.horizon >= s.next {
		return s.corrupt(off, fmt.Errorf("%w; a later frame says that it was durable", why))
	}
	if torn := rest.end - off; torn > 0 {
		s.result.TornBytes, s.result.TornFrames = torn, rest.headers
		s.result.TornPath, s.result.TornOffset = s.window.path, off
	}
	return nil
}

// A rest is what lies behind the frames that were taken.
type rest struct {
	headers int
	horizon uint64 // the highest one of the headers
	end     int64  // behind the last byte that is not zero
}

// search looks for headers at any offset from off on. One that this version cannot
// read might say anything.
func (s *scanner) search(off int64) (r rest, err error) {
	for r.end = off; off < s.window.size; {
		b, err := s.window.at(off, int(min(readBytes, s.window.size-off)))
		if err != nil {
			return r, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			r.end = off + int64(n)
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
	return r, nil
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
