package torture

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

// Goal: a write that is cut off in the middle, because a file may not become larger, costs
// nothing that was written.
// Method: the limit of a running child is lowered below the size of its files, which makes
// writes short and then fail, and at times lifted again.
func TestLimitOfFileSizesLosesNothing(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R8", Name: "RLIMIT_FSIZE lowered under load, so that writes are cut off; then kill -9",
		Goal: "no acknowledged event lost, no refused open",
	}, 30, 1000)
	r.lanes(3, func(r *row) {
		for left := r.cycles; left > 0; left -= 5 {
			s, l := drive.New(filepath.Join(r.directory(pick(r.random, shared, os.TempDir())), "store"), r.directory(shared)), randomLife(r.random)
			for range min(left, 5) {
				r.limitOnce(s, l)
				r.Cycles++
			}
			r.finish(s, l)
		}
	})
}

func (r *row) limitOnce(s *drive.Store, l load.Life) {
	o := randomOrders(r.random, l)
	o.Faults = true
	r.orders = o
	c, err := s.Start(o)
	r.check(err)
	r.check(c.Ready())
	c.UntilAcked(uint64(r.random.IntN(furtherEvents)), time.Second)
	limit := unix.Rlimit{Cur: uint64(r.random.IntN(64 << 10)), Max: unix.RLIM_INFINITY}
	r.check(unix.Prlimit(c.Pid(), unix.RLIMIT_FSIZE, &limit, nil))
	c.UntilAcked(c.Acked()+furtherEvents, 100*time.Millisecond)
	if r.random.IntN(2) == 0 {
		limit.Cur = unix.RLIM_INFINITY
		r.check(unix.Prlimit(c.Pid(), unix.RLIMIT_FSIZE, &limit, nil))
		c.UntilAcked(c.Acked()+furtherEvents, 50*time.Millisecond)
	}
	r.check(c.EndBy())
}
