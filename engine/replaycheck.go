package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A ReplayReport says what a check of a store has found.
type ReplayReport struct {
	Tables []ReplayTable // in the order in which the store got them
	Events uint64        // of the log, each folded twice
	// Compared is how many states were folded and then found in a later snapshot.
	Compared  int
	Different int               // of those, and of the folds: states that are not the same
	First     *ReplayDifference // of them; nil if there is none
	// Notes say what could not be compared, and why.
	Notes []string
}

// A ReplayTable is what became of a table.
type ReplayTable struct {
	Name   string // of the table
	Keys   int    // behind the whole log
	Digest uint64 // of all keys with their states
}

// ReplayCheck folds the log of a store with the tables of the program and says whether
// they make of it what they should. Every event is folded twice, side by side, and the
// states are compared behind each: an Apply that is not deterministic shows, with the
// event. What the events between two snapshots make of the older one, or of nothing, is
// compared with the newer one: an Apply that does something else than the one that wrote
// the store, under the same Version, shows, with the key. The times of keys are compared
// like states, and so is what partitions remember of ids, producers and sources.
//
// It reads the files of dir and changes nothing, but that the lock file names the caller
// meanwhile. A store that is open elsewhere is refused with ErrLocked: check a copy that was
// made when it was closed. One that [Restore] has made of a backup has one snapshot, and
// nothing to compare it with. It takes the memory of an open engine twice, and thrice what one shard takes.
// Its tables may be used by Open afterwards. Options are those of Open.
//
// A difference is in the report, not in the error. Errors are those of Open, and ErrNoStore.
func ReplayCheck(ctx context.Context, dir string, options Options, tables ...Definition) (*ReplayReport, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	positions := newPositions()
	if tables, err = describeAll(tables, positions); err != nil {
		return nil, err
	}
	visitor, err := visit(dir, o.Environment)
	if err != nil {
		return nil, err
	}
	report, err := replayCheck(ctx, dir, o, tables, positions)
	if err = errors.Join(err, visitor.leave()); err != nil {
		return nil, err
	}
	return report, nil
}

func replayCheck(ctx context.Context, dir string, o Options, tables []Definition, positions positions) (*ReplayReport, error) {
	environment := *o.Environment
	environment.FS = fsys.ReadOnly(environment.FS)
	o.Environment, o.Logger = &environment, nil
	c := &check{Engine: &Engine{dir: filepath.Clean(dir), options: o, memory: slab.NewArena(), positions: positions}, report: &ReplayReport{}}
	defer func() {
		for _, t := range c.tables {
			t.detach()
		}
		c.memory.Close()
	}()
	if err := c.prepare(tables); err != nil {
		return nil, err
	}
	if err := c.run(ctx); err != nil {
		return nil, ofNewer(err)
	}
	return c.report, nil
}

// A check is an engine that is not started.
type check struct {
	*Engine
	report *ReplayReport
}

// prepare reads the manifest and takes the tables.
func (c *check) prepare(tables []Definition) error {
	m, _, err := readManifest(c.options.Environment.FS, c.dir)
	if err != nil {
		return err
	}
	if m == nil || !m.Ready {
		return fmt.Errorf("%w in %s", ErrNoStore, c.dir)
	}
	_, err = c.identify(m, tables)
	return err
}

// run checks the shards one by one, and then all that they hold.
func (c *check) run(ctx context.Context) error {
	m := c.manifest
	states := make([]*shard.State, m.Shards)
	for i, owned := range partitionsOf(m) {
		if err := ctx.Err(); err != nil {
			return err
		}
		config := c.shardConfig(m, i, -1)
		config.Tables = nil
		for _, b := range c.bindings {
			config.Tables = append(config.Tables, twinTable{b})
		}
		err := c.between(config, owned)
		if err == nil {
			states[i], err = shard.Recover(config, owned, c.options.Progress)
		}
		if c.note(err) {
			return nil
		}
		if err != nil {
			return err
		}
		c.report.Events += states[i].Report.Events
	}
	if _, err := shard.Resolve(states, m.Partitions); err != nil {
		return err
	}
	return c.digest(states)
}

// note takes over a difference, or why something cannot be compared. It says whether the
// check is over.
func (c *check) note(err error) bool {
	var difference *ReplayDifference
	if !errors.As(err, &difference) {
		return false
	}
	c.report.Different++
	c.report.First = difference
	return true
}

// between compares the newest snapshot of a shard with what the log makes of the state
// before it.
func (c *check) between(config shard.Config, owned []uint32) error {
	folded, taken, ok, err := shard.Between(config, owned)
	var version *VersionError
	switch {
	case errors.As(err, &version):
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("shard %d: the log before its newest snapshot was not folded: %v", config.Index, err))
		return nil
	case err != nil:
		return err
	case !ok:
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("shard %d: there are no two states to compare", config.Index))
		return nil
	}
	defer folded.Drop()
	defer taken.Drop()
	c.report.Events += folded.Report.Events
	return shard.Pair(folded, taken, func(a, b *shard.Partition) error {
		for table := range a.Stores {
			c.compare(b, a.Stores[table].(*twinStore).a, b.Stores[table].(*twinStore).a)
		}
		return nil
	})
}

// compare compares all states of a table in a partition.
func (c *check) compare(at *shard.Partition, folded, taken shard.Store) {
	a, ok := folded.(comparer)
	if !ok {
		return
	}
	take := func(d *ReplayDifference) {
		if d == nil {
			return
		}
		if c.report.Different++; c.report.First == nil {
			d.Snapshot, d.Partition, d.Sequence = true, int(at.ID), at.Sequence
			c.report.First = d
		}
	}
	taken.(comparer).eachKey(func(hash uint64, key []byte) bool {
		c.report.Compared++
		take(a.difference(taken, hash, key))
		return true
	})
	take(a.differentIDs(taken))
	take(a.differentOrigins(taken))
	if folded.Len() == taken.Len() {
		return // those that are missing were found
	}
	a.eachKey(func(hash uint64, key []byte) bool {
		if d := a.difference(taken, hash, key); d != nil && d.Second == "nothing" {
			take(d)
		}
		return true
	})
}

// digest sums up what the shards hold.
func (c *check) digest(states []*shard.State) error {
	all := make([]ReplayTable, len(c.bindings))
	for _, state := range states {
		for _, p := range state.Partitions {
			for id, store := range p.Stores {
				s, ok := store.(*twinStore).a.(comparer)
				if !ok {
					continue
				}
				sum, err := s.digest()
				if err != nil {
					return err
				}
				all[id].Keys += store.Len()
				all[id].Digest += sum
			}
		}
	}
	for id, t := range all {
		if entry := &c.manifest.Tables[id]; !entry.Dropped && entry.Name != positionsName {
			t.Name = entry.Name
			c.report.Tables = append(c.report.Tables, t)
		}
	}
	return nil
}
