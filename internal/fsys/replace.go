package fsys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/mutant"
)

// TemporarySuffix ends the name under which [ReplaceFile] writes a file before it
// takes its place. A crash may leave one behind; the next ReplaceFile removes it. An
// empty one is what [ReserveReplacement] has made.
const TemporarySuffix = ".tmp"

// ReserveReplacement takes the room for the next [ReplaceFile] of name, with up to
// bytes of data, so that this one does not fail for want of it, where the file system
// can promise that. A lack of room matches [ErrNoSpace]. What was reserved stays until
// the replacement; reserving again changes nothing.
func ReserveReplacement(fs FS, name string, bytes int64) error {
	f, err := openTemporary(fs, name+TemporarySuffix)
	if err == nil {
		err = errors.Join(f.Reserve(bytes), f.Close())
	}
	if err != nil {
		return fmt.Errorf("fsys: reserve a replacement of %s: %w", name, err)
	}
	return nil
}

// openTemporary opens a file that is empty: one with room that was reserved, or a new
// one in the place of what a crash has left.
func openTemporary(fs FS, name string) (File, error) {
	info, err := fs.Lstat(name)
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return fs.OpenFile(name, os.O_WRONLY, 0)
	}
	if err := fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// ReplaceFile gives name the contents data, durably and at once: after a crash
// there is either the file that was there before or the whole new one. It has mode
// 0600. After an error either may be there; if it is one of the last step, the new
// one is visible and not yet known to be durable. There must be one caller at a
// time for a name.
func ReplaceFile(fs FS, name string, data []byte) error {
	if err := replaceFile(fs, name, data); err != nil {
		return fmt.Errorf("fsys: replace %s: %w", name, err)
	}
	return nil
}

func replaceFile(fs FS, name string, data []byte) error {
	temporary := name + TemporarySuffix
	if err := writeTemporary(fs, temporary, data); err != nil {
		return err
	}
	if err := fs.Rename(temporary, name); err != nil {
		return err
	}
	if mutant.ReplacementNotListed {
		return nil
	}
	return fs.SyncDir(filepath.Dir(name))
}

// writeTemporary leaves a file that it could not finish: the next replacement removes
// it, and a removal here could fail for the same reason as the write.
func writeTemporary(fs FS, name string, data []byte) error {
	f, err := openTemporary(fs, name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !mutant.ReplacementNotSynced {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
