// Package trace keeps the last moments of the program's execution in memory, and
// writes them to a file when something was slow: what every goroutine and every
// processor did while it happened.
//
// It is the flight recorder of runtime/trace, which costs a few percent while it is on.
package trace

import (
	"errors"
	"fmt"
	"os"
	"runtime/trace"
	"sync/atomic"
	"time"
)

// What a Recorder keeps. The runtime drops older events in whole generations, of which
// it holds two, so a file may be some MiB larger than bytesMax.
const (
	bytesMax = 32 << 20
	agedMin  = time.Second
)

// A Recorder writes one file, when for the first time something took longer than it
// may. There is one at a time in a process. Saw is safe for concurrent use.
type Recorder struct {
	file   string
	after  time.Duration
	flight *trace.FlightRecorder
	slow   chan time.Duration // from the first Saw that was slow to the writer
	done   chan struct{}      // closed by the writer at its end
	seen   atomic.Bool        // the Swap of a slow Saw is seen by the Load of the others
	found  Slow               // the writer's, until done
	err    error              // the same
}

// Slow is what a Recorder has found. Without a file nothing was slow.
type Slow struct {
	// After is how long something may take, in nanoseconds.
	After int64 `json:"after_ns"`
	// Took is how long the first thing took that was slower.
	Took int64 `json:"took_ns,omitempty"`
	// File holds the trace of the second or so before it ended, for go tool trace.
	File string `json:"file,omitempty"`
}

// Start begins to record. The first thing that takes longer than after has file
// written. The caller stops the recorder.
func Start(file string, after time.Duration) (*Recorder, error) {
	if after <= 0 {
		return nil, fmt.Errorf("trace: nothing is faster than %v", after)
	}
	r := &Recorder{
		file: file, after: after, found: Slow{After: int64(after)},
		flight: trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: agedMin + 2*after, MaxBytes: bytesMax}),
		slow:   make(chan time.Duration, 1), done: make(chan struct{}),
	}
	if err := r.flight.Start(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	go r.write()
	return r, nil
}

// Saw tells that something has just ended and how long it took. It waits for nothing.
func (r *Recorder) Saw(took time.Duration) {
	if took > r.after && !r.seen.Load() && !r.seen.Swap(true) {
		r.slow <- took // has room for the one
	}
}

// write writes the file, if there is something to write, and ends the recording: what
// comes after is not slowed down any more.
func (r *Recorder) write() {
	defer close(r.done)
	took, ok := <-r.slow
	if ok {
		r.found.Took, r.found.File = int64(took), r.file
		r.err = r.store()
	}
	r.flight.Stop()
}

func (r *Recorder) store() (err error) {
	f, err := os.Create(r.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = r.flight.WriteTo(f)
	return err
}

// Stop ends the recording, waits until the file is written, if there is one to write,
// and says what was found. No Saw may come later, or at the same time.
func (r *Recorder) Stop() (Slow, error) {
	close(r.slow)
	<-r.done
	if r.err != nil {
		return r.found, fmt.Errorf("trace: %s: %w", r.file, r.err)
	}
	return r.found, nil
}
