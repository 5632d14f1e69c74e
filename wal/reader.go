package wal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
)

// followBytes is how much a Reader reads at once: at the end of a log that is being
// written most of it would be read again with the next frame.
const followBytes = 64 << 10

// A Reader reads the frames of one generation one after the other, also while a Writer
// appends behind them. It is told up to which frame they are durable and judges no tear:
// what is wrong below that is damage. It must be used by one goroutine at a time.
type Reader struct {
	scanner scanner
	view    FrameView
	open    bool
	segment uint64 // that is open: the number of its first entry
	off     int64  // of the next frame in it
	last    int64  // bytes of the last frame, with its length
}

// NewReader reads generation of the log id in dir. Nothing is opened before Next.
func NewReader(fs fsys.FS, dir string, id ID, generation uint64) *Reader {
	r := &Reader{scanner: scanner{
		fs: fs, dir: dir, id: id, generation: generation, seed: id.seed(generation),
		options: ScanOptions{FrameBytesMax: FrameBytesLimit},
	}}
	r.scanner.window.ahead = followBytes
	r.scanner.result.End.Generation = generation
	r.scanner.fn = func(f FrameView) error {
		r.view = f
		return nil
	}
	return r
}

// Next returns the next frame, the header frame first, or false if that is behind upTo:
// frames up to that one must be durable. The body is valid until the next call. Errors are
// those of Scan; one that matches os.ErrNotExist says that a file is gone.
func (r *Reader) Next(upTo uint64) (FrameView, bool, error) {
	s := &r.scanner
	if s.next > upTo {
		return FrameView{}, false, nil
	}
	if err := r.seek(); err != nil {
		return FrameView{}, false, err
	}
	n, err := s.frame(r.off)
	if isBad(err) { // it was not there yet when the window was filled, or zeros behind it were
		if err = s.window.renew(); err == nil {
			err = r.seek()
		}
		if err != nil {
			return FrameView{}, false, fmt.Errorf("wal: %w", err)
		}
		n, err = s.frame(r.off)
	}
	var bad badFrame
	if errors.As(err, &bad) {
		err = s.corrupt(r.off, bad.err)
	}
	if err != nil {
		return FrameView{}, false, err
	}
	r.off, r.last = r.off+n, n
	s.result.Bytes += n
	return r.view, true, nil
}

func isBad(err error) bool {
	_, bad := err.(badFrame)
	return bad || errors.Is(err, io.ErrUnexpectedEOF)
}

// seek opens the segment that the next frame lies in. A segment that has another one
// behind it ends with its last frame.
func (r *Reader) seek() error {
	s := &r.scanner
	if !r.open && r.segment != 0 { // it was closed, perhaps in the middle
		if err := r.enter(r.segment); err != nil {
			return err
		}
	}
	if r.open && r.off >= s.window.size {
		if err := s.window.renew(); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	if r.open && r.off < s.window.size {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	r.off = 0
	return r.enter(s.next + 1)
}

// enter opens a segment.
func (r *Reader) enter(segment uint64) error {
	if err := r.scanner.window.open(r.scanner.fs, segmentPath(r.scanner.dir, segment)); err != nil {
		return fmt.Errorf("wal: open a segment: %w", err)
	}
	r.open, r.segment = true, segment
	return nil
}

// Raw is the last frame with its length in front, as it lies in the segment whose first
// entry is number, borrowed until the next call of Next.
func (r *Reader) Raw() (segment uint64, raw []byte, err error) {
	raw, err = r.scanner.window.at(r.off-r.last, int(r.last))
	return r.segment, raw, err
}

// End is the last frame that was read.
func (r *Reader) End() End { return r.scanner.result.End }

// Bytes is how much of the log was read.
func (r *Reader) Bytes() int64 { return r.scanner.result.Bytes }

// Close closes the file that is open. A Next goes on from there.
func (r *Reader) Close() error {
	if !r.open {
		return nil
	}
	r.open = false
	if err := r.scanner.window.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("wal: close a segment: %w", err)
	}
	return nil
}
