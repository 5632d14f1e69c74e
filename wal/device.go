package wal

import (
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A DeviceKind says what writes the segments. All devices write the same bytes.
type DeviceKind uint8

// The devices.
const (
	// Library is github.com/tidwall/wal. It writes to the file system of the
	// operating system only, and makes about five bytes of garbage for each byte
	// that it writes.
	Library DeviceKind = iota
	// Direct writes through [fsys.FS] and makes no garbage.
	Direct
)

// String names the kind.
func (k DeviceKind) String() string {
	switch k {
	case Library:
		return "library"
	case Direct:
		return "direct"
	}
	return fmt.Sprintf("DeviceKind(%d)", uint8(k))
}

// A device appends entries to segments. It belongs to the goroutine that appends,
// and is not called again after an error, except for close, and for begin where it says
// so. It has descriptors of its own: a failed write-back is reported once to each
// descriptor, and so to whoever syncs, whatever the device is told.
type device interface {
	// append writes an entry, the number-th of the log, behind the last one.
	append(number uint64, e entry) error
	// begin makes sure that the segment whose first entry is number exists, and is
	// empty. behind says that nobody has synced the segment before the last one yet: it
	// is made durable before begin returns, so that no more than two ever are not. An
	// error that matches ErrNoSpace says that there is no room for the new one; begin may
	// be called again then.
	begin(number uint64, behind bool) error
	// ahead makes sure that the segment has bytes up to size, if the device can do
	// that; those behind the last entry are zero. The next entry overwrites them, and
	// close cuts off what is left of them.
	ahead(size int64) error
	// close gives back what it can give back without a sync. healthy says that
	// nothing has failed.
	close(healthy bool) error
}

func newDevice(kind DeviceKind, fs fsys.FS, dir string, segmentBytes int64) (device, error) {
	switch kind {
	case Library:
		return newLibrary(fs, dir, segmentBytes)
	case Direct:
		return newDirect(fs, dir), nil
	}
	return nil, fmt.Errorf("wal: unknown device %v", kind)
}
