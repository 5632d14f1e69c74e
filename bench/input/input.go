// Package input reads events from files: one JSON object a line, or CSV with a
// header, plain or compressed with zstd, from a file or from standard input.
//
// A line that is not what it should be is an error that names the line and shows
// its beginning; nothing is skipped but blank lines. A line takes at most LineBytesMax
// bytes of memory, whatever the file says.
package input

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/keyfold/keyfold/bench/workload"
)

// LineBytesMax is the longest line, or CSV record, that is accepted.
const LineBytesMax = 1 << 20

// Options says what to read.
type Options struct {
	// Path is the file; `-` is Stdin.
	Path string
	// Format is `ndjson` or `csv`; empty: by the name of the file, NDJSON if that
	// says nothing. Compression is recognised by the first bytes.
	Format string
	// Key names the fields that make the key: paths such as `.origin` or
	// `.properties.net`, separated by commas.
	Key string
	// Value names the field of the number to fold. Empty: each event counts as 1.
	Value string
	// Stdin is read for the path `-`.
	Stdin io.Reader
}

// LineError is the error of a line that cannot be an event.
type LineError struct {
	// Path is the file.
	Path string
	// Line is the number of the line, from 1.
	Line uint64
	// Prefix is the beginning of the line.
	Prefix string
	// Err says what is wrong.
	Err error
}

// Error names file and line, says what is wrong and shows the beginning of the line.
func (e *LineError) Error() string {
	return fmt.Sprintf("%s: line %d: %v: %q", e.Path, e.Line, e.Err, e.Prefix)
}

// Unwrap is Err.
func (e *LineError) Unwrap() error { return e.Err }

// errLineTooLong is wrapped by the LineError of a line above LineBytesMax.
var errLineTooLong = fmt.Errorf("longer than %d bytes", LineBytesMax)

// prefixBytes is how much of a broken line its error shows.
const prefixBytes = 60

func lineError(path string, line uint64, text []byte, err error) error {
	text = text[:min(len(text), prefixBytes)]
	return &LineError{Path: path, Line: line, Prefix: string(bytes.ToValidUTF8(text, []byte("?"))), Err: err}
}

// Reader is the stream of the events in a file. It must be used by one goroutine
// at a time.
type Reader struct {
	rows    rows
	next    uint64
	closers []func() error
}

// rows yields the key and value of one event after another. The key is valid until
// the next call; io.EOF is the end.
type rows interface {
	row() (key []byte, value float64, err error)
}

// Open opens what o describes. Its errors say what is wrong with the options, or
// are those of the file system.
func Open(o Options) (*Reader, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := &Reader{}
	text, err := r.open(o)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if o.format() == "csv" {
		r.rows, err = newRecords(o, text)
	} else {
		r.rows, err = newLines(o, text)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Check says what is wrong with the options, without a look at the file.
func (o *Options) Check() error {
	if _, err := parsePaths(o.Key); err != nil {
		return fmt.Errorf("input: key: %w", err)
	}
	if o.Value != "" {
		if _, err := parsePath(o.Value); err != nil {
			return fmt.Errorf("input: value: %w", err)
		}
	}
	if f := o.format(); f != "ndjson" && f != "csv" {
		return fmt.Errorf("input: unknown format %q: ndjson or csv", f)
	}
	return nil
}

// format is the format that was asked for, or that of the file's name.
func (o *Options) format() string {
	if o.Format != "" {
		return o.Format
	}
	if strings.HasSuffix(strings.TrimSuffix(o.Path, ".zst"), ".csv") {
		return "csv"
	}
	return "ndjson"
}

// open opens the file and undoes its compression.
func (r *Reader) open(o Options) (*bufio.Reader, error) {
	raw := o.Stdin
	if o.Path != "-" {
		f, err := os.Open(o.Path)
		if err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
		r.closers = append(r.closers, f.Close)
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("input: %s is a directory", o.Path)
		}
		raw = f
	}
	if raw == nil {
		return nil, errors.New("input: no standard input to read")
	}
	text := bufio.NewReaderSize(raw, LineBytesMax)
	if magic, err := text.Peek(4); err == nil && string(magic) == "\x28\xb5\x2f\xfd" {
		return r.inflate(text)
	}
	return text, skipMark(text)
}

// inflateBytesMax is the largest window that a compressed file may ask for.
const inflateBytesMax = 256 << 20

func (r *Reader) inflate(raw io.Reader) (*bufio.Reader, error) {
	z, err := zstd.NewReader(raw, zstd.WithDecoderMaxWindow(inflateBytesMax), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	r.closers = append(r.closers, func() error { z.Close(); return nil })
	text := bufio.NewReaderSize(z, LineBytesMax)
	return text, skipMark(text)
}

// skipMark skips a byte order mark.
func skipMark(text *bufio.Reader) error {
	if mark, err := text.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, err = text.Discard(3)
		return err
	}
	return nil
}

// Fill appends up to n events to b; io.EOF at the end of the file. When a line is
// broken, the events before it are appended, and the error is a *LineError.
func (r *Reader) Fill(b *workload.Batch, n int) error {
	for i := range n {
		key, value, err := r.rows.row()
		if errors.Is(err, io.EOF) && i > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		b.Add(workload.Event{Key: key, Ordinal: r.next, Value: value})
		r.next++
	}
	return nil
}

// Close closes the file. Standard input stays open.
func (r *Reader) Close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}
