package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A folding makes of the changes that a reader gets the states that they have left, in memory
// of its own: each partition from a state in front of the reader's position on, which is in a
// snapshot, or in the log of a shard that has adopted the partition, or is that of no event.
// What an event does to a state is left to the program of the table, as in a recovery. It
// belongs to one goroutine.
type folding struct {
	engine  *Engine // that is not started; its memory is the folding's
	running *Engine
	table   attachment // of engine
	id      uint16
	name    string
	from    []uint64 // by partition: the last event that the reader has

	programs map[uint32]schemaProgram // by schema
	stores   []shard.Store            // by partition; nil: it has no key
	lacking  []bool                   // by partition: its state is not known yet
	part     shard.Partition          // of the change that is folded
	run      shard.Run
}

// A schemaProgram is a program that is ready for what was written under a schema.
type schemaProgram struct {
	shard.Program
	unplayable error
}

// newFolding makes a folding of a table, for a reader that has the events up to from. bind
// binds the table to the engine that is the folding's.
func (e *Engine) newFolding(name string, id uint16, from []uint64, bind func(*Engine) attachment) *folding {
	f := &folding{
		engine:  &Engine{options: e.options, routing: e.routing, memory: slab.NewArena()},
		running: e, id: id, name: name, from: from, programs: make(map[uint32]schemaProgram),
		stores: make([]shard.Store, len(from)), lacking: make([]bool, len(from)), run: shard.Run{Replay: true},
	}
	f.table = bind(f.engine)
	return f
}

// begin loads the newest states in front of the reader's position, and returns where to read
// on from. Partitions of which there are none begin with their first event.
func (f *folding) begin(ctx context.Context) (position []uint64, err error) {
	defer caught(&err)
	bases, err := f.bases()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeBases(bases)) }()
	position = make([]uint64, len(f.from))
	for id, from := range f.from {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if from == 0 {
			continue
		}
		if position[id], err = f.loadNewest(&bases, uint32(id)); err != nil {
			return nil, err
		}
	}
	return position, nil
}

// bases opens all snapshots that there are.
func (f *folding) bases() (all []*shard.Base, err error) {
	configs := f.running.history.bases
	for _, s := range f.running.shards() {
		configs = append(configs[:len(configs):len(configs)], s.Config())
	}
	for _, c := range configs {
		some, err := shard.Bases(c)
		if all = append(all, some...); err != nil {
			return nil, errors.Join(err, closeBases(all))
		}
	}
	return all, nil
}

func closeBases(all []*shard.Base) (err error) {
	for _, b := range all {
		err = errors.Join(err, b.Close())
	}
	return err
}

// loadNewest loads the newest state of a partition that the reader's position covers, and
// returns its sequence: 0 if there is none. Shards take snapshots meanwhile: when one of the
// bases is gone it goes on with those of now.
func (f *folding) loadNewest(bases *[]*shard.Base, id uint32) (sequence uint64, err error) {
	for {
		sequence, err = f.loadFrom(*bases, id)
		if !errors.Is(err, shard.ErrReplaced) {
			return sequence, err
		}
		again, err := f.bases()
		if err != nil {
			return 0, err
		}
		_ = closeBases(*bases)
		*bases = again
	}
}

// loadFrom is loadNewest with these bases.
func (f *folding) loadFrom(bases []*shard.Base, id uint32) (sequence uint64, err error) {
	var newest *shard.Base
	for _, b := range bases {
		if at, ok := b.Sequence(id); ok && at <= f.from[id] && at > sequence {
			newest, sequence = b, at
		}
	}
	if newest == nil {
		return 0, nil
	}
	return sequence, f.load(id, newest.Schema(f.id), func(yield func(uint8, uint32, []byte) error) error {
		return newest.Blocks(id, f.id, yield)
	})
}

// load makes blocks, which were written under a schema, the state of a partition.
func (f *folding) load(id, schema uint32, blocks func(yield func(form uint8, entries uint32, data []byte) error) error) error {
	program, err := f.under(schema)
	if err != nil {
		return err
	}
	f.drop(id)
	store := program.NewStore()
	f.stores[id] = store
	err = blocks(func(form uint8, entries uint32, data []byte) error {
		if form == formTimes || form == formIDs || form == formOrigins {
			return nil
		}
		return store.Load(form, entries, data)
	})
	if err != nil {
		f.drop(id) // some of it is no state
		return err
	}
	f.lacking[id] = false
	return nil
}

// drop forgets the state of a partition.
func (f *folding) drop(id uint32) {
	if d, ok := f.stores[id].(shard.Dropper); ok {
		d.Drop()
	}
	f.stores[id] = nil
}

// under returns a program that is ready for what was written under a schema.
func (f *folding) under(schema uint32) (p schemaProgram, err error) {
	p, ok := f.programs[schema]
	if ok {
		return p, nil
	}
	p.Program = f.table.Bind()
	if p.unplayable, err = p.Under(schema); err != nil {
		return p, fmt.Errorf("keyfold: %w", err)
	}
	f.programs[schema] = p
	return p, nil
}

// wanting are trails whose images of partitions are given to the folding.
func (f *folding) wanting(sources []shard.TrailSource) (all []shard.TrailSource) {
	images := &shard.Images{Table: f.id, Take: f.adopted}
	for _, source := range sources {
		source.Images = images
		all = append(all, source)
	}
	return all
}

// adopted takes the image of a partition whose state is not known.
func (f *folding) adopted(a *shard.Adopted) (err error) {
	defer caught(&err)
	if !f.lacking[a.Partition] {
		return nil
	}
	return f.load(a.Partition, a.Schema, a.Blocks)
}

// bridge says where to go on behind changes that were removed. None that the reader has not
// had may be among them. Their effect is in a newer snapshot, or in an image that comes.
func (f *folding) bridge(gaps []shard.Gap) (err error) {
	defer caught(&err)
	for _, g := range gaps {
		if g.To > f.from[g.Partition] {
			return fmt.Errorf("%w: partition %d, events up to %d", ErrTrimmed, g.Partition, g.To)
		}
	}
	bases, err := f.bases()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBases(bases)) }()
	for i := range gaps {
		g := &gaps[i]
		at, err := f.loadNewest(&bases, g.Partition)
		if err != nil {
			return err
		}
		if g.To = max(g.To, at); g.To > at {
			f.drop(g.Partition)
			f.lacking[g.Partition] = true
		}
	}
	return nil
}

// fold folds a change.
func (f *folding) fold(n *shard.Change) (err error) {
	defer caught(&err)
	id := n.Partition
	switch {
	case f.lacking[id] && n.Sequence <= f.from[id]:
		return nil // a state that holds it may come
	case f.lacking[id]:
		return fmt.Errorf("%w: the state of partition %d in front of event %d; the event itself is there", ErrTrimmed, id, n.Sequence)
	}
	program, err := f.under(n.Schema)
	if err != nil {
		return err
	}
	if program.unplayable != nil {
		return program.unplayable
	}
	if f.stores[id] == nil {
		f.stores[id] = program.NewStore()
	}
	store := f.stores[id]
	store.Rebind(program.Program)
	f.part = shard.Partition{ID: id, Sequence: n.Sequence - 1}
	f.run.Now = n.Time
	n.Operation(&f.run.Ops[0], f.hash(n.Key), &f.part, store)
	applyOne(program.Program, store, &f.run, 0)
	if err := f.run.Ops[0].Err; err != nil {
		return fmt.Errorf("keyfold: table %q: event %d of partition %d, folded again: %w", f.name, n.Sequence, id, err)
	}
	return nil
}

func (f *folding) hash(key []byte) uint64 { return f.engine.routing.Hash(key, f.engine.routing.Seed) }

// position is where a reader goes on that has what was handed out, when changes were read up
// to sequences.
func (f *folding) position(sequences []uint64) []uint64 {
	out := make([]uint64, len(sequences))
	for id := range out {
		out[id] = max(sequences[id], f.from[id])
	}
	return out
}

// close gives the memory back.
func (f *folding) close() {
	if f != nil {
		f.engine.memory.Close()
		clear(f.stores)
	}
}
