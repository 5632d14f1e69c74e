package wal

import (
	"errors"
	"fmt"
	"os"

	tidwall "github.com/tidwall/wal"

	"github.com/keyfold/keyfold/internal/fsys"
)

// library is the device that gives entries to github.com/tidwall/wal. It only ever
// opens an empty directory, writes and closes: what the library does on opening,
// reading and truncating a log is not safe after a crash or a failure. It is not
// asked to sync, because it holds its lock meanwhile and appends would wait.
type library struct {
	fs           fsys.FS
	dir          string
	log          *tidwall.Log
	size         int64 // of the tail
	segmentBytes int64
}

func newLibrary(fs fsys.FS, dir string, segmentBytes int64) (device, error) {
	d := &library{fs: fs, dir: dir, segmentBytes: segmentBytes}
	if _, err := os.Lstat(dir); err != nil {
		return nil, fmt.Errorf("the library device needs the file system of the operating system: %w", err)
	}
	err := guard(func() (err error) {
		d.log, err = tidwall.Open(dir, d.options())
		return err
	})
	return d, err
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
	return guard(func() error { return d.log.Write(number, e.frame()) })
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

func (d *library) begin(number uint64) error {
	_, err := d.fs.Lstat(segmentPath(d.dir, number))
	return err
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
