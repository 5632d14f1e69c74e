//go:build linux || darwin

package fsys

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags keep an open from following a link in the last element, and from
// hanging on a named pipe that somebody put in the place of a file.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// refuseLink does nothing: O_NOFOLLOW does it without a race.
func refuseLink(string) error { return nil }

// Owner is the user that a file of the operating system belongs to.
func Owner(info os.FileInfo) (uid int, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(s.Uid), true
}

func isFull(err error) bool { return isAny(err, unix.ENOSPC, unix.EDQUOT) }

// syncDir follows a link to the directory: a data directory may be one.
func syncDir(name string) error {
	d, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func free(name string) (uint64, error) {
	var s unix.Statfs_t
	for {
		err := unix.Statfs(name, &s)
		if err == nil {
			return s.Bavail * uint64(s.Bsize), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
}
