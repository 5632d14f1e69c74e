package fsys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/mutant"
)

// TemporarySuffix ends the name under which [ReplaceFile] writes a file before it
// takes its place. A crash may leave one behind; the next ReplaceFile removes it.
const TemporarySuffix = ".tmp"

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
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeNew(fs, temporary, data); err != nil {
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

// writeNew leaves a file that it could not finish: the next replacement removes
// it, and a removal here could fail for the same reason as the write.
func writeNew(fs FS, name string, data []byte) error {
	f, err := fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !mutant.ReplacementNotSynced {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
