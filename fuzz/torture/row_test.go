package torture

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

var (
	length = flag.Float64("torture.length", 0.1, "how much to do, in parts of what CI does, or of the long run")
	long   = flag.Bool("torture.long", false, "do the long run, of -torture.length 1 if that is not given")
	seed   = flag.Uint64("torture.seed", 0, "seed of what is random; 0: a new one")
)

// A row is a test on its way into the table.
type row struct {
	*testing.T
	matrix.Row
	random *rand.Rand
	name   string // of the test that repeats it
	cycles int    // to do
	began  time.Time
	orders load.Orders // the last that were given
}

// begin begins a test that does so many cycles in CI, or in the long run.
func begin(t *testing.T, r matrix.Row, ci, longRun int) *row {
	t.Helper()
	r.Seed = *seed
	if r.Seed == 0 {
		r.Seed = rand.Uint64()
	}
	b := &row{T: t, Row: r, name: t.Name(), random: rand.New(rand.NewPCG(r.Seed, 0)), began: time.Now()}
	b.cycles = int(float64(ci)*scale() + 0.5)
	if *long {
		b.cycles = int(float64(longRun)*scale() + 0.5)
	}
	b.cycles = max(b.cycles, 1)
	t.Cleanup(b.end)
	return b
}

func scale() float64 {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "torture.length" })
	if *long && !given {
		return 1
	}
	return *length
}

// without skips the test, and counts that.
func (r *row) without(reason string) {
	r.Helper()
	r.Row.Skipped = reason
	r.Skip(reason)
}

// end adds the row to the table.
func (r *row) end() {
	r.Seconds = time.Since(r.began).Seconds()
	if r.Failed() {
		r.Violations = max(r.Violations, 1)
		r.Logf("repeat with: go test ./fuzz/torture -run '^%s$' -torture.seed %d", r.name, r.Seed)
	}
	if err := matrix.Add(r.Row); err != nil {
		r.Error(err)
	}
	r.Logf("%d cycles, %d acknowledged events checked, %d violations, seed %d, %.1f s", r.Cycles, r.Checked, r.Violations, r.Seed, r.Seconds)
}

// check ends the test at an error. It is a violation, if it is not the test's own.
func (r *row) check(err error) {
	r.Helper()
	if err == nil {
		return
	}
	if _, ok := errors.AsType[drive.Violation](err); ok {
		r.Violations++
	}
	r.Fatalf("cycle %d: %v\nthe last orders: %+v", r.Cycles, err, r.orders)
}

// lanes has the cycles done side by side, each lane on stores of its own.
func (r *row) lanes(n int, run func(*row)) {
	var mu sync.Mutex // guards the counts of r
	n = min(n, r.cycles)
	r.Run("lanes", func(t *testing.T) {
		for i := range n {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				lane := &row{T: t, name: r.name, cycles: (r.cycles + i) / n, began: time.Now(), random: rand.New(rand.NewPCG(r.Seed, uint64(i+1)))}
				t.Cleanup(func() {
					mu.Lock()
					defer mu.Unlock()
					r.Cycles, r.Checked, r.Violations = r.Cycles+lane.Cycles, r.Checked+lane.Checked, r.Violations+lane.Violations
				})
				run(lane)
			})
		}
	})
}

// directory is a new one below root, which is kept if the test fails.
func (r *row) directory(root string) string {
	r.Helper()
	dir, err := os.MkdirTemp(root, "keyfold-torture-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if r.Failed() {
			r.Logf("files are left in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			r.Error(err)
		}
	})
	return dir
}
