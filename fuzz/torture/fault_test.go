package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/fuzz/torture/strict"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/matrix"
)

// faultyOrders are those of a child whose disk fails at some time. Partitions do not move:
// it is to be told which belong to the shard that fails.
func faultyOrders(r *row) load.Orders {
	o := smallOrders(r)[0]
	o.Faults, o.Close, o.Events, o.Shards, o.Moves = true, false, 60, 2, false
	r.orders = oneByOne(o)
	return r.orders
}

// oneByOne makes the orders fit for a disk that may have no room: an event that is refused is
// sent again before the next one. By other doors events behind it may be done, which the
// oracle does not know.
func oneByOne(o load.Orders) load.Orders {
	o.Door, o.Life.IDs = load.Do, o.Life.Tables != load.OnlyAlarms
	if o.Life.Tables != load.OnlyAlarms {
		o.Life.Tables = load.Both
	}
	return o
}

// Goal: a sync that fails once, and drops what it should have written, as kernels do, costs
// nothing that was acknowledged, although the next sync succeeds.
// Method: any one of the syncs of a child fails like that. The child goes on for as long as
// it can, and everything that was not synced is lost.
func TestFailedSyncLosesNothingAcknowledged(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R7", Name: "strict FUSE: one sync fails with EIO and drops its pages, all later ones succeed; then a cut",
		Goal: "no durably acknowledged event lost, the other shards go on, no refused open", System: "FUSE",
	}, 60, 2000)
	r.onStrictDisks(func(r *row, disk *crashfs.FS) {
		disk.FailNth(crashfs.Sync, 1+r.random.IntN(200), crashfs.DropDirty(crashfs.ErrIO))
	})
}

// Goal: an operation that fails once fails at most one shard, and costs nothing that was
// acknowledged.
// Method: any one operation of any kind fails, with EIO, ENOSPC or in the middle of a write,
// under the library too.
func TestFailedOperationLosesNothingAcknowledged(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R6", Name: "strict FUSE: the N-th operation of a kind fails once with EIO, ENOSPC or after half a write; then a cut",
		Goal: "no durably acknowledged event lost, the other shards go on, no refused open", System: "FUSE",
	}, 120, 4000)
	kinds := []crashfs.Kind{
		crashfs.Write, crashfs.Write, crashfs.Sync, crashfs.SyncDir, crashfs.Rename, crashfs.Create, crashfs.Mkdir,
		crashfs.Remove, crashfs.Reserve, crashfs.Truncate, crashfs.Any,
	}
	r.onStrictDisks(func(r *row, disk *crashfs.FS) {
		err := pick(r.random, crashfs.ErrIO, crashfs.ErrFull)
		if r.random.IntN(3) == 0 {
			err = crashfs.ShortWrite(r.random.IntN(100), err)
		}
		disk.FailNth(pick(r.random, kinds...), 1+r.random.IntN(150), err)
	})
}

// onStrictDisks runs the cycles of a row, each with one child on a strict disk that fails.
func (r *row) onStrictDisks(fail func(*row, *crashfs.FS)) {
	if reason := strict.Missing(); reason != "" {
		r.without(reason)
	}
	r.lanes(3, func(r *row) {
		for range r.cycles {
			r.failStrictly(fail)
			r.Cycles++
		}
	})
}

// failStrictly has the disk of a child fail, and then the power.
func (r *row) failStrictly(fail func(*row, *crashfs.FS)) {
	dir := r.directory(shared)
	mountpoint := filepath.Join(dir, "mount")
	r.check(os.Mkdir(mountpoint, 0o700))
	disk, err := strict.Serve(crashfs.New(), mountpoint, nil)
	r.check(err)
	s := drive.New(filepath.Join(mountpoint, "store"), dir)
	c, err := s.Start(faultyOrders(r))
	r.check(err)
	r.check(c.Ready())
	fail(r, disk.FS())
	r.check(c.Sent())
	failed := c.FailedPartitions()
	r.check(c.EndWith(c.Kill))
	if failed > load.Partitions/2 {
		r.check(drive.Violated(fmt.Errorf("%d partitions of %d have failed, and one of two shards may have", failed, load.Partitions)))
	}
	k := &cutting{disk: disk.FS().Crash(crashfs.Model{}), must: s, what: "one fault", life: r.orders.Life, extra: r.random.IntN(8) == 0}
	r.check(k.judge())
	r.Checked += s.Checked
	r.check(disk.Unmount())
}

// injected are the system calls that strace makes fail.
var injected = []string{"fdatasync", "fdatasync", "fsync", "pwrite64", "pwrite64", "renameat", "fallocate", "ftruncate", "mkdirat", "unlinkat", "fadvise64"}

// Goal: a system call that fails, once or from some time on, costs nothing that was written.
// Method: strace makes calls of a child fail on a real file system.
func TestFailedSystemCallLosesNothingAcknowledged(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R6", Name: "strace: a system call fails with EIO or ENOSPC, once or from then on; then kill -9",
		Goal: "no acknowledged event lost, no refused open",
	}, 60, 2000)
	if _, err := exec.LookPath("strace"); err != nil {
		r.without("there is no strace")
	}
	if out, err := exec.Command("strace", "-D", "-f", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		r.without("strace cannot trace here: " + strings.TrimSpace(string(out)))
	}
	r.lanes(3, func(r *row) {
		for left := r.cycles; left > 0; left -= 4 {
			s, l := drive.New(filepath.Join(r.directory(pick(r.random, shared, os.TempDir())), "store"), r.directory(shared)), randomLife(r.random)
			for range min(left, 4) {
				r.injectOnce(s, l)
				r.Cycles++
			}
			s.Program = nil
			r.finish(s, l)
		}
	})
}

// injectOnce lets a child live under strace, and kills it. The next one must find what was
// written, whatever had failed.
func (r *row) injectOnce(s *drive.Store, l load.Life) {
	call, errno := pick(r.random, injected...), pick(r.random, "EIO", "ENOSPC")
	inject := call + ":error=" + errno + fmt.Sprintf(":when=%d", 1+r.random.IntN(24)) + pick(r.random, "", "+")
	s.Program = func(self string) *exec.Cmd {
		return exec.Command("strace", "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace="+call, "-e", "inject="+inject, self)
	}
	o := randomOrders(r.random, l)
	o.Faults, o.Queued, o.Events = true, false, 200
	if errno == "ENOSPC" {
		o = oneByOne(o)
	}
	r.orders = o
	c, err := s.Start(o)
	r.check(err)
	err = c.Ready()
	if err == nil {
		c.UntilAllSent(3 * time.Second)
		r.check(c.EndBy())
		return
	}
	// It may refuse to open a disk that fails, but it must not call that damage.
	_ = c.EndBy() // the error is known
	if text := err.Error(); strings.Contains(text, "damaged") || strings.Contains(text, "goroutine") {
		r.check(fmt.Errorf("%s: %w", inject, err))
	}
	if !strings.Contains(err.Error(), "input/output error") && !strings.Contains(err.Error(), "no space left") {
		r.check(fmt.Errorf("%s: %w", inject, err))
	}
}
