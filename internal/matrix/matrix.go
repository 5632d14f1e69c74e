// Package matrix is how tests report what they have tried: one row for each of the
// faults that the matrix lists, as a line of JSON in the file that the environment
// variable KEYFOLD_MATRIX names. Without the variable nothing is written.
package matrix

import (
	"encoding/json"
	"fmt"
	"os"
)

// Variable is the name of the environment variable with the name of the file.
const Variable = "KEYFOLD_MATRIX"

// A Row is what one test has tried, or why it has not. Rows with equal Row, Name and
// Goal are added up in the table.
type Row struct {
	Row  string `json:"row"`  // which fault: R1 to R22, S1 to S3
	Name string `json:"name"` // what was done, in some words
	Goal string `json:"goal"` // what must come of it
	// Cycles counts crashes, damaged files or whatever was done again and again; Checked
	// the acknowledged events that were looked for afterwards; Violations what broke the
	// goal.
	Cycles     int64   `json:"cycles"`
	Checked    int64   `json:"checked"`
	Violations int64   `json:"violations"`
	Seed       uint64  `json:"seed,omitempty"`    // that repeats it, if anything was random
	Seconds    float64 `json:"seconds"`           // that it took
	Skipped    string  `json:"skipped,omitempty"` // why nothing was done; "" if it was
	System     string  `json:"system,omitempty"`  // the file system, if it matters
}

// Add appends a row to the file. It is safe for concurrent use, by several processes
// as well.
func Add(r Row) error {
	name := os.Getenv(Variable)
	if name == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	// One write, so that the lines of several processes do not mix.
	_, err = f.Write(append(line, '\n'))
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	return nil
}
