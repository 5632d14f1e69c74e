package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/fuzz/torture/strict"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/matrix"
)

// A recording is everything that some children did to a strict disk, with what must be
// there after a cut before each operation.
type recording struct {
	disk    *strict.Disk
	store   *drive.Store
	from    *crashfs.FS // the disk as it was before
	moments []moment    // by the number of the operation that comes next
	now     atomic.Pointer[moment]
}

// A moment is what is known when an operation is about to begin.
type moment struct {
	before *drive.Store // what was there when the child began
	child  *drive.Child
	marks  *drive.Ended // of the child, if it has opened the store
	opened *drive.Store // what it has found then
	gone   bool         // the child is gone, and its marks are the last
}

// must is what the store must hold if the power is cut at the moment.
func (m *moment) must() *drive.Store {
	if m.marks == nil {
		return m.before.Cut(nil)
	}
	return m.opened.Cut(m.marks)
}

// record serves a disk and has some children use it, one after the other. Each is killed
// at the end, or closes the store.
func (r *row) record(from *crashfs.FS, s *drive.Store, children []load.Orders) *recording {
	c := &recording{store: s, from: copyOf(from)}
	mountpoint := filepath.Dir(s.Dir)
	r.check(os.Mkdir(mountpoint, 0o700))
	var err error
	c.disk, err = strict.Serve(from, mountpoint, c.note)
	r.check(err)
	for _, o := range children {
		r.orders = o
		c.run(r, o)
	}
	r.check(c.disk.Unmount())
	r.check(os.Remove(mountpoint))
	return c
}

func copyOf(disk *crashfs.FS) *crashfs.FS { return disk.Left(crashfs.Model{Data: crashfs.Kept}) }

// note is called by the disk before each operation.
func (c *recording) note(n int) {
	now := *c.now.Load()
	if !now.gone {
		now.marks = now.child.Marks()
	}
	c.moments = append(c.moments[:min(n, len(c.moments))], now)
	if len(c.moments) != n+1 {
		panic(fmt.Sprintf("operation %d is the %d that was noted", n, len(c.moments)))
	}
}

// run lets one child live.
func (c *recording) run(r *row, o load.Orders) {
	m := &moment{before: c.store.Cut(nil), opened: c.store.Cut(nil)}
	var err error
	m.child, err = c.store.Prepare(o)
	r.check(err)
	c.now.Store(m)
	r.check(m.child.Begin())
	err = m.child.Ready()
	if err == nil {
		err = m.opened.Judge(m.child.Found())
	}
	if err == nil && o.Events > 0 && !o.Close {
		err = m.child.Sent()
	}
	if o.Close && err == nil {
		err = m.child.Process.Finish()
	} else {
		err = errors.Join(err, m.child.Kill())
	}
	// What the kernel still does for it must find the marks as they were.
	last := *m
	last.gone, last.marks = true, m.child.Marks()
	c.now.Store(&last)
	r.check(errors.Join(err, m.child.EndBy()))
}

// A cutting is one disk as a cut of the power has left it.
type cutting struct {
	disk  *crashfs.FS
	must  *drive.Store
	what  string
	life  load.Life // of what is in the store
	extra bool      // look twice, and let it take further events
}

// cut has the power cut before every stride-th operation of a recording, by all models,
// and judges what is left.
func (r *row) cut(c *recording, stride int, models func(seed uint64) []crashfs.Model) {
	var checked atomic.Int64 // the judges add, this function loads when they are done
	cuttings, errs := make(chan cutting), make(chan error, judges)
	var group sync.WaitGroup
	for range judges {
		group.Go(func() {
			var err error
			for k := range cuttings {
				if err == nil {
					err = k.judge()
				}
				checked.Add(k.must.Checked)
			}
			errs <- err
		})
	}
	player := c.disk.Play(c.from)
	last, more, err := "nothing", true, error(nil)
	for n := 0; more && err == nil; n++ {
		if n < len(c.moments) && n%stride == 0 {
			for _, model := range models(r.random.Uint64()) {
				r.Cycles++
				cuttings <- cutting{
					player.FS.Left(model), c.moments[n].must(),
					fmt.Sprintf("power cut behind operation %d (%s), model %s", n, last, model), r.orders.Life, r.Cycles%64 == 0,
				}
			}
		}
		last, more, err = player.Step()
	}
	close(cuttings)
	group.Wait()
	r.Checked += checked.Load()
	for range judges {
		r.check(<-errs)
	}
	r.check(err)
}

// judges is how many disks are judged at once.
const judges = 3

// judge opens what is left, here, and looks into it. Now and then it does so twice, and
// sends further events.
func (k *cutting) judge() (err error) {
	defer func() {
		if err != nil {
			err = drive.Violated(fmt.Errorf("%s: %w", k.what, err))
		}
	}()
	o := load.Orders{
		Dir: "/store", Shards: 2, SegmentBytes: 1 << 20, SnapshotBytes: 4 << 20, Door: load.Batch, Events: furtherEvents/load.Partitions + 1,
		Life: k.life,
	}
	o.Life.Number = 1 << 20
	if err := k.look(o, nil); err != nil || !k.extra {
		return err
	}
	k.disk = k.disk.Crash(crashfs.Model{})
	if err := k.look(o, (*load.Guest).Send); err != nil {
		return err
	}
	return k.look(o, nil)
}

// look opens the disk, and leaves it as a crash that keeps everything does, unless it is
// to take further events.
func (k *cutting) look(o load.Orders, further func(*load.Guest, context.Context, *load.Found) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	guest, found, err := load.Open(ctx, o, k.disk)
	if err != nil {
		return err
	}
	if err := k.must.Judge(found); err != nil {
		return err
	}
	if further == nil {
		k.disk = k.disk.Crash(crashfs.Model{Data: crashfs.Kept})
		_ = guest.Close() // its disk is gone
		return nil
	}
	if err := further(guest, ctx, found); err != nil {
		return err
	}
	k.must.Expect(o.Life, guest.Marks())
	return guest.Close()
}

// powerModels are the ways of losing what was not synced.
func powerModels(seed uint64) []crashfs.Model {
	var all []crashfs.Model
	for i, s := range []crashfs.Survival{crashfs.Lost, crashfs.Torn, crashfs.Zeroed, crashfs.Reordered} {
		all = append(all, crashfs.Model{Data: s, Entries: seed>>i&1 == 0, Seed: seed + uint64(i)})
	}
	return all
}

// smallOrders are those of a child with which segments are full and snapshots due after
// some dozens of events.
func smallOrders(r *row) []load.Orders {
	l := randomLife(r.random)
	l.LargeBytes = min(l.LargeBytes, 2000)
	l.Keys = min(l.Keys, 32)
	var all []load.Orders
	for range 2 {
		o := randomOrders(r.random, l)
		o.SegmentBytes, o.SnapshotBytes, o.Events, o.Snapshots = 4<<10, 16<<10, 30, true
		o.Close = r.random.IntN(2) == 0
		all = append(all, o)
	}
	return all
}

// Goal: whenever the power is cut, what was durably acknowledged is there, and the rest is
// a prefix: through the kernel, with the library as well as with our own writer.
// Method: two children, one after the other, use a disk that forgets what was not synced;
// all that reached the disk is repeated step by step, and cut behind each step.
func TestPowerCutBehindAnyOperationLosesNothingDurable(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R4", Name: "strict FUSE: two children with rotations, snapshots and moves, a cut behind every operation, lost, torn, zeroed and reordered",
		Goal: "no durably acknowledged event lost, no refused open, a second recovery equal", System: "FUSE",
	}, 3, 100)
	if reason := strict.Missing(); reason != "" {
		r.without(reason)
	}
	for range r.cycles {
		s := drive.New(filepath.Join(r.directory(shared), "mount", "store"), r.directory(shared))
		c := r.record(crashfs.New(), s, smallOrders(r))
		r.cut(c, 1, powerModels)
	}
}

// Goal: a cut during a recovery changes nothing.
// Method: disks that a cut has left are opened through the kernel, and what the opening
// does is cut behind each operation; every disk must hold what the first one did.
func TestCutDuringRecoveryChangesNothing(t *testing.T) {
	r := begin(t, matrix.Row{
		Row: "R5", Name: "strict FUSE: a second cut behind every operation of the recovery from a first one",
		Goal: "the state of a single cut", System: "FUSE",
	}, 10, 200)
	if reason := strict.Missing(); reason != "" {
		r.without(reason)
	}
	for range r.cycles {
		s := drive.New(filepath.Join(r.directory(shared), "mount", "store"), r.directory(shared))
		c := r.record(crashfs.New(), s, smallOrders(r))
		player, at := c.disk.Play(c.from), 1+r.random.IntN(len(c.moments)-1)
		for range at {
			_, _, err := player.Step()
			r.check(err)
		}
		model := powerModels(r.random.Uint64())[r.random.IntN(4)]
		r.cutRecovery(player.FS.Left(model), c.moments[at].must(), model)
	}
}

// cutRecovery opens a disk through the kernel, and cuts that.
func (r *row) cutRecovery(disk *crashfs.FS, must *drive.Store, model crashfs.Model) {
	o := resting(randomOrders(r.random, r.orders.Life))
	must.Dir = filepath.Join(r.directory(shared), "mount", "store")
	first := &cutting{disk: copyOf(disk), must: must.Cut(nil), what: fmt.Sprintf("the first cut, model %s", model), life: o.Life}
	r.check(first.judge()) // from now on it must be just that
	c := r.record(disk, first.must, []load.Orders{o})
	r.cut(c, 1, func(seed uint64) []crashfs.Model { return powerModels(seed)[seed>>8&1*2:][:2] })
}
