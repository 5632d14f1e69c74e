package main

import (
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/trace"
)

// traceFlags ask for the trace of a slow call.
type traceFlags struct {
	TraceSlow time.Duration `group:"Output" placeholder:"5ms" help:"Keep a trace of the last second in memory, and store it when an event is acknowledged later than this after it was sent, or due: once. It costs a few percent."`
	TraceFile string        `group:"Output" type:"path" default:"slow.trace" help:"Where --trace-slow stores it; open it with go tool trace (${default})."`
}

// canTrace says whether the trace can be written: better now than when it is there.
func (f *traceFlags) canTrace() error {
	if f.TraceSlow < 0 {
		return usage("--trace-slow: nothing is faster than %v", f.TraceSlow)
	}
	if f.TraceSlow == 0 {
		return nil
	}
	if err := canWrite(f.TraceFile); err != nil {
		return usage("--trace-file: %w", err)
	}
	return nil
}

// trace begins to record, if --trace-slow asks for it, and has the load tell what is
// slow.
func (r *run) trace(l *bench.Load) (stop func() error, err error) {
	after := r.flags.TraceSlow
	if after == 0 {
		return func() error { return nil }, nil
	}
	recorder, err := trace.Start(r.flags.TraceFile, after)
	if err != nil {
		return nil, err
	}
	l.Slow, l.SlowAfter = recorder.Saw, after
	return func() error {
		slow, err := recorder.Stop()
		r.result.Slow = &slow
		return err
	}, nil
}
