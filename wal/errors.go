package wal

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
)

var (
	// ErrClosed is returned when a Writer is used after Close.
	ErrClosed = errors.New("wal: the writer is closed")
	// ErrNoSpace is matched by the error of Room when the file system has no room
	// for the next frame. Nothing was changed; a later Room may succeed.
	ErrNoSpace = fsys.ErrNoSpace
	// ErrTooLarge is matched when a frame is larger than FrameBytesMax, of the
	// Writer or of the Scan that met it. Nothing was written.
	ErrTooLarge = errors.New("wal: frame too large")
	// ErrFrame is returned when a Frame is appended that was not Reset before.
	ErrFrame = errors.New("wal: the frame has no room for its header; call Reset first")
	// ErrFormat is matched when the log was written in another version of the
	// format. Such a log is whole as far as this package can tell.
	ErrFormat = errors.New("wal: unknown format")
	// ErrCorrupt is matched by every CorruptError.
	ErrCorrupt = errors.New("wal: damaged log")
	// ErrStray is matched by the CorruptError about something in the directory that
	// is not a segment: an unknown name, or anything but a regular file.
	ErrStray = errors.New("not a segment of this log")
	// ErrForeign is matched by the CorruptError about a generation that belongs to
	// another store, layout or shard, or has another number.
	ErrForeign = errors.New("it belongs to another log")
)

// A CorruptError is returned by Scan when the log is damaged where it was durable,
// or where it cannot be told whether it was. Nothing has been changed on disk.
type CorruptError struct {
	Path     string // the segment, or the directory when one is missing
	Offset   int64  // of the bad frame in it
	Sequence uint64 // the number of the frame that should lie there
	Err      error  // what is wrong
}

// Error says what is wrong, and where.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s is damaged at offset %d, frame %d: %v", e.Path, e.Offset, e.Sequence, e.Err)
}

// Unwrap gives what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func formatError(found uint16) error {
	return fmt.Errorf("%w: the log has format %d, this program knows format %d", ErrFormat, found, Format)
}

func tooLarge(bytes, bytesMax int) error {
	return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, bytes, bytesMax)
}
