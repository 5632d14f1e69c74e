package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A Scenario is what a program does with a store, and what must be there afterwards. Both
// functions share variables of theirs, which say what was acknowledged.
type Scenario struct {
	// Tables are those of the store. No engine has them open.
	Tables []engine.Definition
	// Run uses the store that it is given: events, snapshots, [Store.Advance],
	// [Store.Reopen] and crashes of its own. At some point its calls begin to fail, because
	// the disk does. It returns such an error, or goes on.
	Run func(s *Store) error
	// Recovered says what is wrong with the store after a crash: nil if everything is there
	// that was acknowledged. It is called twice, with another crash in between, and must
	// leave what it looks at as it is.
	Recovered func(s *Store) error
}

// CrashEverywhere crashes a scenario at each operation of the disk, once behind every
// write, sync, rename and the like that happens in Run, opens the store again and has it
// looked at. begin gives a scenario that nobody has run, each time. What a crash leaves of
// what was not synced is lost, torn, zeroed, reordered and kept in turn, so that an event
// may count as acknowledged only if its call returned nil at engine.Durable.
//
// Runs are as many as operations: some dozen events are enough. What fails prints its seed
// and how to repeat it.
func CrashEverywhere(t *testing.T, options engine.Options, begin func() Scenario) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	if err := crashEverywhere(t, options, begin, seed); err != nil {
		t.Errorf("%v\nrepeat with: go test -run '^%s$' -enginetest.seed %d", err, t.Name(), seed)
	}
}

// pointsMax is how many operations the disk of a scenario may make.
const pointsMax = 100_000

func crashEverywhere(tb testing.TB, options engine.Options, begin func() Scenario, seed uint64) error {
	models := crashfs.Models(seed)
	for n := range pointsMax {
		model := models[n%len(models)]
		model.Seed += uint64(n)
		r := &run{scenario: begin(), left: n}
		err := r.crashed(tb, options, model)
		if err != nil {
			return fmt.Errorf("after a crash behind operation %d of the disk (%v): %w", n, model, err)
		}
		if !r.cut {
			return nil // it came to its end
		}
	}
	return fmt.Errorf("the scenario makes more than %d operations of the disk: make it shorter", pointsMax)
}

// A run is a scenario that is run once, up to a crash.
type run struct {
	scenario Scenario
	left     int  // operations that its next disk allows
	cut      bool // the disk has come to the operation at which it ends
	err      error
}

// crashed runs the scenario, crashes it, and looks at what is left twice.
func (r *run) crashed(tb testing.TB, options engine.Options, model crashfs.Model) error {
	s := &Store{tb: tb, options: options, tables: r.scenario.Tables, disk: crashfs.New(), run: r}
	s.now.Store(Epoch.UnixNano())
	if err := r.try(s, func(s *Store) error { s.open(); return nil }); err != nil {
		return err
	}
	defer func() { _ = s.engine.Close() }()
	r.left += s.disk.Ops()
	s.disk.StopAfter(r.left)
	err := r.try(s, r.scenario.Run)
	r.cut = r.cut || s.disk.Ops() >= r.left
	if err != nil && !r.cut {
		return fmt.Errorf("the scenario fails before there is a crash: %w", err)
	}
	r.left = -1
	for _, m := range []crashfs.Model{model, {Data: crashfs.Kept}} {
		err := r.try(s, func(s *Store) error {
			s.crash(m)
			s.open()
			return r.scenario.Recovered(s)
		})
		if err != nil {
			return err
		}
	}
	return s.engine.Close()
}

// goOn has the disk that follows a crash of the scenario's own end where the one before it
// would have ended.
func (r *run) goOn(before, after *crashfs.FS) {
	if r.left < 0 {
		return
	}
	r.left = max(0, r.left-before.Ops())
	r.cut = r.left == 0
	after.StopAfter(r.left)
}

// errEnded says that a function of a scenario did not return.
var errEnded = errors.New("it ended its goroutine")

// try calls a function of the scenario, which may end its goroutine.
func (r *run) try(s *Store, f func(s *Store) error) error {
	r.err = nil
	err, done := errEnded, make(chan struct{})
	go func() {
		defer close(done)
		err = f(s)
	}()
	<-done
	if r.err != nil {
		return r.err
	}
	return err
}

// end ends the function under way.
func (r *run) end(err error) {
	r.err = err
	runtime.Goexit()
}
