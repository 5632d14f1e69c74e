package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// faults are the ways in which an operation of the disk may fail once.
var faults = map[string]error{
	"EIO":         crashfs.ErrIO,
	"ENOSPC":      crashfs.ErrFull,
	"short write": crashfs.ShortWrite(11, crashfs.ErrFull),
	"lost pages":  crashfs.DropDirty(crashfs.ErrIO),
}

// A fated run is a store with two shards whose disk fails once.
type fated struct {
	*rig
	failed int // the shard that has failed, or -1
}

// shardOf is where a partition lies in a new store with two shards.
func (f *fated) shardOf(partition int) int { return partition * 2 / f.options.Partitions }

// live carries out the script. An error that the fault does not excuse is a violation.
func (f *fated) live(random *rand.Rand) error {
	if f.open() != nil {
		f.engine = nil
		return nil // refused; nothing was acknowledged
	}
	for i := range 90 {
		if err := f.tryOne(random); err != nil {
			return err
		}
		if i%40 == 25 {
			if err := f.trySnapshot(); err != nil {
				return err
			}
		}
	}
	if err := f.tryProducer(random); err != nil {
		return err
	}
	return nil
}

// tryOne sends an event. A failed shard acknowledges nothing, the other one goes on.
func (f *fated) tryOne(random *rand.Rand) error {
	n, ack := randomEvent(random), engine.Ack(random.IntN(2))
	shard := f.shardOf(f.partition(n.key))
	err := f.do(n, step{Filler: filler(random.IntN(200), random.Uint64())}, ack)
	var failed *engine.FailedError
	switch {
	case errors.As(err, &failed):
		return f.fail(failed.Shard, shard)
	case err == nil && f.failed == shard:
		return violated("shard %d acknowledges an event after it has failed", shard)
	case err != nil && !errors.Is(err, engine.ErrReadOnly):
		return violated("an event was refused: %w", err)
	}
	return f.readAll(shard, n.key)
}

// fail notes the failure of a shard, which must be that of the event, and no second.
func (f *fated) fail(failed, shard int) error {
	if failed != shard || f.failed >= 0 && f.failed != failed {
		return violated("shard %d has failed for an event of shard %d; before that, shard %d", failed, shard, f.failed)
	}
	f.failed = failed
	return nil
}

// readAll wants reads of the shard to do as its events do.
func (f *fated) readAll(shard int, key string) error {
	ctx, cancel := patiently()
	defer cancel()
	_, _, err := f.tallies.Get(ctx, key)
	if err != nil && !errors.Is(err, engine.ErrShardFailed) {
		return violated("a read: %w", mustNotHang(err))
	}
	if err != nil {
		return f.fail(shard, shard)
	}
	return nil
}

// trySnapshot asks for a snapshot, which may fail: that of itself fails no shard.
func (f *fated) trySnapshot() error {
	var v violation
	if err := snapshot(f.rig); errors.As(err, &v) {
		return err
	}
	return nil
}

// tryProducer sends events to both shards. What a failed shard was sent comes back.
func (f *fated) tryProducer(random *rand.Rand) error {
	err := burst(f.rig, random, 40)
	var v violation
	var failed *engine.FailedError
	switch {
	case errors.As(err, &v):
		return err
	case errors.As(err, &failed):
		return f.fail(failed.Shard, failed.Shard)
	case err == nil && f.failed >= 0:
		return violated("a producer's events were all acknowledged, but shard %d has failed", f.failed)
	}
	return nil
}

// Goal: an operation of the disk that fails once fails its shard at most: that one
// acknowledges nothing more, the other one goes on, nothing hangs or panics, and what
// was acknowledged is there when the store is opened again.
// Method: one script, with each operation in turn failing in each of the ways.
func TestADiskThatFailsOnceCostsOneShardAndNoEvent(t *testing.T) {
	t.Parallel()
	random := random(t)
	seed := random.Uint64()
	for what, fault := range faults {
		for n := 1 + random.IntN(2); ; n += max(1, 3 / *rounds) {
			f := &fated{rig: newRig(small(), hashes["full"]), failed: -1}
			f.disk.FailNth(crashfs.Any, n, fault)
			if err := f.survive(rand.New(rand.NewPCG(seed, 0))); err != nil {
				t.Fatalf("%s at operation %d: %v", what, n, err)
			}
			if f.disk.Ops() < n {
				break
			}
		}
	}
}

// survive lives, ends the engine in order or not, and opens the store again.
func (f *fated) survive(random *rand.Rand) error {
	if err := f.live(random); err != nil {
		return err
	}
	ops := f.disk.Ops()
	if err := f.abandon(); err != nil { // a Close, on a disk that works again
		return err
	}
	for _, model := range []crashfs.Model{{Data: crashfs.Kept}, {}} {
		again := f.on(f.disk.Crash(model))
		if err := again.reopen(safe); err != nil {
			return fmt.Errorf("%v, after %d operations: %w", model, ops, err)
		}
		if err := again.abandon(); err != nil {
			return err
		}
	}
	return nil
}
