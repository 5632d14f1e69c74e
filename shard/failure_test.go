package shard

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/ring"
)

// failing makes operations of a kind fail whose name has the given part.
func (r *rig) failing(kind crashfs.Kind, part string, err error) {
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == kind && strings.Contains(filepath.ToSlash(op.Name), part) {
			return err
		}
		return nil
	})
}

// wantUnknown fails the test unless the call was told that its outcome is unknown.
func (c *call) wantUnknown() {
	c.r.Helper()
	c.want("the shard failed", true)
	err := c.slot.err
	if !errors.Is(err, ErrShardFailed) || !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, crashfs.ErrIO) {
		c.r.Fatalf("told %v", err)
	}
}

// Goal: any error of the log fails the shard at once and for good. Method: each kind
// of step fails once, with acks of all kinds pending; then the disk is well again, and
// still nothing is acknowledged, accepted or read.
func TestErrorOfTheLogFailsTheShardForGood(t *testing.T) {
	faults := []struct {
		what   string
		kind   crashfs.Kind
		name   string
		rotate bool
	}{
		{"append", crashfs.Write, "log/", false},
		{"sync", crashfs.Sync, "log/", false},
		{"directory", crashfs.SyncDir, "log/00000001", false},
		{"rotate", crashfs.Mkdir, "log/", true},
		{"header", crashfs.Write, "log/00000002", true},
		{"old generation", crashfs.Sync, "log/00000001", true},
		{"new generation", crashfs.Sync, "log/00000002", true},
		{"CURRENT", crashfs.Rename, "CURRENT", true},
	}
	for _, f := range faults {
		t.Run(f.what, func(t *testing.T) {
			r := newRig(t, atInterval)
			if f.what == "directory" {
				r.acceptWritten(adds("0a", 200)...) // the next events begin a segment
			}
			told := errors.New("nothing")
			if f.rotate {
				r.send(Durable, add("0a"))
				r.turn()
				r.failing(f.kind, f.name, crashfs.ErrIO)
				r.ask(func(err error) { told = err })
				r.turn() // asks for the sync to end
				r.sync()
			}
			r.failing(f.kind, f.name, crashfs.ErrIO)
			pending := r.send(Durable, adds("0a", 30)...)
			r.turn()
			r.settle()
			pending.wantFailed()
			if f.rotate && !errors.Is(told, ErrShardFailed) {
				t.Fatal("the asker was told ", told)
			}
			r.disk.SetHook(nil)
			r.wantDead()
		})
	}
}

// wantFailed fails the test unless the call knows of the failure: either it is told
// that its outcome is unknown, or each of its operations was refused as not done.
func (c *call) wantFailed() {
	c.r.Helper()
	if c.outcome == ring.Closed {
		return
	}
	if len(c.refused) == 0 {
		c.wantUnknown()
		return
	}
	c.want("refused", true)
	for _, err := range c.refused {
		if !errors.Is(err, ErrShardFailed) || errors.Is(err, ErrUnknownOutcome) {
			c.r.Fatal("refused with ", err)
		}
	}
}

// wantDead fails the test if the shard does anything but end.
func (r *rig) wantDead() {
	r.Helper()
	if !errors.Is(r.Err(), ErrShardFailed) {
		r.Fatal("the shard has not failed: ", r.Err())
	}
	before := r.disk.Ops()
	if c := r.send(Durable, add("0a")); c.outcome != ring.Closed {
		r.Fatal("the inbox is ", c.outcome)
	}
	var told error
	r.ask(func(err error) { told = err })
	r.settle()
	if told == nil || !r.life.finished || r.disk.Ops() != before {
		r.Fatalf("told %v, finished %v, %d operations", told, r.life.finished, r.disk.Ops()-before)
	}
}

// Goal: of the operations of one block that meets a failure in its middle, those that
// were carried out are unknown, and each of the others is told that it was not done.
// Method: a frame that fills up in mid-block and cannot be written.
func TestFailureInMidBlockTellsDoneFromNotDone(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.FrameBytesMax = 1000 })
	r.accept(add("0a"))
	r.failing(crashfs.Write, "log/", crashfs.ErrIO)
	read := r.send(Durable, ev{key: "0a"})
	c := r.send(Durable, adds("0a", runOperations-1)...)
	later := r.send(Durable, append(adds("0a", 2), ev{key: "0a"})...)
	r.settle()
	c.wantUnknown()
	if n := len(c.refused); n == 0 || n == runOperations-1 {
		t.Fatalf("%d operations were refused", n)
	}
	if !errors.Is(c.refused[0], ErrShardFailed) || errors.Is(c.refused[0], ErrUnknownOutcome) {
		t.Fatal("refused with ", c.refused[0])
	}
	later.want("failed", true)
	if len(later.refused) != 3 || later.slot.err != nil || len(later.read) != 0 {
		t.Fatalf("later: refused %v, read %v, told %v", later.refused, later.read, later.slot.err)
	}
	read.want("failed", true)
}

func TestStreamHearsOfTheFailure(t *testing.T) {
	r := newRig(t)
	slot := r.cfg.Slots.New()
	slot.Reset()
	r.failing(crashfs.Sync, "log/", crashfs.ErrIO)
	r.post(r.block(slot.Stream(), Durable, adds("0a", 7)))
	r.settle()
	if n, err := slot.Completed(); n != 7 || !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(n, err)
	}
}

// Goal: what the lane finds out after the shard has failed acknowledges nothing.
// Method: the frame of a pending ack is synced, but before the shard looks another
// frame cannot be written.
func TestSyncThatEndsAfterTheFailureAcknowledgesNothing(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, add("0a"))
	r.turn()
	r.failing(crashfs.Write, "log/", crashfs.ErrIO)
	r.send(Written, add("0a"))
	r.turn()
	r.sync()
	r.turn()
	c.wantUnknown()
}

func TestFailedShardEndsByItselfAndSaysWhy(t *testing.T) {
	r := newRig(t)
	r.failing(crashfs.Sync, "log/", crashfs.ErrIO)
	r.Start()
	c := r.send(Durable, add("0a"))
	if err := r.Wait(context.Background()); !errors.Is(err, crashfs.ErrIO) || !errors.Is(err, ErrShardFailed) {
		t.Fatal(err)
	}
	c.wantUnknown()
	if err := r.Tell(context.Background(), func() {}); !errors.Is(err, ErrShardFailed) {
		t.Fatal(err)
	}
	if err := r.Snapshot(context.Background()); !errors.Is(err, ErrShardFailed) {
		t.Fatal(err)
	}
}

// Goal: a round that is under way when the shard fails ends, tells its askers, and
// closes its file. Method: fail at each phase.
func TestFailureEndsTheRoundThatIsUnderWay(t *testing.T) {
	for _, until := range []phase{roundWanted, roundFreezing, roundSealing, roundPublish} {
		r := newRig(t)
		r.accept(add("0a"))
		var told []error
		for range 2 {
			r.ask(func(err error) { told = append(told, err) })
		}
		if until == roundWanted {
			r.send(Durable, add("0a"))
		}
		for range 20 {
			if r.round.phase == until {
				break
			}
			r.turn()
			if until != roundSealing {
				r.sync()
			}
			if r.round.phase < until {
				r.write()
			}
		}
		if r.round.phase != until {
			t.Fatalf("phase %d was not reached but %d", until, r.round.phase)
		}
		if until == roundFreezing {
			r.turn() // the lane has a batch
		}
		r.fail(crashfs.ErrIO)
		r.settle()
		if len(told) != 2 || !errors.Is(told[0], crashfs.ErrIO) || !r.life.finished || r.round.job.writer != nil {
			t.Fatalf("phase %d: told %v, finished %v", until, told, r.life.finished)
		}
	}
}

// Goal: a failed shard leaves the disk alone also while it cannot end, because somebody
// has claimed room in the inbox and not published yet. Method: a rotation that fails
// at CURRENT, which would work if it was tried again; then what a shard does to park.
func TestFailedShardThatCannotEndTriesNothingAgain(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	claim, _ := r.inbox.Claim(0, 64)
	r.failing(crashfs.Rename, "CURRENT", crashfs.ErrIO)
	r.ask(func(error) {})
	r.turn()
	r.sync()
	r.turn()
	r.disk.SetHook(nil)
	before := r.disk.Ops()
	for range 3 {
		r.flush()
		if r.startSync() || r.sync() || r.turn() {
			t.Fatal("the shard does something")
		}
	}
	if r.Err() == nil || r.life.finished || r.disk.Ops() != before {
		t.Fatalf("%v, finished %v, %d operations", r.Err(), r.life.finished, r.disk.Ops()-before)
	}
	copy(claim.Bytes, r.block(Address{}, Applied, adds("0a", 1)))
	r.inbox.Publish(claim)
	if r.settle(); !r.life.finished {
		t.Fatal("not ended")
	}
}
