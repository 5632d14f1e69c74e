package shard

import (
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: nothing in a new generation is acknowledged, not even as written, before the
// old generation is synced and CURRENT names the new one: a crash before would void
// it. Method: in every mode, send events right after a rotation began, and look at
// their acks from inside the operation that makes the rotation valid.
func TestNothingInANewGenerationIsAcknowledgedBeforeItIsValid(t *testing.T) {
	modes := map[string]func(*Config){"always": func(*Config) {}, "interval": atInterval, "never": atNever}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mode)
			r.send(Written, add("0a"))
			r.turn()
			r.settle()
			r.ask(func(error) {})
			r.turn()
			if r.log.rotation == nil {
				t.Fatal("no rotation")
			}
			written, durable := r.send(Written, add("0a")), r.send(Durable, add("0a"))
			looked := false
			r.disk.SetHook(func(op crashfs.Op) error {
				r.ops = append(r.ops, op)
				if op.Kind == crashfs.Rename {
					looked = true
					r.turn()
					r.turn()
					written.want("before CURRENT is replaced", false)
					durable.want("before CURRENT is replaced", false)
				}
				return nil
			})
			r.turn()
			r.sync()
			r.disk.SetHook(nil)
			if !looked {
				t.Fatal("CURRENT was not replaced")
			}
			if old := r.where(0, crashfs.Sync, "log/00000001/"); name == "never" && (old < 0 || old > r.where(0, crashfs.Rename, "CURRENT")) {
				t.Fatal("the old generation was not synced before: ", r.ops)
			}
			written.want("before the shard has looked", false)
			r.turn()
			written.want("the generation is valid", true)
			r.settle()
			durable.want("settled, and the snapshot has forced a sync", true)
			want := contents(r.owned)
			r.crash(crashfs.Model{}).same("power cut", want)
		})
	}
}

// Goal: a crash in the middle of a rotation takes back nothing that was acknowledged.
// Method: cut the power at every operation of the rotation, when all events before it
// are acknowledged and more are in the new generation.
func TestCrashDuringARotationTakesNothingBack(t *testing.T) {
	for n := 0; ; n++ {
		r := newRig(t)
		r.accept(adds("0a", 5)...)
		want := contents(r.owned)
		r.disk.StopAfter(r.disk.Ops() + n)
		r.ask(func(error) {})
		r.turn()
		c := r.send(Written, add("0a"))
		r.turn()
		r.sync()
		if c.done() && c.slot.err == nil && len(c.refused) == 0 {
			t.Fatal("acknowledged before the shard has looked")
		}
		for _, model := range crashfs.Models(uint64(n)) {
			next, err := r.reopen(r.disk.Crash(model))
			if err != nil {
				t.Fatalf("after %d operations, %v: %v", n, model, err)
			}
			next.checkSequences()
			if have := contents(next.owned); len(have[0]) < len(want[0]) {
				t.Fatalf("after %d operations, %v: %v", n, model, have)
			}
		}
		if job := &r.log.job; !r.failed() && job.rotation != nil && job.err == nil {
			if n < 10 {
				t.Fatalf("a rotation of %d operations", n)
			}
			return
		}
	}
}

func TestVoidGenerationIsIgnoredAndItsNumberNotUsedAgain(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 5)...)
	want := contents(r.owned)
	r.ask(func(error) {})
	r.turn() // generation 2 is there, and nobody has named it
	r.send(Applied, add("0a"))
	r.turn()
	next := r.crash(crashfs.Model{Data: crashfs.Kept})
	next.same("the void generation does not count", want)
	if number := next.log.current.last().Number; number != 3 {
		t.Fatalf("generation %d follows 1 and a void 2", number)
	}
	if have := next.names("log"); slices.Contains(have, "00000002") {
		t.Fatal("generations on disk: ", have)
	}
}

// Goal: recovery does not trust the page cache: what it has read there is on the disk
// before anything new depends on it. Method: accept an event of which only the page
// cache knows, kill the process, recover, and cut the power right after the first new
// ack. The later event must not be there without the earlier one.
func TestRecoveryMakesDurableWhatItReadFromThePageCache(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 3)...)
	c := r.send(Written, adds("0a", 2)...)
	r.turn()
	c.want("written, not synced", true)
	r = r.crash(crashfs.Model{Data: crashfs.Kept})
	if n := r.parts[0].Sequence; n != 5 || r.state.Report.Copied == 0 {
		t.Fatalf("recovered up to %d, copied %d frames", n, r.state.Report.Copied)
	}
	last := r.send(Durable, add("0a"))
	for !last.done() {
		r.turn()
		r.sync()
	}
	want := contents(r.owned)
	for _, model := range crashfs.Models(1) {
		next, err := r.reopen(r.disk.Crash(model))
		if err != nil {
			t.Fatal(model, err)
		}
		next.same(model.String(), want)
	}
}

// Goal: the same when recovery itself is all that happens: its result is durable when
// Resume returns, so that a second crash gives it again.
func TestSecondCrashAfterRecoveryChangesNothing(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 3)...)
	r.send(Applied, adds("1b", 2)...)
	r.turn()
	r = r.crash(crashfs.Model{Data: crashfs.Kept})
	want := contents(r.owned)
	if len(want[1]) != 2 {
		t.Fatal(want)
	}
	for range 3 {
		r = r.crash(crashfs.Model{})
		r.same("power cut", want)
	}
}

// Goal: recovery gives up nothing before CURRENT says what takes its place. Method: a
// generation whose only frame is written again is not needed any more, but for the
// first one; record what the disk is asked to do.
func TestResumeRemovesNothingBeforeCurrentIsReplaced(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 3)...)
	r = r.crash(crashfs.Model{})
	next := &rig{TB: t, disk: r.disk.Crash(crashfs.Model{})}
	cfg := r.onDisk(next.disk)
	state, err := Recover(cfg, allPartitions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	next.trace()
	if err := Resume(cfg, state); err != nil {
		t.Fatal(err)
	}
	synced := next.where(0, crashfs.Sync, "log/00000003")
	named := next.where(synced, crashfs.Rename, "CURRENT")
	removed := next.where(0, crashfs.Remove, "log/00000002")
	if synced < 0 || named < 0 || removed < next.where(named, crashfs.SyncDir, "shard-000") {
		t.Fatal(next.ops)
	}
}

func TestFramesAboveTheHorizonAreCopiedAndOthersAreNot(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 3)...)
	r.accept(adds("0a", 3)...) // vouches for the frame before, not for itself
	next := r.crash(crashfs.Model{})
	if next.state.Report.Copied != 1 {
		t.Fatalf("%d frames copied, want 1", next.state.Report.Copied)
	}
	seal := next.log.current.Generations[0]
	if !seal.Sealed || seal.End.Frame != 1 {
		t.Fatalf("the old generation was sealed at %+v, want frame 1", seal)
	}
	if next.log.writer.End().Frame != 1 {
		t.Fatalf("the new generation ends at %+v", next.log.writer.End())
	}
}
