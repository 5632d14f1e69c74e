package fuzz

import (
	"errors"
	"math/rand/v2"
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
		func() error { return r.load(random, 25, engine.Durable) },
		func() error { return snapshot(r) },
		func() error { return r.load(random, 15, engine.Written) },
		func() error { return burst(r, random, 60) },
		r.close,
		func() error { r.options.Shards = 3; return r.open() },
		func() error { return r.load(random, 10, engine.Durable) },
		func() error { return snapshot(r) },
		func() error { return burst(r, random, 20) },
		func() error { return snapshot(r) },
		r.close,
		r.open,
		func() error { return r.load(random, 5, engine.Durable) },
		r.close,
	}
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

// burst sends events through a producer, and waits for them at the end.
func burst(r *rig, random *rand.Rand, n int) error {
	for range n {
		if err := r.produce(randomEvent(random).key, randomStep(random), engine.Durable); err != nil {
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
// Method: one life of a store, cut off after every operation of its disk, with every
// model of a crash.
func TestACrashAfterAnyOperationLosesNothingAcknowledged(t *testing.T) {
	random := random(t)
	seed, crashes, began := random.Uint64(), 0, time.Now()
	for stop := 0; ; stop++ {
		r := newRig(small(), hashes["full"])
		r.disk.StopAfter(stop)
		whole, err := live(r, rand.New(rand.NewPCG(seed, 1)))
		if err != nil {
			t.Fatalf("stopped after operation %d: %v", stop, err)
		}
		for _, model := range crashfs.Models(seed + uint64(stop)) {
			left := r.disk.Crash(model)
			if err := survives(r, left, model, rand.New(rand.NewPCG(seed, 2))); err != nil {
				t.Fatalf("stopped after operation %d, %v: %v", stop, model, err)
			}
			crashes++
		}
		if err := r.abandon(); err != nil {
			t.Fatal(err)
		}
		if whole {
			t.Logf("%d crashes in %v, %d operations", crashes, time.Since(began), stop)
			return
		}
	}
}

// survives opens what a crash of r has left, judges it, and goes on with it through
// another crash.
func survives(r *rig, left *crashfs.FS, model crashfs.Model, random *rand.Rand) error {
	least := safe
	if model.Data == crashfs.Kept {
		least = kept
	}
	again := r.on(left)
	if err := again.open(); err != nil {
		return err
	}
	if err := again.judge(least); err != nil {
		return err
	}
	if err := again.load(random, 12, engine.Durable); err != nil {
		return err
	}
	if err := again.crash(crashfs.Model{Seed: model.Seed}); err != nil {
		return err
	}
	if err := again.open(); err != nil {
		return err
	}
	if err := again.judge(safe); err != nil {
		return err
	}
	return again.abandon()
}
