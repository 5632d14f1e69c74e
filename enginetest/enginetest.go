// Package enginetest is for the tests of programs that embed an engine. [Open] opens one
// in memory, with a clock that the test advances, and a disk that it can crash. [Check]
// tries whether a table keeps what the engine demands of its functions and codecs,
// [CheckCodec] does that for a codec alone, [CrashEverywhere] crashes a scenario of yours at
// each operation of the disk, [CheckLog] folds the log of a store again, and [Golden] says
// whether stores of older versions still open.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A Crash is a way to end an engine without closing it.
type Crash uint8

// The ways.
const (
	// ProcessKilled keeps everything that was given to the operating system.
	ProcessKilled Crash = iota
	// PowerLost keeps only what was synced.
	PowerLost
	// PowerLostTorn keeps what was synced, and some of the rest, cut anywhere.
	PowerLostTorn
)

// Epoch is what the clock of a new store says.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A Store is an engine over a disk in memory. Its methods belong to the goroutine of
// the test; the tables may be used by any.
type Store struct {
	tb      testing.TB
	options engine.Options
	tables  []engine.Definition
	disk    *crashfs.FS
	engine  *engine.Engine
	now     atomic.Int64                  // nanoseconds of Unix time; Advance's add publishes to the engine
	hearers []func(context.Context) error // of engines on the disk: they fire what is due
	crashes uint64
	run     *run // of CrashEverywhere; nil: a failure is one of the test
}

// fail ends the test, or the run of CrashEverywhere.
func (s *Store) fail(format string, a ...any) {
	s.tb.Helper()
	err := fmt.Errorf(format, a...)
	if s.run != nil {
		s.run.end(err)
	}
	s.tb.Fatalf("enginetest: %v", err)
}

// Dir is where the store lies on its disk.
const Dir = "/store"

// Open opens a new store with the given tables. It is closed when the test ends. The
// test fails if any of that does.
func Open(tb testing.TB, tables ...engine.Definition) *Store {
	tb.Helper()
	return OpenOptions(tb, engine.Options{Shards: 2, Partitions: 64}, tables...)
}

// OpenOptions is Open with options of the test's own. Their Environment is replaced by that
// of the store.
func OpenOptions(tb testing.TB, options engine.Options, tables ...engine.Definition) *Store {
	tb.Helper()
	s := &Store{tb: tb, options: options, tables: tables, disk: crashfs.New()}
	s.now.Store(Epoch.UnixNano())
	s.open()
	tb.Cleanup(func() {
		if err := s.engine.Close(); err != nil {
			tb.Errorf("enginetest: close: %v", err)
		}
	})
	return s
}

func (s *Store) open() {
	s.tb.Helper()
	options := s.options
	options.Environment = s.Environment()
	e, err := engine.Open(context.Background(), Dir, options, s.tables...)
	if err != nil {
		s.fail("open: %w", err)
	}
	s.engine = e
}

// Environment is the disk and the clock of the store, for what a program does by itself:
// open another store in another directory, verify, replay, restore. Advance waits for every
// engine that was opened with it. CrashAndReopen ends them all, and leaves another disk.
func (s *Store) Environment() *engine.Environment {
	return &seam.Environment{FS: s.disk, Now: s.now.Load, Seed: 1,
		Hear: func(moved func(context.Context) error) { s.hearers = append(s.hearers, moved) }}
}

// Engine is the engine that is open now. CrashAndReopen and Reopen replace it.
func (s *Store) Engine() *engine.Engine { return s.engine }

// Now is what the clock says.
func (s *Store) Now() time.Time { return time.Unix(0, s.now.Load()).UTC() }

// Advance moves the clock on by d, which must not be negative, and waits until all timers
// and deadlines have been fired that have come. It moves there in one step: a timer that
// OnTimer sets for a time in between is fired at the end of it.
func (s *Store) Advance(d time.Duration) {
	if d < 0 {
		s.fail("the clock cannot be moved back by %v", -d)
	}
	s.now.Add(int64(d))
	s.hearers = slices.DeleteFunc(s.hearers, func(moved func(context.Context) error) (closed bool) {
		err := moved(context.Background())
		if closed = errors.Is(err, engine.ErrClosed); err != nil && !closed {
			s.fail("advance: %w", err)
		}
		return closed
	})
}

// survivals says for each Crash what the disk keeps.
var survivals = map[Crash]crashfs.Survival{
	ProcessKilled: crashfs.Kept,
	PowerLost:     crashfs.Lost,
	PowerLostTorn: crashfs.Torn,
}

// CrashAndReopen ends the engine as crash says, at whatever point it is, and opens
// what the disk then holds. Calls under way get an error. The test fails if the
// store cannot be opened.
func (s *Store) CrashAndReopen(crash Crash) {
	s.tb.Helper()
	s.crashes++
	s.crash(crashfs.Model{Data: survivals[crash], Seed: s.crashes})
	s.open()
}

// crash ends the engine, and leaves what model leaves of the disk.
func (s *Store) crash(model crashfs.Model) {
	disk := s.disk.Crash(model)
	if s.run != nil {
		s.run.goOn(s.disk, disk)
	}
	_ = s.engine.Close() // on a disk that is gone: it fails, and gives the tables back
	s.disk, s.hearers = disk, nil
}

// Reopen closes the engine and opens the store again, with another number of shards
// if shards is not 0.
func (s *Store) Reopen(shards int) {
	s.tb.Helper()
	if err := s.engine.Close(); err != nil {
		s.fail("close: %w", err)
	}
	if shards != 0 {
		s.options.Shards = shards
	}
	s.open()
}
