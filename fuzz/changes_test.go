package fuzz

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A witness reads the changes of both tables of a rig, from where it was, and remembers
// all that it has ever been given.
type witness struct {
	tallies, notes engine.Position
	seen           []map[uint64]changed // by partition and sequence
}

// changed is an event as a reader of changes gets it.
type changed struct {
	name   name
	number uint64
}

func newWitness(partitions int) *witness {
	w := &witness{seen: make([]map[uint64]changed, partitions)}
	for i := range w.seen {
		w.seen[i] = make(map[uint64]changed)
	}
	return w
}

func (w *witness) clone() *witness {
	if w == nil {
		return nil
	}
	c := *w
	c.seen = nil
	for _, seen := range w.seen {
		c.seen = append(c.seen, maps.Clone(seen))
	}
	return &c
}

// witnessed reads what is new, and compares all that was ever read with the oracle: each
// event once, in its place, and all that no crash may take back.
func (r *rig) witnessed() error {
	w := r.witness
	if w == nil {
		return nil
	}
	var err error
	if w.tallies, err = witnessTable(r, r.tallies, false, w.tallies); err != nil {
		return err
	}
	if w.notes, err = witnessTable(r, r.notes, true, w.notes); err != nil {
		return err
	}
	for p, seen := range w.seen {
		l := &r.oracle.lines[p]
		for sequence := uint64(1); sequence <= uint64(l.safe); sequence++ {
			if _, ok := seen[sequence]; !ok {
				return violated("partition %d: change %d is missing; %s", p, sequence, l.history())
			}
		}
		for sequence, c := range seen {
			if sequence > uint64(len(l.events)) {
				return violated("partition %d: there is a change %d; %s", p, sequence, l.history())
			}
			if e := &l.events[sequence-1]; e.name != c.name || e.step.Number != c.number {
				return violated("partition %d: change %d is %v, event %d; %s", p, sequence, c.name, c.number, l.history())
			}
		}
	}
	return nil
}

func witnessTable[S any](r *rig, table *engine.Table[string, S, step, tally], notes bool, from engine.Position) (engine.Position, error) {
	ctx, cancel := patiently()
	defer cancel()
	changes, err := table.Changes(ctx, from, engine.ChangesOptions{Stop: true})
	if err != nil {
		return from, violated("changes from %v: %w", from, err)
	}
	defer changes.Close()
	for {
		c, err := changes.Next(ctx)
		if errors.Is(err, io.EOF) {
			return changes.Position(), nil
		}
		if errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, engine.ErrShardFailed) {
			return changes.Position(), err
		}
		if err != nil {
			return from, violated("changes: %w", err)
		}
		seen := r.witness.seen[c.Partition]
		if _, twice := seen[c.Sequence]; twice {
			return from, violated("partition %d: change %d comes twice", c.Partition, c.Sequence)
		}
		seen[c.Sequence] = changed{name{notes, c.Key}, c.Event.Number}
		if at := changes.Position().Sequence(c.Partition); at != c.Sequence {
			return from, violated("partition %d: the position is %d after change %d", c.Partition, at, c.Sequence)
		}
	}
}

// keeping has the rig keep all of its log, and a witness read it.
func (r *rig) keeping() {
	r.options.KeepLog = engine.KeepLog{Bytes: 1 << 40}
	r.witness = newWitness(r.options.Partitions)
}

// readers has all read that look.
func (r *rig) readers() error {
	if err := r.witnessed(); err != nil {
		return err
	}
	return r.lookedOn()
}

// wander takes a store through moves and other numbers of shards, while it is online and
// between two opens, with a reader who looks now and then.
func wander(r *rig, random *rand.Rand) (whole bool, err error) {
	move := func() error {
		ctx, cancel := patiently()
		defer cancel()
		return r.engine.Move(ctx, random.IntN(r.options.Partitions), random.IntN(2))
	}
	resize := func(n int) func() error {
		return func() error {
			ctx, cancel := patiently()
			defer cancel()
			return r.engine.Resize(ctx, n)
		}
	}
	some := func() error { return r.load(random, 6, r.strongest()) }
	some2 := func() error { return burst(r, random, 20) }
	open := func(n int) func() error {
		return func() error { r.options.Shards = n; return r.open() }
	}
	return walk(r, []func() error{
		open(2), some, move, some, func() error { return snapshot(r) }, r.readers,
		move, move, some2, resize(3), some, move, r.readers,
		r.close, open(3), some, resize(2), some2, func() error { return snapshot(r) }, some,
		r.close, open(1), some, r.readers, func() error { return snapshot(r) },
		r.close, open(2), move, some2, func() error { return snapshot(r) }, move, r.close,
		open(2), r.readers, r.close,
	})
}

// Goal: a reader of changes gets every durable event once, those of a partition in their
// order, whatever becomes of the partitions and of the process.
// Method: one life with moves, resizing and resharding, cut off after operations of its
// disk; the reader goes on behind each crash from where it was, and a second one reads all
// from the beginning.
func TestChangesAreTheAcknowledgedEventsAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]struct {
		sync   engine.SyncMode
		stride int
	}{"always": {engine.SyncAlways, 5}, "never": {engine.SyncNever, 9}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := tries(t, "R4", "cut after operations of a life with moves, other numbers of shards and readers of changes, sync="+name,
				"every operation, models in turn: readers get what was acknowledged once, in its order, and nothing that a crash takes back")
			wanderEverywhere(t, row, mode.stride, func(uint64) *rig {
				o := small()
				o.Sync, o.SnapshotBytes = mode.sync, 12<<10
				r := newRig(o, hashes["full"])
				r.keeping()
				return r
			})
		})
	}
}

func wanderEverywhere(t *testing.T, row *row, stride int, rig func(seed uint64) *rig) {
	random := random(t)
	seed, crashes := random.Uint64(), 0
	for stop := random.IntN(stride); ; stop += max(1, stride / *rounds) {
		n, whole, err := wanderUntil(row, rig(seed+uint64(stop)), stop, seed)
		if err != nil {
			t.Fatalf("stopped after operation %d: %v", stop, err)
		}
		if crashes += n; whole {
			t.Logf("%d crashes in %d operations", crashes, stop)
			return
		}
	}
}

func wanderUntil(row *row, r *rig, stop int, seed uint64) (crashes int, whole bool, err error) {
	r.disk.StopAfter(stop)
	if whole, err = wander(r, rand.New(rand.NewPCG(seed, 1))); err != nil {
		return 0, false, err
	}
	for _, model := range turn(crashfs.Models(seed+uint64(stop)), stop, modelsAtATime()) {
		left := r.disk.Crash(model)
		if err := survives(r, left, model, rand.New(rand.NewPCG(seed, 2))); err != nil {
			return crashes, false, fmt.Errorf("%v: %w", model, err)
		}
		crashes++
		row.counted(r.oracle)
	}
	return crashes, whole, r.abandon()
}
