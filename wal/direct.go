package wal

import (
	"errors"
	"fmt"
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
)

// direct is the device that writes the library's format itself.
type direct struct {
	fs   fsys.FS
	dir  string
	last fsys.File // the full segment before the tail
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

// begin ends the segment before the last. Only when it is the new segment that there is
// no room for may the error say so: then begin is called again, and a sync that has failed
// must never be tried a second time.
func (d *direct) begin(number uint64, behind bool) error {
	if err := d.end(behind); err != nil {
		return fmt.Errorf("end a full segment: %v", err) // matches nothing
	}
	f, err := d.fs.OpenFile(segmentPath(d.dir, number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	d.last, d.tail, d.size, d.has = d.tail, f, 0, 0
	return nil
}

// end closes the segment before the tail. A sync by others is not waited for: this
// descriptor hears for itself whether what it has written has come to the disk.
func (d *direct) end(behind bool) error {
	if d.last == nil {
		return nil
	}
	if behind && !mutant.FullSegmentLeft {
		if err := d.last.Sync(); err != nil {
			return err
		}
	}
	last := d.last
	d.last = nil
	return last.Close()
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
	if healthy && d.tail != nil {
		err = d.cut()
	}
	for _, f := range []fsys.File{d.last, d.tail} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	d.last, d.tail = nil, nil
	return err
}
