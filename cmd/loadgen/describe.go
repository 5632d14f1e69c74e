package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/keyfold/keyfold/bench/input"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// The directory of a run holds the store in a directory of its own, which belongs to
// the engine, and beside it the description of what was sent to it.
const (
	storeName       = "store"
	descriptionName = "workload.json"
)

// description says what a run sent, so that its states can be computed again.
type description struct {
	Schema int `json:"schema"`
	// Generated or File is where the events came from.
	Generated *workload.Generated `json:"generated,omitempty"`
	File      *fileInput          `json:"file,omitempty"`
	// Events is how many there were. It is known once the run has Finished; before,
	// nobody knows how many the store holds.
	Events   uint64 `json:"events"`
	Finished bool   `json:"finished"`
	// PerSecond is how many events a second the run wrote.
	PerSecond float64 `json:"events_per_second,omitempty"`
	// Store is how the store was opened.
	Store store.Options `json:"store"`
}

// fileInput is where events of a file are, and what makes them up.
type fileInput struct {
	Path   string `json:"path"`
	Format string `json:"format,omitempty"`
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
}

// onlyOnce says that the file cannot be read again: it is a pipe. No file can.
func (f *fileInput) onlyOnce() bool {
	if f == nil || f.Path == "-" {
		return f != nil
	}
	info, err := os.Stat(f.Path)
	return err == nil && !info.Mode().IsRegular()
}

func (f *fileInput) options() input.Options {
	return input.Options{Path: f.Path, Format: f.Format, Key: f.Key, Value: f.Value}
}

// write stores the description in dir, whole or not at all.
func (d *description) write(dir string) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, descriptionName)
	if err := os.WriteFile(name+".part", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// readDescription reads what a run left in dir.
func readDescription(dir string) (*description, error) {
	text, err := os.ReadFile(filepath.Join(dir, descriptionName))
	if err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil, usage("%w", statErr)
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, usage("%s holds no run: there is no %s", dir, descriptionName)
	}
	d := new(description)
	if err == nil {
		err = json.Unmarshal(text, d)
	}
	if err != nil {
		return nil, fmt.Errorf("the description of the run in %s: %w", dir, err)
	}
	if d.Schema != report.Schema || (d.Generated == nil) == (d.File == nil) {
		return nil, fmt.Errorf("the description of the run in %s is not of this version", dir)
	}
	return d, nil
}

// source is the stream, from its beginning, and what closes it.
func (d *description) source(stdin io.Reader) (workload.Source, func() error, error) {
	var s workload.Source
	closer := func() error { return nil }
	if d.Generated != nil {
		g, err := workload.NewGenerator(*d.Generated)
		if err != nil {
			return nil, nil, err
		}
		s = g
	} else {
		o := d.File.options()
		o.Stdin = stdin
		r, err := input.Open(o)
		if err != nil {
			return nil, nil, err
		}
		s, closer = r, r.Close
	}
	if d.Events > 0 || d.Finished {
		s = workload.Limit(s, d.Events)
	}
	return s, closer, nil
}

// audit is an empty audit for the stream.
func (d *description) audit() (*workload.Audit, error) {
	if d.Generated != nil {
		return workload.NewNumbered(d.Generated.Keys)
	}
	return workload.NewNamed(), nil
}

// mortal says that keys come to their end.
func (d *description) mortal() bool { return d.Store.Idle > 0 || d.Store.Age > 0 }

// words name the stream.
func (d *description) words() string {
	if d.Generated != nil {
		return fmt.Sprintf("%s keys, %s", report.Count(d.Generated.Keys), d.Generated.Dist)
	}
	value := ""
	if d.File.Value != "" {
		value = " value " + d.File.Value
	}
	return filepath.Base(d.File.Path) + " key " + d.File.Key + value
}
