package shard

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned when the shard takes no more operations because it was
	// asked to stop. The operation was not done.
	ErrClosed = errors.New("keyfold: closed")

	// ErrReadOnly is returned when there is no room on the disk for the event. It
	// was not done. The shard takes events again by itself when there is room.
	ErrReadOnly = errors.New("keyfold: read-only: no space left for the log")

	// ErrUnknownOutcome is matched when an event was admitted and nobody can say
	// whether it will be there after the next open.
	ErrUnknownOutcome = errors.New("keyfold: outcome unknown")

	// ErrShardFailed is matched when the shard of the key has stopped after an error
	// of its log. Its keys can be used again after the store was opened again.
	ErrShardFailed = errors.New("keyfold: shard failed")

	// ErrPanicked is matched when a function of the table panicked or ended its
	// goroutine. The state is as it was before; nothing was logged.
	ErrPanicked = errors.New("keyfold: a function of the table panicked")
)

// A FailedError is the error of every call that meets a failed shard. It matches
// ErrShardFailed, and ErrUnknownOutcome if Unknown is set.
type FailedError struct {
	Shard   int
	Unknown bool  // the operation may have been done
	Err     error // what the shard failed of
}

// Error says which shard failed of what, and what became of the operation.
func (e *FailedError) Error() string {
	outcome := "the operation was not done"
	if e.Unknown {
		outcome = "the outcome of the operation is unknown"
	}
	return fmt.Sprintf("keyfold: shard %d failed, %s; open the store again to go on: %v", e.Shard, outcome, e.Err)
}

// Is matches the sentinels that the error stands for.
func (e *FailedError) Is(target error) bool {
	return target == ErrShardFailed || e.Unknown && target == ErrUnknownOutcome
}

// Unwrap returns what the shard failed of.
func (e *FailedError) Unwrap() error { return e.Err }

// A PanicError is the error of a call when a function of the table, its codec, its source
// or its progress did not return. If that was one of an event, the event was not done. It
// matches ErrPanicked.
type PanicError struct {
	Value any    // what was passed to panic; nil if runtime.Goexit was called
	Stack []byte // of the panic
}

// Error prints the value; the stack is left to the caller.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "keyfold: a function of the table called runtime.Goexit"
	}
	return fmt.Sprintf("keyfold: a function of the table panicked: %v", e.Value)
}

// Is matches ErrPanicked.
func (e *PanicError) Is(target error) bool { return target == ErrPanicked }
