package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
)

// openable says why Open would not take the directory dir, whatever is in it. shared says
// that a group may write to it.
//
// Whose a directory is, is not looked at: root in a container on the volume of somebody
// else, and a volume that an orchestrator has given to a group, are as they should be. That
// all may write to it never is.
func openable(files fsys.FS, dir string) (shared bool, err error) {
	info, err := files.Lstat(dir)
	if err != nil {
		return false, fmt.Errorf("keyfold: %w", err)
	}
	mode := info.Mode()
	if os.PathSeparator != '/' || mode&os.ModeSymlink != 0 {
		return false, nil
	}
	if mode.Perm()&0o002 != 0 {
		return false, fmt.Errorf("keyfold: %s can be written by everybody (mode %v); take that right away: chmod o-w %[1]s", dir, mode.Perm())
	}
	return mode.Perm()&0o020 != 0, nil
}

// explained adds to an error about rights whose the file is and what to do; others it
// returns as they are.
func explained(files fsys.FS, dir string, err error) error {
	var at *fs.PathError
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &at) || os.PathSeparator != '/' {
		return err
	}
	path := at.Path
	info, statErr := files.Lstat(path)
	for statErr != nil && len(path) > len(dir) { // it is not there, or its directory may not be searched
		path = filepath.Dir(path)
		info, statErr = files.Lstat(path)
	}
	if statErr != nil {
		return err
	}
	of := ""
	if uid, ok := fsys.Owner(info); ok {
		of = fmt.Sprintf(" and belongs to user %d", uid)
	}
	return fmt.Errorf("%w; %s has mode %v%s, and this process runs as user %d, which must own all of the store or have the same rights: "+
		"run it as the owner, or give the store to it: chown -R %[5]d %[6]s", err, path, info.Mode(), of, os.Geteuid(), dir)
}
