package wal

import (
	"errors"
	"fmt"
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
)

// direct is the device that writes the library's format itself.
type direct struct {
	fs   fsys.FS
	dir  string
	tail fsys.File
	size int64 // of the entries in the tail
	has  int64 // bytes of the tail, with what was written ahead
}

func newDirect(fs fsys.FS, dir string) *direct { return &direct{fs: fs, dir: dir} }

func (d *direct) append(_ uint64, e entry) error {
	n, err := d.tail.WriteAt(e.bytes, d.size)
	d.size += int64(n)
	d.has = max(d.has, d.size)
	return err
}

func (d *direct) ahead(size int64) error {
	for d.has < size {
		n, err := d.tail.WriteAt(zeros[:min(size-d.has, aheadBytes)], d.has)
		d.has += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// begin syncs and closes the segment before, as the library does. Only when it is the
// new segment that there is no room for may the error say so: then begin is called again,
// and a sync that has failed must never be tried a second time.
func (d *direct) begin(number uint64) error {
	if err := d.end(); err != nil {
		return fmt.Errorf("end the segment before: %v", err) // matches nothing
	}
	f, err := d.fs.OpenFile(segmentPath(d.dir, number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	d.tail, d.size, d.has = f, 0, 0
	return err
}

// end makes the full segment durable and closes it.
func (d *direct) end() error {
	if d.tail == nil {
		return nil
	}
	if err := d.tail.Sync(); err != nil {
		return err
	}
	tail := d.tail
	d.tail = nil
	return tail.Close()
}

// cut takes away what was written ahead and not used.
func (d *direct) cut() error {
	if d.has == d.size {
		return nil
	}
	d.has = d.size
	return d.tail.Truncate(d.size)
}

func (d *direct) close(healthy bool) (err error) {
	if d.tail == nil {
		return nil
	}
	if healthy {
		err = d.cut()
	}
	tail := d.tail
	d.tail = nil
	return errors.Join(err, tail.Close())
}
