package limit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
)

// An Appender is the durable write without anything around it: one goroutine appends
// to a file and syncs it with what the engine syncs its log with (fdatasync on Linux).
// It must be used by one goroutine at a time.
type Appender struct {
	file  fsys.File
	block []byte
}

// NewAppender makes the file "append" in dir, which must not be there, and returns an
// Appender of so many bytes a time.
func NewAppender(dir string, bytes int) (*Appender, error) {
	name := filepath.Join(dir, "append")
	file, err := fsys.OS().OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	return &Appender{file: file, block: make([]byte, bytes)}, nil
}

// Append appends one block, and returns once it is durable.
func (a *Appender) Append() error {
	_, err := a.file.Write(a.block)
	if err == nil {
		err = a.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	return nil
}

// Close closes the file and returns how many bytes it has.
func (a *Appender) Close() (bytes int64, err error) {
	bytes, err = a.file.Size()
	if err = errors.Join(err, a.file.Close()); err != nil {
		return bytes, fmt.Errorf("limit: %w", err)
	}
	return bytes, nil
}
