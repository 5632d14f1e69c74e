package torture

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

// Goal: a store has one opener, whatever that one is doing, and none when that is killed.
// Method: this process and another one try to open a store that a child has under load, or
// that a child has which is stopped; when it is killed, the next one must succeed.
func TestSecondOpenerIsRefusedUntilTheFirstIsKilled(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R12", Name: "a second opener, in another process, beside one under load or stopped, and after kill -9 of it",
		Goal: "refused with ErrLocked while the first lives; succeeds after that, with nothing lost",
	}, 50, 500)
	s, l := drive.New(filepath.Join(r.directory(shared), "store"), r.directory(shared)), randomLife(r.random)
	for range r.cycles {
		o := randomOrders(r.random, l)
		r.orders = o
		c, err := s.Start(o)
		r.check(err)
		r.check(c.Ready())
		if r.random.IntN(2) == 0 {
			r.check(c.Signal(syscall.SIGSTOP))
		}
		r.tryHere(s, o)
		if r.random.IntN(4) == 0 {
			r.tryThere(s, o)
		}
		_ = c.Signal(syscall.SIGCONT)
		c.UntilAcked(uint64(r.random.IntN(furtherEvents)), time.Second)
		r.check(c.EndBy())
		r.Cycles++
	}
	r.finish(s, l)
}

// tryHere tries to open a store in this process.
func (r *row) tryHere(s *drive.Store, o load.Orders) {
	o.Dir = s.Dir
	guest, _, err := load.Open(context.Background(), o, nil)
	if err == nil {
		r.check(drive.Violated(errors.Join(errors.New("a store is open twice"), guest.Close())))
	}
	if !errors.Is(err, engine.ErrLocked) {
		r.check(drive.Violated(fmt.Errorf("a second opener is told %w", err)))
	}
}

// tryThere tries to open a store in another process.
func (r *row) tryThere(s *drive.Store, o load.Orders) {
	other := drive.New(s.Dir, r.directory(shared))
	c, err := other.Start(resting(o))
	r.check(err)
	err = c.Ready()
	_ = c.EndBy() // the error is known
	if err == nil || !strings.Contains(err.Error(), "locked") {
		r.check(drive.Violated(fmt.Errorf("a second process is told %w", err)))
	}
}
