package torture

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

const (
	cyclesOfAStore = 10 // then it is closed, read back and replaced
	furtherEvents  = 1000
)

// A cutter is a way to end a child that has a store open: a kill, or a power cut.
type cutter interface {
	// store makes a new store.
	store(r *row) *drive.Store
	// orders are those of a child that it will end.
	orders(o load.Orders) load.Orders
	// end ends the child.
	end(r *row, c *drive.Child) error
}

// cycle has a child open what the last one left, with another one killed before it at
// times, while it opened the store or right after, and ends it under load.
func (r *row) cycle(s *drive.Store, l load.Life, by cutter) {
	o := by.orders(randomOrders(r.random, l))
	switch r.random.IntN(4) {
	case 0:
		r.endWhileOpening(s, o, by)
	case 1, 2:
		r.endWhenOpen(s, o, by)
	}
	r.orders = o
	c, err := s.Start(o)
	r.check(err)
	if err := c.Ready(); err != nil {
		_ = c.EndBy() // the error is known
		r.check(err)
	}
	// One in four ends early, the rest when it has taken the further events and some more.
	target := uint64(1 + r.random.IntN(furtherEvents))
	if r.random.IntN(4) > 0 {
		target += furtherEvents
	}
	c.UntilAcked(target, time.Second)
	_, _ = c.Until(time.Duration(r.random.Int64N(int64(20*time.Millisecond))), func() (bool, error) { return false, nil })
	r.check(by.end(r, c))
	if r.random.IntN(4) == 0 {
		r.check(s.Verify())
	}
	r.Cycles++
}

// endWhileOpening ends a child at a random moment of its opening of the store.
func (r *row) endWhileOpening(s *drive.Store, o load.Orders, by cutter) {
	c, err := s.Start(o)
	r.check(err)
	c.ReadyWithin(time.Duration(r.random.Int64N(int64(60 * time.Millisecond))))
	r.check(by.end(r, c))
}

// endWhenOpen ends a child that has opened the store. The next one must find the same.
func (r *row) endWhenOpen(s *drive.Store, o load.Orders, by cutter) {
	c, err := s.Start(resting(o))
	r.check(err)
	err = c.Ready()
	r.check(by.end(r, c))
	r.check(err)
}

// finish has a child take further events and close the store, and another one read it.
func (r *row) finish(s *drive.Store, l load.Life) {
	o := randomOrders(r.random, l)
	o.Events, o.Close = furtherEvents/load.Partitions+1, true
	for range 2 {
		c, err := s.Start(o)
		r.check(err)
		r.check(c.Ready())
		r.check(c.Finish())
		o.Events = 0
	}
	r.Checked += s.Checked
}

// torture runs all cycles of a row.
func (r *row) torture(by cutter) {
	for left := r.cycles; left > 0; left -= cyclesOfAStore {
		s, l := by.store(r), randomLife(r.random)
		for range min(left, cyclesOfAStore) {
			r.cycle(s, l, by)
		}
		r.finish(s, l)
		r.check(os.RemoveAll(s.Dir))
	}
}

// killer ends children by kill -9. Now and then they are stopped before.
type killer struct{ roots []string }

func (k *killer) store(r *row) *drive.Store {
	return drive.New(r.directory(pick(r.random, k.roots...))+"/store", r.directory(shared))
}

func (k *killer) orders(o load.Orders) load.Orders { return o }

// stopped is how long a child is stopped at most.
const stopped = 30 * time.Millisecond

func (k *killer) end(r *row, c *drive.Child) error {
	if r.random.IntN(8) == 0 {
		_ = c.Signal(syscall.SIGSTOP) // it may be gone
		<-time.After(time.Duration(r.random.Int64N(int64(stopped))))
		if r.random.IntN(2) == 0 {
			_ = c.Signal(syscall.SIGCONT)
			<-time.After(time.Duration(r.random.Int64N(int64(stopped))))
		}
	}
	return c.EndBy()
}

// shared is a directory in memory, for what must outlive children but not the machine.
const shared = "/dev/shm"

// Goal: a killed process takes nothing with it that was written.
// Method: children under every kind of load are killed at random moments, in the middle
// of recoveries too, and stopped before at times.
func TestKillTakesNothingAlongThatWasWritten(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R1", Name: "kill -9 under load, all acks, devices, doors and ways of syncing, with snapshots, moves, resizes, timers, readers of changes, clock jumps and stops",
		Goal: "no acknowledged event lost, no refused open, a second recovery equal",
	}, 300, 20_000)
	r.lanes(4, func(r *row) { r.torture(&killer{[]string{shared, os.TempDir()}}) })
}
