package input

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// records are the rows of CSV. The first record names the fields; a path is a dot
// and such a name.
type records struct {
	path  string
	guard *guard
	csv   *csv.Reader
	line  uint64 // on which the last record began
	keys  []int  // columns
	value int    // column; negative: every event counts as 1
	join  keyJoin
}

func newRecords(o Options, text *bufio.Reader) (*records, error) {
	r := &records{path: o.Path, guard: &guard{r: text}, value: -1}
	r.csv = csv.NewReader(r.guard)
	r.csv.ReuseRecord = true
	header, err := r.read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("input: %s is empty: CSV begins with a line that names the fields", o.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("input: no CSV header: %w", err)
	}
	for _, field := range strings.Split(o.Key, ",") {
		column, err := columnOf(header, field)
		if err != nil {
			return nil, fmt.Errorf("input: key: %w", err)
		}
		r.keys = append(r.keys, column)
	}
	r.join.parts = len(r.keys)
	if o.Value != "" {
		if r.value, err = columnOf(header, o.Value); err != nil {
			return nil, fmt.Errorf("input: value: %w", err)
		}
	}
	return r, nil
}

// columnOf finds the column of a path. Names in a CSV header may hold dots.
func columnOf(header []string, field string) (int, error) {
	name, ok := strings.CutPrefix(strings.TrimSpace(field), ".")
	for i, h := range header {
		if ok && strings.TrimSpace(h) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("there is no field %q in the header; there are .%s", field, strings.Join(header, ", ."))
}

// read is the next record, bounded.
func (r *records) read() ([]string, error) {
	r.guard.left = LineBytesMax
	record, err := r.csv.Read()
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return nil, lineError(r.path, uint64(bad.Line), []byte(strings.Join(record, ",")), bad.Err)
	}
	if errors.Is(err, errLineTooLong) {
		return nil, lineError(r.path, r.line+1, nil, err)
	}
	if err == nil {
		line, _ := r.csv.FieldPos(0)
		r.line = uint64(line)
	}
	return record, err
}

func (r *records) row() ([]byte, float64, error) {
	record, err := r.read()
	if err != nil {
		return nil, 0, err
	}
	r.join.reset()
	for _, column := range r.keys {
		r.join.add([]byte(record[column]))
	}
	if r.value < 0 {
		return r.join.key, 1, nil
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(record[r.value]), 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		err = fmt.Errorf("column %d is not a number", r.value+1)
		return nil, 0, lineError(r.path, r.line, []byte(strings.Join(record, ",")), err)
	}
	return r.join.key, value, nil
}

// guard bounds what one record may read: an open quote would else swallow the
// rest of the file. Records begin inside what was read before, so a record may be
// refused only above the limit, and is refused at the limit plus one buffer.
type guard struct {
	r    io.Reader
	left int
}

// Read reads, until the limit of the record is used up.
func (g *guard) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, errLineTooLong
	}
	n, err := g.r.Read(p)
	g.left -= n
	return n, err
}
