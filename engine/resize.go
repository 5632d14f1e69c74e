package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

// Resize makes another number of shards own the partitions while the engine runs, as
// few of which as possible move, some dozens at a time, as by Move. Shares differ by at
// most one partition afterwards. Shards that are missing are made first, and with PinOn
// pinned if there is a CPU for each. Shards that are
// too many stay, without partitions, and cost a stack and an inbox: the sources that
// they poll go on. The next Open goes by Options.Shards.
//
// ctx is looked at between two moves. Errors are those of Move, and those of the disk
// when a shard is made; partitions that have moved by then stay where they are.
func (e *Engine) Resize(ctx context.Context, shards int) error {
	if e.inside() {
		return ErrInside
	}
	if most := min(e.manifest.Partitions, shardsMax); shards < 1 || shards > most {
		return fmt.Errorf("keyfold: a store with %d partitions may have 1 to %d shards, not %d", e.manifest.Partitions, most, shards)
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	err := e.grow(shards)
	<-e.moves
	if err != nil {
		return err
	}
	byShard := make([][]uint32, shards)
	for partition, to := range assign(e.route.Load().owner, shards) {
		byShard[to] = append(byShard[to], uint32(partition))
	}
	for to, partitions := range byShard {
		if err := e.moveTo(ctx, partitions, to, false); err != nil {
			return err
		}
	}
	return nil
}

// grow makes shards without partitions until there are count. The manifest names them
// before anything moves to them. When that could not be written it may name them all the
// same, and their directories must not be made again.
func (e *Engine) grow(count int) error {
	old := e.shards()
	if len(old) >= count {
		return nil
	}
	if e.unsure != nil {
		return e.unsure
	}
	next := *e.manifest
	next.Shards = count
	var states []*shard.State
	for i := len(old); i < count; i++ {
		state, err := e.addShard(&next, i)
		if err != nil {
			return closeUnless(false, states, err)
		}
		states = append(states, state)
	}
	if err := next.write(e.options.Environment.FS, e.dir); err != nil {
		e.unsure = err
		return closeUnless(false, states, err)
	}
	e.manifest.Shards = count // the manifest is only read and written in turn
	fleet, cpus := slices.Clone(old), e.options.cpus(count)
	for i, state := range states {
		s, err := shard.New(e.shardConfig(&next, len(old)+i, cpus[len(old)+i]), state)
		if err != nil {
			e.unsure = err
			return closeUnless(false, states, err)
		}
		fleet = append(fleet, s)
	}
	for _, s := range fleet[len(old):] {
		s.Start()
	}
	e.fleet.Store(&fleet)
	for _, s := range old { // whoever waits for changes must wait for the new shards, too
		s.TellFollowers()
	}
	e.startAdviser()
	return nil
}

// addShard makes the directory of a shard, over what a crash may have left: the manifest
// did not name it, so nothing there was ever acknowledged.
func (e *Engine) addShard(m *manifest, index int) (*shard.State, error) {
	fs := e.options.Environment.FS
	c := e.shardConfig(m, index, -1)
	if _, err := fs.Lstat(c.Dir); err == nil {
		if err := fsys.RemoveTree(fs, c.Dir); err != nil {
			return nil, fmt.Errorf("keyfold: %w", err)
		}
		if err := fs.SyncDir(e.path(layoutName(m.Layout))); err != nil {
			return nil, fmt.Errorf("keyfold: %w", err)
		}
	}
	return shard.Create(c, nil, nil, shard.Clock{Opened: e.options.Environment.Now(), Paused: e.clock.Paused})
}
