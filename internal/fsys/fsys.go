// Package fsys is the one door to the disk: the dozen file operations that
// durability rests on, as an interface with the operating system behind it.
//
// Tests put another file system behind the same interface, one that forgets what
// was not synced, so that every promise about crashes can be tried without one.
package fsys

import (
	"errors"
	"io"
	"os"
)

// ErrNoSpace is matched by every error that says that the file system has no
// room. What was asked for has not happened, except for the part of a write that
// its count says.
var ErrNoSpace = errors.New("fsys: no space left on the file system")

// ErrLocked is matched by the error of Lock while another holder, in this process
// or another one, has the lock.
var ErrLocked = errors.New("fsys: locked by another process or engine")

// FS is a file system. Its methods are safe for concurrent use. Errors are those
// of package os ([os.ErrNotExist], [os.ErrExist], ...), wrapped with the path.
type FS interface {
	// OpenFile opens name as os.OpenFile does, if it is a regular file. It never
	// follows a symbolic link in the last element of name.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	// Mkdir makes one directory. Its entry is durable after SyncDir of the parent.
	Mkdir(name string, perm os.FileMode) error
	// Rename replaces newName by oldName, atomically. It is durable after SyncDir.
	Rename(oldName, newName string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]os.DirEntry, error)
	// Lstat describes name without following a symbolic link.
	Lstat(name string) (os.FileInfo, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Free says how many bytes can still be written below name.
	Free(name string) (uint64, error)
	// Lock takes the exclusive lock file name without waiting, and writes holder
	// into it. The error of a lock that is taken matches ErrLocked and says who
	// holds it. Closing the result gives the lock back; so does the end of the process.
	Lock(name, holder string) (io.Closer, error)
}

// File is an open file. ReadAt may be called concurrently with everything but
// Close; Sync may be called concurrently with writes, and covers those that
// returned before it began.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Writer
	io.Closer
	// Sync makes the bytes written so far, and the size, durable.
	Sync() error
	// Size is the present size in bytes.
	Size() (int64, error)
	// Truncate cuts or extends the file to size bytes.
	Truncate(size int64) error
	// Reserve makes sure that the file can grow to size bytes without running out
	// of space, and leaves its size as it is. Where the file system cannot do that
	// it returns nil without reserving. A lack of room matches ErrNoSpace.
	Reserve(size int64) error
	// Evict asks the system to forget its cached copy of the file, so that the next
	// read comes from the disk. It is a hint.
	Evict() error
}
