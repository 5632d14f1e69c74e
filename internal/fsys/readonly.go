package fsys

import (
	"errors"
	"io"
	"os"
)

// ErrReadsOnly is matched by the errors of a ReadOnly file system for whatever would
// change something.
var ErrReadsOnly = errors.New("fsys: this file system is only read")

// ReadOnly is fs without the ways to change it. Directories are not synced, and nothing
// is locked.
func ReadOnly(fs FS) FS { return readOnly{fs} }

type readOnly struct{ FS }

func (r readOnly) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if flag != os.O_RDONLY {
		return nil, refuseChange("open", name)
	}
	f, err := r.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f, name}, nil
}

func (readOnly) Mkdir(name string, _ os.FileMode) error { return refuseChange("mkdir", name) }
func (readOnly) Rename(oldName, _ string) error         { return refuseChange("rename", oldName) }
func (readOnly) Remove(name string) error               { return refuseChange("remove", name) }
func (readOnly) SyncDir(string) error                   { return nil }
func (readOnly) Lock(name, _ string) (io.Closer, error) { return nil, refuseChange("lock", name) }

type readOnlyFile struct {
	File
	name string
}

func (f readOnlyFile) Write([]byte) (int, error)          { return 0, refuseChange("write", f.name) }
func (f readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, refuseChange("write", f.name) }
func (f readOnlyFile) Sync() error                        { return nil }
func (f readOnlyFile) Truncate(int64) error               { return refuseChange("truncate", f.name) }
func (f readOnlyFile) Reserve(int64) error                { return refuseChange("reserve", f.name) }

func refuseChange(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: ErrReadsOnly}
}
