package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/keyfold/keyfold/internal/fsys"
)

const segmentNameBytes = 20

// segmentName is the name of the file whose first entry is number.
func segmentName(number uint64) string { return fmt.Sprintf("%0*d", segmentNameBytes, number) }

// segmentPath is the file whose first entry is number.
func segmentPath(dir string, number uint64) string { return filepath.Join(dir, segmentName(number)) }

// SegmentPath is the file in the directory of a generation whose first entry is number.
func SegmentPath(dir string, number uint64) string { return segmentPath(dir, number) }

// segmentNumber reads the number of the first entry from a file name.
func segmentNumber(name string) (uint64, bool) {
	if len(name) != segmentNameBytes || name[0] == '+' {
		return 0, false
	}
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0
}

// A segment is one file of a generation.
type segment struct {
	path   string
	number uint64 // of its first entry
}

// listSegments lists the segments of a generation in order. Anything else in its
// directory is an error: it was not put there by a Writer.
func listSegments(fs fsys.FS, dir string) ([]segment, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list the segments: %w", err)
	}
	segments := make([]segment, 0, len(entries))
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		number, ok := segmentNumber(entry.Name())
		if !ok || !entry.Type().IsRegular() {
			return nil, &CorruptError{Path: path, Err: ErrStray}
		}
		segments = append(segments, segment{path: path, number: number})
	}
	return segments, nil
}

// openSegment opens an existing segment.
func openSegment(fs fsys.FS, path string, flag int) (f fsys.File, size int64, err error) {
	f, err = fs.OpenFile(path, flag, 0)
	if err != nil {
		return nil, 0, err
	}
	if size, err = f.Size(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// openEmpty opens a segment that was begun just now.
func openEmpty(fs fsys.FS, path string) (fsys.File, error) {
	f, size, err := openSegment(fs, path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if size != 0 {
		return nil, errors.Join(fmt.Errorf("%s has %d bytes before anything was written to it", path, size), f.Close())
	}
	return f, nil
}
