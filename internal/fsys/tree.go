package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// treeDepthMax bounds the nesting that RemoveTree goes into.
const treeDepthMax = 32

// MkdirAll makes dir and the parents that are missing, and syncs each directory
// that it made an entry in. Where it begins, the parent of the deepest directory
// that was there is synced too: a process that was killed between making that one
// and syncing its entry would otherwise leave the entry to the next power cut.
func MkdirAll(fs FS, dir string, perm os.FileMode) error {
	dir = filepath.Clean(dir)
	there, err := isDir(fs, dir)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if there {
		return syncParent(fs, dir, parent)
	}
	if err := MkdirAll(fs, parent, perm); err != nil {
		return err
	}
	if err := fs.Mkdir(dir, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("fsys: make directory: %w", err)
	}
	if err := fs.SyncDir(parent); err != nil {
		return fmt.Errorf("fsys: make directory %s: %w", dir, err)
	}
	return nil
}

// isDir reports whether dir is a directory, or a link to one, and refuses
// everything else that may be in its place.
func isDir(fs FS, dir string) (bool, error) {
	info, err := fs.Lstat(dir)
	if err == nil && info.Mode()&os.ModeSymlink != 0 {
		info, err = fs.Lstat(dir + string(os.PathSeparator) + ".")
	}
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("fsys: make directory: %w", err)
	}
	if !info.IsDir() {
		return false, fmt.Errorf("fsys: make directory: %s is there and is no directory", dir)
	}
	return true, nil
}

// syncParent passes over a parent that we may not read: nobody with our rights
// made an entry in it.
func syncParent(fs FS, dir, parent string) error {
	if parent == dir {
		return nil
	}
	if err := fs.SyncDir(parent); err != nil && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("fsys: make directory %s: %w", dir, err)
	}
	return nil
}

// RemoveTree removes dir and all below it; that dir is not there is no error. If
// anything below is neither a regular file nor a directory, such as a link, it
// removes nothing. The removal is durable after SyncDir of the parent; a crash
// before may leave any part of the tree.
func RemoveTree(fs FS, dir string) error {
	err := walk(fs, dir, 0, func(string) error { return nil })
	if err == nil {
		err = walk(fs, dir, 0, fs.Remove)
	}
	if err != nil {
		return fmt.Errorf("fsys: remove tree: %w", err)
	}
	return nil
}

// RemoveTreeInSteps is [RemoveTree] for a disk on which others wait for their syncs:
// giving back the blocks of a large file at once holds all of them up. It cuts a file
// down by step bytes at a time and calls rest between two steps. A crash may leave any
// part of the tree, and files that are cut.
func RemoveTreeInSteps(fs FS, dir string, step int64, rest func()) error {
	err := walk(fs, dir, 0, func(string) error { return nil })
	if err == nil {
		err = walk(fs, dir, 0, func(name string) error { return removeInSteps(fs, name, step, rest) })
	}
	if err != nil {
		return fmt.Errorf("fsys: remove tree in steps: %w", err)
	}
	return nil
}

func removeInSteps(fs FS, name string, step int64, rest func()) error {
	info, err := fs.Lstat(name)
	if err != nil {
		return err
	}
	if size := info.Size(); info.Mode().IsRegular() && size > step {
		if err := shrink(fs, name, size, step, rest); err != nil {
			return err
		}
	}
	return fs.Remove(name)
}

// shrink cuts a file down to one step.
func shrink(fs FS, name string, size, step int64, rest func()) (err error) {
	f, err := fs.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for size > step {
		size -= step
		if err := f.Truncate(size); err != nil {
			return err
		}
		rest()
	}
	return nil
}

// walk calls visit for name and all below it, leaves first.
func walk(fs FS, name string, depth int, visit func(string) error) error {
	info, err := fs.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return walkDir(fs, name, depth, visit)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a directory", name)
	}
	return visit(name)
}

func walkDir(fs FS, dir string, depth int, visit func(string) error) error {
	if depth == treeDepthMax {
		return fmt.Errorf("%s is nested too deep", dir)
	}
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := walk(fs, filepath.Join(dir, e.Name()), depth+1, visit); err != nil {
			return err
		}
	}
	return visit(dir)
}

// ReadFile reads a whole file of at most bytesMax bytes, and refuses a larger one
// before it takes memory for it.
func ReadFile(fs FS, name string, bytesMax int64) (data []byte, err error) {
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > bytesMax {
		return nil, fmt.Errorf("fsys: read %s: %w: %d bytes, %d allowed", name, errTooLarge, size, bytesMax)
	}
	data = make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		return data, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("fsys: read %s: %w", name, err)
}

var errTooLarge = errors.New("the file is too large")
