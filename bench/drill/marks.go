package drill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Mark is how far a producer is: events of its keys with ordinals from Sent on were
// not sent, those below Acked are acknowledged.
type Mark struct{ Sent, Acked uint64 }

const markBytes = 16

// Marks is a file with the mark of each producer of a child: two little-endian
// numbers each. Set is safe for concurrent use by different producers.
type Marks struct{ file *os.File }

// CreateMarks makes the file, with zero marks.
func CreateMarks(name string, producers int) (*Marks, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	if err := f.Truncate(int64(producers) * markBytes); err != nil {
		return nil, fmt.Errorf("drill: %w", errors.Join(err, f.Close()))
	}
	return &Marks{f}, nil
}

// Set writes the mark of one producer. A kill leaves the mark before or this one.
func (m *Marks) Set(producer int, sent, acked uint64) error {
	var b [markBytes]byte
	binary.LittleEndian.PutUint64(b[:], sent)
	binary.LittleEndian.PutUint64(b[8:], acked)
	if _, err := m.file.WriteAt(b[:], int64(producer)*markBytes); err != nil {
		return fmt.Errorf("drill: mark: %w", err)
	}
	return nil
}

// Close closes the file.
func (m *Marks) Close() error { return m.file.Close() }

// ReadMarks reads the marks of so many producers; none if there is no file.
func ReadMarks(name string, producers int) ([]Mark, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	defer f.Close()
	b := make([]byte, producers*markBytes)
	if _, err := io.ReadFull(f, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil // killed while it was made: nothing was sent
	} else if err != nil {
		return nil, fmt.Errorf("drill: marks: %w", err)
	}
	marks := make([]Mark, producers)
	for i := range marks {
		marks[i] = Mark{binary.LittleEndian.Uint64(b[i*markBytes:]), binary.LittleEndian.Uint64(b[i*markBytes+8:])}
	}
	return marks, nil
}
