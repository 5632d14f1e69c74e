package wal

import (
	"fmt"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/mutant"
)

// Sync makes durable every frame whose Append returned before it began, with the
// directories that lead to it, and returns the number of the last of them. It may run
// beside Append and the methods that belong to its goroutine. After an error it is
// unknown what is durable beyond Durable(), and the Writer is of no more use.
func (w *Writer) Sync() (durable uint64, err error) {
	if err := w.usable(); err != nil {
		return w.Durable(), err
	}
	frames := w.appended.Load()
	if frames == w.durable.Load() {
		return w.Durable(), nil
	}
	if err := w.sync(frames); err != nil {
		return w.Durable(), w.fail("sync up to frame", frames-1, err)
	}
	return w.Durable(), nil
}

// sync syncs what holds the first frames. Those that are not in the tail lie in
// sealed segments, which the device has synced before Append returned.
func (w *Writer) sync(frames uint64) error {
	tail := w.files.current()
	if err := tail.Sync(); err != nil && !mutant.IgnoredSyncError {
		return fmt.Errorf("%s: %w", tail.path, err)
	}
	if err := w.list(); err != nil {
		return err
	}
	if !w.files.parent && !mutant.GenerationNotListed {
		if err := w.options.FS.SyncDir(filepath.Dir(w.dir)); err != nil {
			return err
		}
		w.files.parent = true
	}
	if err := w.Err(); err != nil {
		return err
	}
	w.durable.Store(frames)
	w.syncs.Add(1)
	return release(w.files.takeSealed())
}

// list makes the entries of all segments durable that have been begun. Append calls
// it before a segment is begun, so that no crash takes a segment and leaves a later
// one.
func (w *Writer) list() error {
	begun, listed := w.files.entries()
	if begun == listed || mutant.SegmentNotListed {
		return nil
	}
	if err := w.options.FS.SyncDir(w.dir); err != nil {
		return err
	}
	w.files.setListed(begun)
	return nil
}

func (fs *files) current() openFile {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.tail
}

func (fs *files) entries() (begun, listed uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.begun, fs.listed
}

func (fs *files) setListed(n uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.listed = max(fs.listed, n)
}

func (fs *files) takeSealed() []openFile {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	sealed := fs.sealed
	fs.sealed = nil
	return sealed
}

// release gives back the blocks and the descriptors of sealed segments. All of them
// are closed whatever happens.
func release(sealed []openFile) (first error) {
	for _, f := range sealed {
		err := f.cut()
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// cut gives back what was reserved behind the end of the segment. The segment must
// have the size that it was written to: anything else means that somebody else
// writes to it too.
func (f openFile) cut() error {
	size, err := f.Size()
	if err == nil && size != f.size {
		err = fmt.Errorf("%d bytes were written to it, but it has %d", f.size, size)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		return fmt.Errorf("cut %s: %w", f.path, err)
	}
	return nil
}
