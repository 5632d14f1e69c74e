package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// live takes a store through everything that happens in its life, until the disk
// stops. It says whether the life came to its end.
func live(r *rig, random *rand.Rand) (whole bool, err error) {
	r.options.Shards = 2
	steps := []func() error{
		r.open,
		func() error { return r.load(random, 12, r.strongest()) },
		func() error { return snapshot(r) },
		func() error { return r.load(random, 6, engine.Written) },
		func() error { return r.moves(random, 2) },
		func() error { return burst(r, random, 60) },
		func() error { return r.crowd(random.Uint64(), 5) },
		r.close,
		func() error { r.options.Shards = 3; return r.open() },
		func() error { return r.load(random, 6, r.strongest()) },
		func() error { return snapshot(r) },
		func() error { return burst(r, random, 12) },
		func() error { return snapshot(r) },
		func() error { return r.moves(random, 3) },
		func() error { return r.resize(1 + random.IntN(4)) },
		r.close,
		r.open,
		func() error { return r.load(random, 4, r.strongest()) },
		r.close,
	}
	return walk(r, steps)
}

// walk takes the steps of a life, until one fails. It says whether none did.
func walk(r *rig, steps []func() error) (whole bool, err error) {
	for _, step := range steps {
		r.now.Add(int64(time.Millisecond) / 2)
		if err := step(); err != nil {
			var v violation
			if errors.As(err, &v) {
				return false, err
			}
			return false, nil
		}
	}
	return true, nil
}

// strongest is the most that may be asked for.
func (r *rig) strongest() engine.Ack {
	if r.options.Sync == engine.SyncNever {
		return engine.Written
	}
	return engine.Durable
}

// burst sends events through a producer, and waits for them at the end.
func burst(r *rig, random *rand.Rand, n int) error {
	for range n {
		if err := r.produce(randomEvent(random).key, randomStep(random), r.strongest()); err != nil {
			return err
		}
	}
	return r.flush()
}

// snapshot asks for one. Everything that was applied before is durable then.
func snapshot(r *rig) error {
	ctx, cancel := patiently()
	defer cancel()
	if err := r.engine.Snapshot(ctx); err != nil {
		return mustNotHang(err)
	}
	r.oracle.each(func(l *line) { l.safe, l.kept = l.done, l.done })
	return nil
}

// Goal: wherever the power is cut or the process killed, what is recovered is a
// prefix with everything acknowledged, it can be built on, and it stays.
// Method: one life of a store, cut off after every operation of its disk; each time the
// process is killed, and another model of a power cut takes its turn, with many more rounds
// all of them.
func TestACrashAfterAnyOperationLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]struct {
		sync   engine.SyncMode
		stride int
	}{"always": {engine.SyncAlways, 1}, "never": {engine.SyncNever, 4}, "interval": {engine.SyncInterval, 6}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashEverywhere(t, name, mode.sync, mode.stride)
		})
	}
}

func crashEverywhere(t *testing.T, name string, sync engine.SyncMode, stride int) {
	row := tries(t, "R4", "cut after operations of a life with rotations, snapshots and moves, sync="+name, "every operation, models in turn: 0 acknowledged lost, a prefix, no warning")
	random := random(t)
	seed, crashes := random.Uint64(), 0
	for stop := random.IntN(stride); ; stop += max(1, stride / *rounds) {
		n, whole, err := cutAt(row, stop, sync, seed, modelsAtATime())
		if err != nil {
			t.Fatalf("stopped after operation %d: %v", stop, err)
		}
		if crashes += n; whole {
			t.Logf("%d crashes in %d operations", crashes, stop)
			return
		}
	}
}

// cutAt cuts a life off after so many operations, and judges what so many models of a
// crash leave of it. It says whether the life came to its end.
func cutAt(row *row, stop int, sync engine.SyncMode, seed uint64, models int) (crashes int, whole bool, err error) {
	o := small()
	o.Sync, o.SnapshotBytes = sync, 12<<10
	r := newRig(o, hashes["full"])
	if stop%3 == 0 {
		r.keeping()
	}
	r.disk.StopAfter(stop)
	if stop%2 == 0 {
		slow(r.disk)
	}
	if whole, err = live(r, rand.New(rand.NewPCG(seed, 1))); err != nil {
		return 0, false, err
	}
	for _, model := range turn(crashfs.Models(seed+uint64(stop)), stop, models) {
		if err := survives(r, r.disk.Crash(model), model, rand.New(rand.NewPCG(seed, 2))); err != nil {
			return crashes, false, fmt.Errorf("%v: %w", model, err)
		}
		crashes++
		row.counted(r.oracle)
	}
	return crashes, whole, r.abandon()
}

// modelsAtATime is how many models of a power cut are tried at an operation, beside a killed
// process. With few, they take turns from one operation to the next.
func modelsAtATime() int { return max(1, *rounds/wholeRounds) }

// turn gives n of the models, others at every turn, and the last one, a killed process,
// at each: only then does the next recovery find what is not durable.
func turn(models []crashfs.Model, at, n int) []crashfs.Model {
	last := len(models) - 1
	chosen := models[last:]
	for i := range min(n, last) {
		chosen = append(chosen, models[(at*n+i)%last])
	}
	return chosen
}

// floorOf says what must survive a crash.
func floorOf(model crashfs.Model) floor {
	if model.Data == crashfs.Kept {
		return kept
	}
	return safe
}

// survives opens what a crash of r has left, judges it, and goes on with it through
// another crash.
func survives(r *rig, left *crashfs.FS, model crashfs.Model, random *rand.Rand) error {
	again := r.on(left)
	if err := again.reopen(floorOf(model)); err != nil {
		return err
	}
	if err := again.load(random, further(model.Seed), again.strongest()); err != nil {
		return err
	}
	if err := again.crash(crashfs.Model{Seed: model.Seed}); err != nil {
		return err
	}
	if err := again.reopen(safe); err != nil {
		return err
	}
	return again.abandon()
}

// further is how many events a recovered store is sent: 1,000 in the long run, where it
// leaves nothing out; else so many once in 64 crashes, and 8 after the others.
func further(seed uint64) int {
	if *rounds >= longRounds || *rounds >= wholeRounds && seed%64 == 0 {
		return 1000
	}
	return 8
}

// reopen opens the store after a crash and judges it. A crash damages nothing that
// CURRENT names, so that there is nothing to be warned of.
func (r *rig) reopen(least floor) error {
	if err := r.open(); err != nil {
		return err
	}
	if warnings := r.engine.Recovery().Warnings; len(warnings) > 0 {
		return violated("a crash has damaged what was published: %q", warnings)
	}
	return r.judge(least)
}

// Goal: a second crash, at any moment of a recovery, changes nothing.
// Method: a sample of the crashes above; of each the recovery is cut off after every
// operation of its disk. What a power cut has left is on the disk, so that what is
// recovered must be exactly what one recovery alone finds.
func TestACrashAtAnyMomentOfARecoveryChangesNothing(t *testing.T) {
	t.Parallel()
	row := tries(t, "R5", "second cut at every operation of a recovery", "the same state as after one crash")
	random := random(t)
	seed, crashes := random.Uint64(), 0
	for stop := 40 + random.IntN(60); ; stop += max(1, 230 / *rounds) {
		r := newRig(small(), hashes["full"])
		r.disk.StopAfter(stop)
		whole, err := live(r, rand.New(rand.NewPCG(seed, 1)))
		if err != nil {
			t.Fatalf("stopped after operation %d: %v", stop, err)
		}
		for _, model := range []crashfs.Model{{Data: crashfs.Torn, Entries: true, Seed: seed}, {Data: crashfs.Kept}} {
			n, err := recoverTwice(r, model, 1+stop%3)
			row.Cycles += int64(n)
			if err != nil {
				t.Fatalf("stopped after operation %d, %v: %v", stop, model, err)
			}
			crashes += n
		}
		if err := r.abandon(); err != nil {
			t.Fatal(err)
		}
		if whole {
			t.Logf("%d crashes of recoveries", crashes)
			return
		}
	}
}

// recoverTwice crashes the recovery of what model has left after each of its
// operations, and says how many there were.
func recoverTwice(r *rig, model crashfs.Model, shards int) (crashes int, err error) {
	once := r.on(r.disk.Crash(model))
	if err := once.reopen(floorOf(model)); err != nil {
		return 0, err
	}
	want := once.lengths()
	if err := once.abandon(); err != nil {
		return 0, err
	}
	for stop := 0; ; stop++ {
		twice := r.on(r.disk.Crash(model))
		twice.options.Shards = shards
		twice.disk.StopAfter(stop)
		failed := twice.open()
		second := crashfs.Models(model.Seed + uint64(stop))[stop%9]
		if err := twice.crash(second); err != nil {
			return crashes, err
		}
		if err := twice.reopen(safe); err != nil {
			return crashes, fmt.Errorf("recovery stopped after operation %d, %v: %w", stop, second, err)
		}
		if have := twice.lengths(); model.Data != crashfs.Kept && !slices.Equal(have, want) {
			return crashes, fmt.Errorf("recovery stopped after operation %d, %v: it finds %v events, without that %v", stop, second, have, want)
		}
		if err := twice.abandon(); err != nil {
			return crashes, err
		}
		if crashes++; failed == nil {
			return crashes, nil
		}
	}
}

// lengths is how many events each partition holds, according to the oracle.
func (r *rig) lengths() []int {
	var n []int
	r.oracle.each(func(l *line) { n = append(n, len(l.events)) })
	return n
}
