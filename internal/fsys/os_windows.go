package fsys

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// holderOffset is where the text of a lock file begins: behind the byte that the
// lock covers, which nobody else can read or write while it is held.
const holderOffset = 1

const openFlags = 0

// refuseLink looks before the open; there is no flag for it. Who can put a link
// into the directory between the two can also write the files themselves.
func refuseLink(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode()&os.ModeSymlink != 0 {
		err = &os.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return err
}

// Owner is the user that a file belongs to, which has no number here.
func Owner(os.FileInfo) (uid int, ok bool) { return 0, false }

func wholeSync(f *os.File) error { return f.Sync() }

func reserve(*os.File, int64) error { return nil }

func evict(*os.File) error { return nil }

// syncDir checks that the directory is there. Windows has no sync of a directory:
// NTFS orders changes of names in its own journal.
func syncDir(name string) error {
	_, err := os.ReadDir(name)
	return err
}

func isFull(err error) bool {
	return isAny(err, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL,
		windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func free(name string) (uint64, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	var n uint64
	err = windows.GetDiskFreeSpaceEx(path, &n, nil, nil)
	return n, err
}
