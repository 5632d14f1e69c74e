package wal

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
)

const (
	// reserveBytes is how far ahead space is reserved: seldom enough not to show, near
	// enough that an idle log does not hold much.
	reserveBytes = 1 << 20
	// spareBytes must be free for what cannot be reserved: the entry of a new segment
	// in the directory. When somebody else has taken it by then, the segment is begun
	// by a later Room.
	spareBytes = 64 << 10
)

// Room makes sure that a frame with a body of n bytes can be appended without running
// out of space, where the file system can promise that. It is cheap while there is
// room; otherwise it reserves space, ahead of need. An error that matches [ErrNoSpace]
// or [ErrTooLarge] leaves everything as it was. Any other error makes the Writer
// useless.
func (w *Writer) Room(n int) error {
	if err := w.usable(); err != nil {
		return err
	}
	if n > w.options.FrameBytesMax {
		return tooLarge(n, w.options.FrameBytesMax)
	}
	if err := w.requireSegment(); err != nil {
		return err
	}
	need := w.tail.size + entryBytes(max(n, 0))
	var err error
	if need > w.tail.reserved {
		err = w.reserve(need)
	}
	if err == nil {
		err = w.writeAhead()
	}
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	return w.fail("make room for frame", w.tail.end.Frame+1, err)
}

// reserve lets the last segment grow to need, or further if there is room for it.
func (w *Writer) reserve(need int64) error {
	ahead := (need + reserveBytes - 1) / reserveBytes * reserveBytes
	// The frame that fills the segment may reach beyond its size. Room for the largest
	// one is reserved at once, not again for each of the frames that come near the end.
	ahead = max(need, min(ahead, w.options.SegmentBytes+entryBytes(w.options.FrameBytesMax)))
	if w.tail.entries == 0 {
		ahead = need // a generation that nothing happens in stays small
	}
	err := w.reserveUpTo(ahead)
	if errors.Is(err, ErrNoSpace) && ahead > need {
		err = w.reserveUpTo(need)
	}
	return err
}

func (w *Writer) reserveUpTo(size int64) error {
	wanted := uint64(size - max(w.tail.size, w.tail.reserved))
	if size >= w.options.SegmentBytes {
		wanted += spareBytes
	}
	free, err := w.options.FS.Free(w.dir)
	if err != nil {
		return err
	}
	if free < wanted {
		return fmt.Errorf("wal: %s: %d bytes wanted, %d free: %w", w.dir, wanted, free, fsys.ErrNoSpace)
	}
	if err := w.files.tail.Reserve(size); err != nil {
		return err
	}
	w.tail.reserved = size
	return nil
}
