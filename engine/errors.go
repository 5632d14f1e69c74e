package engine

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

var (
	// ErrClosed is returned by calls before Open and after Close. Nothing was done.
	ErrClosed = shard.ErrClosed

	// ErrTableInUse is matched by the error of Open when a table belongs to another
	// open engine, or is given twice.
	ErrTableInUse = errors.New("keyfold: table is in use")

	// ErrOverloaded is returned by TryDo when the inbox of the shard is full, and by
	// every call when more calls are under way than the engine has room for. Nothing
	// was done; try again later.
	ErrOverloaded = errors.New("keyfold: overloaded")

	// ErrReadOnly is matched when there is no room on the disk for the event. It was
	// not done. The shard takes events again by itself when there is room.
	ErrReadOnly = shard.ErrReadOnly

	// ErrTooLarge is matched when a key or an event is larger than the limits in
	// Options. Nothing was done.
	ErrTooLarge = errors.New("keyfold: too large")

	// ErrUnknownOutcome is matched when an event was admitted, but whether it is there
	// after the next open cannot be told: its context ended, or its shard failed.
	ErrUnknownOutcome = shard.ErrUnknownOutcome

	// ErrShardFailed is matched by the error of calls whose shard has stopped after an
	// error of its log. Other shards go on. Close the engine and open the store again.
	ErrShardFailed = shard.ErrShardFailed

	// ErrPanicked is matched when a function of the table panicked, or ended its
	// goroutine. The event was not done and the state is as it was before.
	ErrPanicked = shard.ErrPanicked

	// ErrInside is returned by a call from within a function of a table: it would
	// wait for itself. Nothing was done.
	ErrInside = errors.New("keyfold: call from inside a function of a table")

	// ErrNeverDurable is returned by calls that ask for Durable in an engine with
	// Options.Sync: SyncNever. Nothing was done.
	ErrNeverDurable = errors.New("keyfold: a durable ack was asked for, but Options.Sync is SyncNever")

	// ErrLocked is matched by the error of Open when another engine, in this process
	// or another one, has the store open. The error says who.
	ErrLocked = fsys.ErrLocked
)

// A CorruptError is returned by Open when a store is damaged where no crash can have
// done it. It names the file, the offset and the sequence. Nothing was changed.
type CorruptError = shard.CorruptError

// A FailedError is what calls to a failed shard return. It matches ErrShardFailed,
// and ErrUnknownOutcome if the event may have been done.
type FailedError = shard.FailedError

// A PanicError is what the caller of a panicking table function gets. It matches
// ErrPanicked.
type PanicError = shard.PanicError

// A VersionError is returned by Open when the store was written by tables that differ
// from those of the program, or by a newer Keyfold. Nothing was changed.
type VersionError struct {
	Table string // "" if the format of the store is meant
	Have  string // what the store holds
	Want  string // what the program has
	Diff  string // the difference, and the way out, in words
}

// Error says what differs and what to do.
func (e *VersionError) Error() string {
	if e.Table == "" {
		return fmt.Sprintf("keyfold: the store was refused: %s", e.Diff)
	}
	return fmt.Sprintf("keyfold: table %q was refused: %s", e.Table, e.Diff)
}

// An Outcome is what an error says about the event.
type Outcome uint8

// The outcomes.
const (
	Done    Outcome = iota // it is applied, and acknowledged as far as was asked for
	NotDone                // it is not applied, now or later
	Unknown                // it may be there after the next open, or not
)

// String returns "done", "not done" or "unknown".
func (o Outcome) String() string { return [...]string{"done", "not done", "unknown"}[o] }

// OutcomeOf says what the error of Do, TryDo or a Result means for the event. An
// error that Check returned means NotDone. Of an event with an id it says what became of
// this call: see DoOnce.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil, errors.Is(err, ErrAnswerLost):
		return Done
	case errors.Is(err, ErrUnknownOutcome):
		return Unknown
	}
	return NotDone
}

// unknown is the error of a call whose context ended after its event was admitted.
func unknown(cause error) error { return fmt.Errorf("%w: %w", ErrUnknownOutcome, cause) }
