package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	tidwall "github.com/tidwall/wal"

	"github.com/keyfold/keyfold/internal/fsys"
)

// library is the device that gives entries to github.com/tidwall/wal. It only ever
// opens a log whose last segment is empty, writes and closes: what the library does on
// opening, reading and truncating a log is not safe after a crash or a failure. It is
// not asked to sync, because it holds its lock meanwhile and appends would wait.
type library struct {
	fs           fsys.FS
	dir          string
	log          *tidwall.Log // nil also while there is no room for the next segment
	size         int64        // of the tail
	segmentBytes int64
}

func newLibrary(fs fsys.FS, dir string, segmentBytes int64) (device, error) {
	d := &library{fs: fs, dir: dir, segmentBytes: segmentBytes}
	if _, err := os.Lstat(dir); err != nil {
		return nil, fmt.Errorf("the library device needs the file system of the operating system: %w", err)
	}
	return d, d.open()
}

func (d *library) open() error {
	return guard(func() (err error) {
		d.log, err = tidwall.Open(d.dir, d.options())
		return err
	})
}

func (d *library) options() *tidwall.Options {
	return &tidwall.Options{
		NoSync:           true,
		SegmentSize:      int(d.segmentBytes),
		LogFormat:        tidwall.Binary,
		SegmentCacheSize: 1,
		DirPerms:         0o700,
		FilePerms:        0o600,
	}
}

// append makes the library sync, close and begin segments by itself: inside the
// write that fills one.
func (d *library) append(number uint64, e entry) error {
	d.size += int64(len(e.bytes))
	if d.size >= d.segmentBytes {
		d.size = 0
		if err := d.requireAbsent(number + 1); err != nil {
			return err
		}
	}
	err := guard(func() error { return d.log.Write(number, e.frame()) })
	if noRoomToBegin(err, number+1) {
		d.log = nil
		return nil
	}
	return err
}

// noRoomToBegin says that err is that of making the segment of entry number, for want
// of room. The library makes it last of all: the entry before is written, and its
// segment synced and closed. The library cannot go on by itself then.
func noRoomToBegin(err error, number uint64) bool {
	var at *os.PathError
	return errors.As(err, &at) && at.Op == "open" && filepath.Base(at.Path) == segmentName(number) && fsys.IsFull(err)
}

// requireAbsent looks before the library leaps: it would follow a link and empty
// whatever file lies there.
func (d *library) requireAbsent(number uint64) error {
	path := segmentPath(d.dir, number)
	if _, err := d.fs.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already: %w", path, os.ErrExist), err)
	}
	return nil
}

// begin makes the segment if the library could not. To the library that opens it then,
// the log looks as it does behind a segment that the library has begun.
func (d *library) begin(number uint64, _ bool) error {
	path := segmentPath(d.dir, number)
	if d.log != nil {
		_, err := d.fs.Lstat(path)
		return err
	}
	f, err := d.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.open()
}

// ahead does nothing: the library writes where it thinks that the file ends.
func (d *library) ahead(int64) error { return nil }

// close drops the library's log after a failure, because closing it would sync. Its
// descriptor is closed when the garbage collector finds it.
func (d *library) close(healthy bool) error {
	if !healthy || d.log == nil {
		d.log = nil
		return nil
	}
	log := d.log
	d.log = nil
	return guard(log.Close)
}

// guard turns a panic of the library into an error.
func guard(call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("github.com/tidwall/wal panicked: %v", value)
		}
	}()
	return call()
}
