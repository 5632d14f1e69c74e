package wal

import (
	"fmt"
	"io"

	"github.com/keyfold/keyfold/internal/fsys"
)

// readBytes is how much is read at once; BenchmarkScan.
const readBytes = 1 << 20

// A window is the part of a segment that is in memory: a read-ahead, or one frame
// when that is larger.
type window struct {
	file  fsys.File
	path  string
	size  int64 // of the file
	start int64 // of buf in the file
	buf   []byte
	ahead int // how much is read at once; 0: readBytes
}

// step is how much is read at once.
func (w *window) step() int {
	if w.ahead > 0 {
		return w.ahead
	}
	return readBytes
}

// renew forgets what was read, and looks how large the file is now.
func (w *window) renew() (err error) {
	w.buf = w.buf[:0]
	w.size, err = w.file.Size()
	return err
}

// open turns the window to another file and keeps its memory.
func (w *window) open(fs fsys.FS, path string) (err error) {
	w.start, w.buf, w.path = 0, w.buf[:0], path
	w.file, w.size, err = openSegment(fs, path, 0)
	return err
}

// at returns the n bytes from off on, which must lie within the file. They are
// overwritten by the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if from := off - w.start; from >= 0 && from+int64(n) <= int64(len(w.buf)) {
		return w.buf[from:][:n], nil
	}
	if err := w.fill(off, n); err != nil {
		return nil, fmt.Errorf("wal: read %s at offset %d: %w", w.path, off, err)
	}
	return w.buf[:n], nil
}

// fill moves the window to off and makes it at least n bytes long.
func (w *window) fill(off int64, n int) error {
	var kept []byte
	if from := off - w.start; from >= 0 && from < int64(len(w.buf)) {
		kept = w.buf[from:]
	}
	buf := w.buf[:0]
	if cap(buf) < n {
		buf = make([]byte, 0, max(int64(n), min(int64(w.step()), w.size-off)))
	}
	length := int(min(int64(max(n, w.step())), int64(cap(buf)), w.size-off))
	buf = buf[:length]
	have := copy(buf, kept)
	w.start, w.buf = off, buf[:0]
	got, err := w.file.ReadAt(buf[have:], off+int64(have))
	if have+got < n { // what is read ahead may be cut off meanwhile
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	w.buf = buf[:have+got]
	return nil
}
