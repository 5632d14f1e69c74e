package limit

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// logBytesMax is the size at which a log is written over from its start.
const logBytesMax = 4 << 30

// A Log is the file of an owner. It is written over from its start at 4 GiB, and gone
// when it is closed. It must be used by one goroutine at a time.
type Log struct {
	file    *os.File
	written int64
	max     int64
}

// NewLog makes a log in dir.
func NewLog(dir string) (*Log, error) {
	f, err := os.CreateTemp(dir, "limit-*.log")
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	return &Log{file: f, max: logBytesMax}, nil
}

// Write appends p, or begins at the start of the file with it.
func (l *Log) Write(p []byte) (int, error) {
	if l.written+int64(len(p)) > l.max {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		l.written = 0
	}
	n, err := l.file.Write(p)
	l.written += int64(n)
	return n, err
}

// Reset empties the log. What the system has not written to the disk yet never will
// be, so that it does not disturb what is measured next.
func (l *Log) Reset() error {
	l.written = 0
	_, err := l.file.Seek(0, io.SeekStart)
	return errors.Join(err, l.file.Truncate(0))
}

// Close removes the log.
func (l *Log) Close() error { return errors.Join(l.file.Close(), os.Remove(l.file.Name())) }
