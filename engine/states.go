package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

// states brings every shard to where it can be started: created, recovered, or
// recovered and split among another number of shards. changed says that the manifest is
// not what is on the disk.
func (e *Engine) states(ctx context.Context, changed bool) ([]*shard.State, error) {
	m := e.manifest
	if !m.Ready {
		return e.create()
	}
	states := make([]*shard.State, m.Shards)
	owned := partitionsOf(m)
	err := eachShard(m.Shards, func(i int) (err error) {
		states[i], err = shard.Recover(e.shardConfig(m, i, -1), owned[i], e.options.Progress)
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, ofNewer(err)
	}
	if e.owners, err = shard.Resolve(states, m.Partitions); err != nil {
		return nil, err
	}
	if changed { // before anything is written under it, and not in a store that is refused
		if err := m.write(e.options.Environment.FS, e.dir); err != nil {
			return nil, err
		}
	}
	e.setClock(states)
	e.removeUnnamedLayouts() // not before it is known that the store can be opened
	if count := min(e.options.Shards, m.Partitions); count != m.Shards {
		return e.reshard(states, count)
	}
	err = eachShard(m.Shards, func(i int) error {
		states[i].Begin(e.clock)
		return shard.Resume(e.shardConfig(m, i, -1), states[i])
	})
	err = closeUnless(err == nil, states, err)
	if err == nil {
		e.dropFormer()
	}
	return states, err
}

// setClock finds out what time it is for the store, and how long it was down: since the
// last moment that a log knows of.
func (e *Engine) setClock(states []*shard.State) {
	now := e.options.Environment.Now()
	last := int64(math.MinInt64)
	for _, state := range states {
		last = max(last, state.Time())
		e.clock.Paused = max(e.clock.Paused, state.Paused())
	}
	if e.pauses() {
		e.clock.Paused += max(0, now-last)
	}
	e.clock.Opened = max(now, last)
}

// pauses says that a table's clock stops while the store is down.
func (e *Engine) pauses() bool {
	return slices.ContainsFunc(e.bindings, attachment.stops)
}

// create makes the shards of a new store. Only then is the manifest ready: until it
// says so nothing can have been acknowledged, and what is there is made again.
func (e *Engine) create() ([]*shard.State, error) {
	m := e.manifest
	e.recovery.Created = true
	if err := m.write(e.options.Environment.FS, e.dir); err != nil {
		return nil, err
	}
	e.clock.Opened = e.options.Environment.Now()
	states, err := e.createLayout(m, nil)
	if err != nil {
		return nil, err
	}
	m.Ready = true
	err = m.write(e.options.Environment.FS, e.dir)
	return states, closeUnless(err == nil, states, err)
}

// createLayout makes the directories of a layout, over what a crash may have left. Its
// time begins with the engine's.
func (e *Engine) createLayout(m *manifest, from map[uint32]*shard.Partition) ([]*shard.State, error) {
	fs := e.options.Environment.FS
	dir := e.path(layoutName(m.Layout))
	if _, err := fs.Lstat(dir); err == nil {
		if err := fsys.RemoveTree(fs, dir); err != nil {
			return nil, fmt.Errorf("keyfold: %w", err)
		}
	}
	states := make([]*shard.State, m.Shards)
	owned := partitionsOf(m)
	e.owners = m.Owners
	err := eachShard(m.Shards, func(i int) (err error) {
		states[i], err = shard.Create(e.shardConfig(m, i, -1), owned[i], from, e.clock)
		return err
	})
	return states, closeUnless(err == nil, states, err)
}

// closeUnless closes the states of an open that has failed, and returns its error.
func closeUnless(ok bool, states []*shard.State, err error) error {
	if ok {
		return nil
	}
	for _, state := range states {
		if state != nil {
			err = errors.Join(err, state.Close())
		}
	}
	return err
}

// reshard writes the recovered partitions as the next layout, with another number of
// shards. The manifest makes it the current one; before that the old layout is
// whole, and after it the new one is.
func (e *Engine) reshard(old []*shard.State, count int) ([]*shard.State, error) {
	next := *e.manifest
	next.Layout, next.Former, next.Shards = e.manifest.Layout+1, e.manifest.Layout, count
	next.Owners = assign(e.owners, count)
	from := make(map[uint32]*shard.Partition)
	for _, state := range old {
		for _, p := range state.Partitions {
			from[p.ID] = p
		}
	}
	if err := e.retire(old); err != nil {
		return nil, err
	}
	states, err := e.createLayout(&next, from)
	if err != nil {
		return nil, err
	}
	if err := next.write(e.options.Environment.FS, e.dir); err != nil {
		return nil, closeUnless(false, states, err)
	}
	for _, state := range old {
		e.recovery.add(state.Report)
	}
	e.recovery.ShardsBefore = e.manifest.Shards
	e.manifest = &next
	e.removeUnnamedLayouts()
	e.trimFormer()
	return states, nil
}

// retire makes history of the logs of recovered shards, if that is kept. The layout stays
// what it is, and can be opened again.
func (e *Engine) retire(old []*shard.State) error {
	if !e.options.KeepLog.on() {
		return nil
	}
	m := e.manifest
	if m.Former != 0 {
		if err := e.archive(m.Former); err != nil {
			return err
		}
	}
	return eachShard(len(old), func(i int) error { return shard.Retire(e.shardConfig(m, i, -1), old[i]) })
}

// partitionsOf lists the partitions of each shard.
func partitionsOf(m *manifest) [][]uint32 {
	out := make([][]uint32, m.Shards)
	for partition, owner := range m.Owners {
		out[owner] = append(out[owner], uint32(partition))
	}
	return out
}

// assign gives each partition a shard out of count. Shares differ by at most one,
// and a partition keeps its shard as far as that allows.
func assign(owners []uint16, count int) []uint16 {
	next := make([]uint16, len(owners))
	share, extra := len(owners)/count, len(owners)%count
	room := make([]int, count)
	held := make([]int, count)
	for _, owner := range owners {
		if int(owner) < count {
			held[owner]++
		}
	}
	for i := range room {
		room[i] = share
	}
	for i := 0; extra > 0 && i < count; i++ { // first to those that hold more than their share
		if held[i] > share {
			room[i]++
			extra--
		}
	}
	for i := 0; extra > 0; i++ {
		if room[i] == share {
			room[i]++
			extra--
		}
	}
	var homeless []int
	for partition, owner := range owners {
		if int(owner) < count && room[owner] > 0 {
			next[partition] = owner
			room[owner]--
		} else {
			homeless = append(homeless, partition)
		}
	}
	to := 0
	for _, partition := range homeless {
		for room[to] == 0 {
			to++
		}
		next[partition] = uint16(to)
		room[to]--
	}
	return next
}

// removeUnnamedLayouts removes layouts that the manifest does not name. What cannot
// be removed now is tried again at the next open.
func (e *Engine) removeUnnamedLayouts() {
	entries, err := e.options.Environment.FS.ReadDir(e.dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name := entry.Name()
		named := name == layoutName(e.manifest.Layout) || name == layoutName(e.manifest.Former)
		if strings.HasPrefix(name, "layout-") && !named {
			_ = fsys.RemoveTree(e.options.Environment.FS, e.path(name))
		}
	}
}

func (e *Engine) removeLayout(number uint32) {
	_ = fsys.RemoveTree(e.options.Environment.FS, e.path(layoutName(number)))
}

// A Recovery says what Open found and did.
type Recovery struct {
	Created      bool            // there was no store
	Clean        bool            // every shard was closed: nothing was replayed
	ShardsBefore int             // of the layout that was read, if the number has changed; else 0
	Keys         int             // after recovery
	Lifted       int             // states that were written under older schemas of their tables
	Events       uint64          // replayed from the logs
	TornBytes    int64           // dropped behind the last whole frame of the logs
	Duration     time.Duration   // of Open
	Shards       []ShardRecovery // of the layout that was read
	Warnings     []string        // what was damaged and could be done without
}

func (r *Recovery) add(report shard.Report) {
	r.Clean = report.Clean && (r.Clean || len(r.Shards) == 0)
	r.Keys += report.Keys
	r.Events += report.Events
	r.TornBytes += report.TornBytes
	r.Shards = append(r.Shards, report)
	r.Warnings = append(r.Warnings, report.Warnings...)
}
