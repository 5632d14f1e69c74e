package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
)

// Publish gives a file that was finished its final name, in the same directory, and
// makes sure that the disk holds it whole. These are the steps, and what a crash
// after each leaves behind:
//
//   - head, directory and footer of temporary are read, and final must not exist
//     (the error then matches os.ErrExist): the temporary file;
//   - it is renamed: either name, with the whole file;
//   - the directory is synced: the final name, with the whole file;
//   - the page cache forgets the file, and all of it is read and verified: the same.
//
// Only after nil may anything that the file replaces be given up. After an error
// the file may have either name, and is to be taken for bad if it has the final one.
func Publish(fs fsys.FS, temporary, final string, id ID) (Summary, error) {
	if err := publish(fs, temporary, final, id); err != nil {
		return Summary{}, fmt.Errorf("snapshot: publish: %w", err)
	}
	return readBack(fs, final, id)
}

// publish renames, and syncs the directory.
func publish(fs fsys.FS, temporary, final string, id ID) error {
	dir := filepath.Dir(final)
	if filepath.Dir(temporary) != dir {
		return fmt.Errorf("%s is not in the directory of %s", temporary, final)
	}
	r, err := Open(fs, temporary, id)
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	switch _, err := fs.Lstat(final); {
	case err == nil:
		return &os.PathError{Op: "rename", Path: final, Err: os.ErrExist}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := fs.Rename(temporary, final); err != nil {
		return err
	}
	if mutant.SnapshotNotListed {
		return nil
	}
	return fs.SyncDir(dir)
}

// readBack verifies the file as the disk has it. It leaves nothing of it in the page
// cache, where it would displace what somebody needs.
func readBack(fs fsys.FS, path string, id ID) (Summary, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return Summary{}, fmt.Errorf("snapshot: publish: %w", err)
	}
	err = f.Evict()
	var s Summary
	if err == nil {
		s, err = Verify(fs, path, id)
	}
	if err = errors.Join(err, f.Evict(), f.Close()); err != nil {
		return Summary{}, fmt.Errorf("snapshot: publish: %w", err)
	}
	return s, nil
}

// Verify reads the whole file and checks every byte of it. The error is as that of
// [Open].
func Verify(fs fsys.FS, path string, id ID) (Summary, error) {
	r, err := Open(fs, path, id)
	if err != nil {
		return Summary{}, err
	}
	if err := errors.Join(r.verify(), r.Close()); err != nil {
		return Summary{}, err
	}
	return r.Summary(), nil
}
