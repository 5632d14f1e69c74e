package wal

import "errors"

// A sync of bytes that were there before costs half of one that makes a file grow,
// because neither its size nor its blocks change. So the last segment is filled with
// zeros ahead of the frames, a step at a time, while frames are small
// (BenchmarkAppendSync).
const (
	// aheadBytes is one step: so little that neither the frame that waits for it nor
	// the sync that covers it is held up for long.
	aheadBytes = 512 << 10
	// aheadSyncBytes is how much a sync may cover on the average for a step to pay. A
	// log of large frames, or one that is seldom synced, would only be written twice.
	aheadSyncBytes = 16 << 10
)

// zeros is what is written ahead. Nobody writes to it.
var zeros [aheadBytes]byte

// ahead decides when the last segment is written ahead.
type ahead struct {
	frame int64  // bytes of the last frame
	next  int64  // size of the segment from which on to decide again
	bytes int64  // of the generation, when it was decided last
	syncs uint64 // of the Writer then
}

// writeAhead writes the next step if the next frame may need it. Without room for it
// the step is left out: it promises nothing.
func (w *Writer) writeAhead() error {
	a := &w.tail.ahead
	if w.tail.size+a.frame <= a.next {
		return nil
	}
	syncs := w.syncs.Load()
	pays := w.tail.entries == 1 || w.tail.bytes-a.bytes <= int64(syncs-a.syncs)*aheadSyncBytes
	a.bytes, a.syncs = w.tail.bytes, syncs
	// Not beyond the size at which the segment is full: a full one ends with its frames.
	a.next = min(w.tail.size+aheadBytes, w.tail.reserved, w.options.SegmentBytes)
	if !pays {
		return nil
	}
	err := w.device.ahead(a.next)
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	return err
}
