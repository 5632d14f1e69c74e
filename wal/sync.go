package wal

import (
	"fmt"
	"path/filepath"
	"slices"

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

// sync syncs what holds the first frames: full segments, and the tail.
func (w *Writer) sync(frames uint64) error {
	open := w.files.unsynced()
	for i, f := range open {
		if mutant.FullSegmentNotSynced && i < len(open)-1 {
			continue
		}
		if err := f.Sync(); err != nil && !mutant.IgnoredSyncError {
			return fmt.Errorf("%s: %w", f.path, err)
		}
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
	return release(w.files.takeSealed(len(open) - 1))
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

// unsynced are the full segments that no sync has covered, oldest first, and the tail. They
// are borrowed until the next call: one sync runs at a time.
func (fs *files) unsynced() []openFile {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.open = append(append(fs.open[:0], fs.sealed...), fs.tail)
	return fs.open
}

func (fs *files) hasSealed() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.sealed) > 0
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

// takeSealed takes out the first n full segments.
func (fs *files) takeSealed(n int) []openFile {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	sealed := fs.sealed[:n]
	fs.sealed = slices.Clone(fs.sealed[n:])
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
