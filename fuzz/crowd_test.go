package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// keysOf are some keys of a partition; none if the hash has none for it.
func (r *rig) keysOf(p int) []string {
	var keys []string
	for i := 0; i < 200 && len(keys) < 3; i++ {
		if key := fmt.Sprintf("key-%d", i); r.partition(key) == p {
			keys = append(keys, key)
		}
	}
	return keys
}

// crowd sends events to all partitions at once, while a snapshot is taken.
func (r *rig) crowd(seed uint64, events int) error {
	if err := r.flush(); err != nil {
		return err
	}
	taken := make(chan error, 1)
	go func() {
		ctx, cancel := patiently()
		defer cancel()
		taken <- mustNotHang(r.engine.Snapshot(ctx))
	}()
	err := r.everywhere(seed, events, r.strongest(), engine.Written, engine.Applied)
	return errors.Join(err, <-taken)
}

// everywhere sends events to all partitions at once, to each in an order of its own.
func (r *rig) everywhere(seed uint64, events int, acks ...engine.Ack) error {
	errs := make([]error, len(r.oracle.lines))
	var group sync.WaitGroup
	for p := range r.oracle.lines {
		if keys := r.keysOf(p); len(keys) > 0 {
			group.Go(func() { errs[p] = r.push(rand.New(rand.NewPCG(seed, uint64(p))), keys, events, acks) })
		}
	}
	group.Wait()
	return errors.Join(errs...)
}

// push sends events to keys of one partition.
func (r *rig) push(random *rand.Rand, keys []string, events int, acks []engine.Ack) error {
	for range events {
		n := name{notes: random.IntN(4) == 0, key: keys[random.IntN(len(keys))]}
		if err := r.do(n, randomStep(random), acks[random.IntN(len(acks))]); err != nil {
			return err
		}
	}
	return nil
}

// slow makes the syncs of logs take their time, so that other things overtake them.
func slow(disk *crashfs.FS) {
	disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Sync && strings.Contains(op.Name, "/log/") {
			for range 200 {
				runtime.Gosched()
			}
		}
		return nil
	})
}

// move takes a random partition to another shard.
func (r *rig) move(random *rand.Rand) error {
	ctx, cancel := patiently()
	defer cancel()
	if err := r.flush(); err != nil {
		return err
	}
	return mustNotHang(r.engine.Move(ctx, random.IntN(r.options.Partitions), random.IntN(r.options.Shards)))
}

// moves takes some partitions to other shards, with events between the moves.
func (r *rig) moves(random *rand.Rand, n int) error {
	for range n {
		if err := r.move(random); err != nil {
			return err
		}
		if err := r.load(random, 3, r.strongest()); err != nil {
			return err
		}
	}
	return nil
}

// resize lets another number of shards own the partitions.
func (r *rig) resize(shards int) error {
	ctx, cancel := patiently()
	defer cancel()
	if err := r.flush(); err != nil {
		return err
	}
	return mustNotHang(r.engine.Resize(ctx, shards))
}
