package wal

import (
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
)

// direct is the device that writes the library's format itself.
type direct struct {
	fs   fsys.FS
	dir  string
	tail fsys.File
	size int64 // of the tail
}

func newDirect(fs fsys.FS, dir string) *direct { return &direct{fs: fs, dir: dir} }

func (d *direct) append(_ uint64, e entry) error {
	n, err := d.tail.WriteAt(e.bytes, d.size)
	d.size += int64(n)
	return err
}

// begin syncs and closes the segment before, as the library does.
func (d *direct) begin(number uint64) error {
	if d.tail != nil {
		if err := d.tail.Sync(); err != nil {
			return err
		}
		tail := d.tail
		d.tail = nil
		if err := tail.Close(); err != nil {
			return err
		}
	}
	f, err := d.fs.OpenFile(segmentPath(d.dir, number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	d.tail, d.size = f, 0
	return err
}

func (d *direct) close(bool) error {
	if d.tail == nil {
		return nil
	}
	tail := d.tail
	d.tail = nil
	return tail.Close()
}
