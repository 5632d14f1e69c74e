package shard

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: without room nothing is applied, what was accepted before is acknowledged,
// reads go on, and events are taken again as soon as there is room. Method: fill the
// disk by its capacity, then lift it.
func TestShardWithoutRoomIsReadOnlyUntilThereIsRoom(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.FrameBytesMax = 4 << 10 })
	r.accept(add("0a"))
	r.disk.SetCapacity(r.disk.Used() + 16<<10)
	accepted := 1
	var no *call
	for {
		c := r.send(Durable, adds("0a", 20)...)
		r.settle()
		c.want("settled", true)
		if c.slot.err != nil {
			t.Fatal(c.slot.err)
		}
		if accepted += 20 - len(c.refused); len(c.refused) > 0 {
			no = c
			break
		}
	}
	for _, err := range no.refused {
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, fsys.ErrNoSpace) {
			t.Fatal("refused with ", err)
		}
	}
	read := r.send(Applied, ev{key: "0a"})
	r.turn()
	if read.want("read", true); len(read.read) != 1 || read.read[0] != accepted {
		t.Fatalf("read %v, accepted %d", read.read, accepted)
	}
	r.disk.SetCapacity(0)
	r.accept(add("0a"))
	want := contents(r.owned)
	if len(want[0]) != accepted+1 || r.Err() != nil {
		t.Fatalf("%d events of %d; %v", len(want[0]), accepted+1, r.Err())
	}
	r.crash(crashfs.Model{}).same("recovered", want)
}

// Goal: a shard without room can neither rotate nor snapshot, and does not fail of it.
func TestSnapshotWithoutRoomIsRefusedAndTheShardGoesOn(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.disk.SetCapacity(r.disk.Used() + 50)
	var told error
	r.ask(func(err error) { told = err })
	r.settle()
	if !errors.Is(told, fsys.ErrNoSpace) || r.Err() != nil {
		t.Fatalf("told %v; the shard failed with %v", told, r.Err())
	}
	r.disk.SetCapacity(0)
	r.accept(add("0a"))
	r.snapshot()
	want := contents(r.owned)
	r.crash(crashfs.Model{}).same("recovered", want)
	if have := r.log.current.Generations; len(have) != 2 {
		t.Fatalf("generations: %+v", have)
	}
}

func TestRotationWithoutRoomForItsNameFailsNothingButTheRound(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	for free := int64(0); free < 8<<10; free += 100 {
		r.disk.SetCapacity(r.disk.Used() + free)
		told := false
		r.ask(func(error) { told = true })
		r.settle()
		if !told || r.Err() != nil {
			t.Fatalf("with %d bytes of room: told %v, failed with %v", free, told, r.Err())
		}
	}
	r.disk.SetCapacity(0)
	r.accept(add("0a"))
	r.snapshot()
}

func TestHeartbeatNeedsNoRoom(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.FrameBytesMax = 4 << 10 })
	r.disk.SetCapacity(r.disk.Used() + 16<<10)
	for full := false; !full; {
		c := r.send(Durable, adds("0a", 20)...)
		r.settle()
		full = len(c.refused) > 0
	}
	frames := r.counters.frames
	r.beat()
	if r.Err() != nil || r.counters.frames != frames {
		t.Fatal(r.Err(), r.counters.frames)
	}
}

// fullFrom fills the disk when an operation of a kind begins whose name has the given
// part, and whenever something is given back from then on: somebody else is faster.
func (r *rig) fullFrom(kind crashfs.Kind, part string) {
	full := false
	r.disk.SetHook(func(op crashfs.Op) error {
		if full = full || op.Kind == kind && strings.Contains(filepath.ToSlash(op.Name), part); full {
			r.disk.SetCapacity(r.disk.Used())
		}
		return nil
	})
}

// Goal: what was begun with room can be ended without: a rotation names its generation,
// although somebody fills the disk meanwhile. It failed the shard before.
func TestARotationEndsOnADiskThatSomebodyHasFilledMeanwhile(t *testing.T) {
	for _, at := range []crashfs.Kind{crashfs.Mkdir, crashfs.Sync, crashfs.SyncDir} {
		r := newRig(t)
		r.accept(add("0a"))
		r.fullFrom(at, "log")
		var told error
		r.ask(func(err error) { told = err })
		r.settle()
		if r.Err() != nil || !errors.Is(told, fsys.ErrNoSpace) {
			t.Fatalf("full from the %v on: told %v; the shard failed with %v", at, told, r.Err())
		}
		r.disk.SetHook(nil)
		r.disk.SetCapacity(0)
		r.accept(add("0a"))
		r.snapshot()
		want := contents(r.owned)
		r.crash(crashfs.Model{}).same("recovered", want)
	}
}

// Goal: a shard ends on a full disk as on any other: nothing fails, the log is sealed in
// room that was reserved. Without even that, nothing fails either, and nothing is lost.
func TestAShardEndsOnAFullDisk(t *testing.T) {
	for _, reserved := range []bool{true, false} {
		r := newRig(t)
		r.accept(add("0a"))
		r.life.hurried.Store(true)
		r.disk.SetCapacity(r.disk.Used())
		if !reserved {
			if err := r.disk.Remove(rigDir + "/CURRENT.tmp"); err != nil {
				t.Fatal(err)
			}
			r.disk.SetCapacity(r.disk.Used())
		}
		want := contents(r.owned)
		r.Stop()
		r.settle()
		if r.Err() != nil || reserved != (r.life.unsealed == nil) {
			t.Fatalf("reserved %v: failed with %v, unsealed %v", reserved, r.Err(), r.life.unsealed)
		}
		left := r.disk.Crash(crashfs.Model{Data: crashfs.Kept})
		left.SetCapacity(0)
		next, err := r.reopen(left)
		if err != nil {
			t.Fatal(err)
		}
		next.same("recovered", want)
	}
}
