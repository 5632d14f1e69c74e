package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/fuzz/torture/disk"
	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

// tmpfs mounts a file system in memory of so many bytes.
func (r *row) tmpfs(bytes int) (dir string) {
	if reason := missingMounts(); reason != "" {
		r.without(reason)
	}
	dir = filepath.Join(r.directory(shared), "tmpfs")
	r.check(os.Mkdir(dir, 0o700))
	r.check(unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	r.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the namespace ends anyway
	return dir
}

// missingMounts says why nothing can be mounted here; "" if it can.
func missingMounts() string {
	switch {
	case os.Getuid() != 0:
		return "mounting needs root"
	case os.Getenv(namespaceVariable) == "":
		return "there is no mount namespace of our own"
	}
	return ""
}

// fullPatience is how long a shard may take to say that there is no room, or to take events
// again.
const fullPatience = 20 * time.Second

// fillOnce fills the disk under a child, waits until events are refused, frees it again, and
// waits until events are taken, by the same child.
func (r *row) fillOnce(s *drive.Store, l load.Life, dir string) {
	o := randomOrders(r.random, l)
	o = oneByOne(o)
	o.Faults, o.Sync = true, engine.SyncAlways
	o.SegmentBytes, o.SnapshotBytes, o.Events = 32<<10, 256<<10, 1<<40
	r.orders = o
	c, err := s.Start(o)
	r.check(err)
	r.check(c.Ready())
	c.UntilAcked(uint64(r.random.IntN(furtherEvents)), time.Second)
	ballast := filepath.Join(dir, "ballast")
	before := c.Acked()
	// Again and again: a snapshot that removes what it has replaced makes room, and a store
	// whose states do not grow may need no more than that.
	refused, err := c.Until(fullPatience, func() (bool, error) {
		return c.Board.Refused.Load() > 0, fill(ballast)
	})
	r.check(err)
	if r.check(c.Healthy()); !refused {
		r.check(drive.Violated(fmt.Errorf("no event is refused on a full disk, where %d were acknowledged", c.Acked()-before)))
	}
	_, _ = c.Until(time.Duration(r.random.Int64N(int64(30*time.Millisecond))), func() (bool, error) { return false, nil })
	if r.random.IntN(4) > 0 {
		r.check(os.Remove(ballast))
		before = c.Acked()
		c.UntilAcked(before+furtherEvents, fullPatience)
		if r.check(c.Healthy()); c.Acked() < before+furtherEvents {
			r.check(drive.Violated(fmt.Errorf("%d events are taken in %v after there is room again", c.Acked()-before, fullPatience)))
		}
	}
	r.check(c.EndBy())
	if err := os.Remove(ballast); !errors.Is(err, os.ErrNotExist) {
		r.check(err)
	}
}

// fill makes a file longer until there is no room left.
func fill(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for block := make([]byte, 1<<20); len(block) >= 512; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

const fullGoal = "no acknowledged event lost, events refused and not half done, taken again by the same process when there is room"

// Goal: on a full disk events are refused, and nothing is lost; when there is room again, the
// same process takes events again.
func TestFullDiskRefusesEventsAndLosesNothing(t *testing.T) {
	r := begin(t, matrix.Row{Row: "R8", Name: "tmpfs of 24 MiB, filled under load and freed again; then kill -9", Goal: fullGoal, System: "tmpfs"}, 20, 1000)
	dir := r.tmpfs(24 << 20)
	r.fillAgainAndAgain(dir)
}

func TestFullExt4RefusesEventsAndLosesNothing(t *testing.T) {
	r := begin(t, matrix.Row{Row: "R8", Name: "ext4 of 64 MiB, filled under load and freed again; then kill -9", Goal: fullGoal, System: "ext4"}, 10, 500)
	if reason := disk.Missing(disk.Ext4); reason != "" {
		r.without(reason)
	}
	if reason := missingMounts(); reason != "" {
		r.without(reason)
	}
	image, err := disk.Make(disk.Ext4, r.directory(shared))
	r.check(err)
	r.Cleanup(func() { r.check(image.Remove()) })
	r.fillAgainAndAgain(image.Dir())
}

func (r *row) fillAgainAndAgain(dir string) {
	for left := r.cycles; left > 0; left -= 5 {
		s, l := drive.New(filepath.Join(dir, "store"), r.directory(shared)), randomLife(r.random)
		for range min(left, 5) {
			r.fillOnce(s, l, dir)
			r.Cycles++
		}
		r.finish(s, l)
		r.check(os.RemoveAll(s.Dir))
	}
}
