package fuzz

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// An onlooker reads the changes of both tables of a rig with the states that they leave, each
// time from another position at which a reader once was.
type onlooker struct {
	past []engine.Position // the zero one first
	// trimmed says that the log is not kept: then a reader that comes too late may be told so.
	trimmed bool
	tally   *onlooked
}

// onlooked counts what onlookers have seen.
type onlooked struct{ changes, late atomic.Int64 }

// left is the state that a change left.
type left struct {
	changed
	state  note
	exists bool
}

func (r *rig) lookingOn(trimmed bool, tally *onlooked) {
	r.onlooker = &onlooker{past: []engine.Position{{}}, trimmed: trimmed, tally: tally}
	if !trimmed {
		r.options.KeepLog = engine.KeepLog{Bytes: 1 << 40}
	}
}

func (o *onlooker) clone() *onlooker {
	if o == nil {
		return nil
	}
	c := *o
	c.past = append([]engine.Position(nil), o.past...)
	return &c
}

// lookedOn reads from positions of the past, and from that of the states of now, which are
// then a position of the past themselves.
func (r *rig) lookedOn() error {
	o := r.onlooker
	if o == nil {
		return nil
	}
	ctx, cancel := patiently()
	defer cancel()
	now, err := r.tallies.States(ctx, func(string, tally) error { return nil })
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(r.number.Load(), 3))
	for _, from := range []engine.Position{now, o.past[len(o.past)-1], o.past[random.IntN(len(o.past))]} {
		err := r.lookOnFrom(from)
		if mayBeLate := o.trimmed && !from.Covers(now); mayBeLate && errors.Is(err, engine.ErrTrimmed) {
			o.tally.late.Add(1)
			continue
		}
		if errors.Is(err, engine.ErrTrimmed) {
			return violated("from %v: %w", from, err)
		}
		if err != nil {
			return err
		}
	}
	o.past = append(o.past, now)
	return nil
}

// lookOnFrom reads from a position, and judges what comes.
func (r *rig) lookOnFrom(from engine.Position) error {
	seen := make([]map[uint64]left, len(r.oracle.lines))
	for i := range seen {
		seen[i] = make(map[uint64]left)
	}
	err := errors.Join(
		lookOn(r, r.tallies, false, from, seen, func(s tally) note { return note{Tally: s} }),
		lookOn(r, r.notes, true, from, seen, func(s note) note { return s }),
	)
	if err != nil {
		return err
	}
	return r.judgeLeft(from, seen)
}

// lookOn reads what there is of a table from a position on.
func lookOn[S any](r *rig, table *engine.Table[string, S, step, tally], notes bool, from engine.Position, seen []map[uint64]left, noted func(S) note) error {
	ctx, cancel := patiently()
	defer cancel()
	changes, err := table.Changes(ctx, from, engine.ChangesOptions{Stop: true, States: true})
	if errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, engine.ErrShardFailed) {
		return err
	}
	if err != nil {
		return violated("changes with states: %w", err)
	}
	defer changes.Close()
	for {
		c, err := changes.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, engine.ErrShardFailed) || errors.Is(err, engine.ErrTrimmed) {
			return err
		}
		if err != nil {
			return violated("changes with states: %w", err)
		}
		if at := changes.Position(); at.Sequence(c.Partition) != c.Sequence || !at.Covers(from) {
			return violated("partition %d: the position is %v after change %d", c.Partition, at, c.Sequence)
		}
		r.onlooker.tally.changes.Add(1)
		s, exists := changes.State()
		seen[c.Partition][c.Sequence] = left{changed{name{notes, c.Key}, c.Event.Number}, noted(s), exists}
	}
}

// judgeLeft compares what changes have left with what the oracle makes of them.
func (r *rig) judgeLeft(from engine.Position, seen []map[uint64]left) error {
	for p, seen := range seen {
		l, s := &r.oracle.lines[p], states{}
		for i := range l.events {
			e, sequence := &l.events[i], uint64(i+1)
			s.fold(i, e)
			have, ok := seen[sequence]
			delete(seen, sequence)
			if must := sequence > from.Sequence(p) && i < l.safe; !ok {
				if must {
					return violated("partition %d: change %d behind %d is missing; %s", p, sequence, from.Sequence(p), l.history())
				}
				continue
			}
			want, exists := s[e.name]
			if sequence <= from.Sequence(p) || have.name != e.name || have.number != e.step.Number || have.exists != exists || exists && !want.same(have.state) {
				return violated("partition %d, behind event %d: change %d of %v has left %+v, want %v with %+v", p, from.Sequence(p), sequence, e.name, have, exists, want)
			}
		}
		if len(seen) > 0 {
			return violated("partition %d: changes that there are not: %v", p, seen)
		}
	}
	return nil
}

// Goal: each change comes with the state that it left, from every position that a reader may
// be at, whatever became of partitions, shards and process since; without a kept log, too,
// unless the reader is told that it comes too late, which one at the states of now never is.
// Method: the life of the test above, cut off after operations of its disk, with syncs and
// without: then readers get what a snapshot, or the look at the states of now, has synced.
func TestChangesComeWithTheStatesThatTheyLeaveAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	for name, trimmed := range map[string]bool{"kept": false, "trimmed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := &onlooked{}
			row := tries(t, "R4", "cut after operations of a life with moves, other numbers of shards and readers of states, "+name,
				"every eleventh operation, models in turn: each change comes with the state that it left")
			wanderEverywhere(t, row, 11, func(seed uint64) *rig {
				o := small()
				o.SnapshotBytes = []int64{3 << 10, 12 << 10}[seed%2]
				o.Sync = []engine.SyncMode{engine.SyncAlways, engine.SyncNever}[seed/2%2]
				r := newRig(o, hashes["full"])
				r.lookingOn(trimmed, tally)
				return r
			})
			if t.Logf("%d changes; too late %d times", tally.changes.Load(), tally.late.Load()); trimmed == (tally.late.Load() == 0) {
				t.Fatal("nobody came too late, or somebody did although all is kept")
			}
		})
	}
}

func (l left) String() string {
	return fmt.Sprintf("%v event %d: %v %+v", l.name, l.number, l.exists, l.state)
}

// Goal: the state of a partition is found also where nothing but the log of its new owner has
// it, because the old one has taken two snapshots without it, and the new one none.
func TestAStateIsFoundInTheLogOfANewOwner(t *testing.T) {
	t.Parallel()
	random := random(t)
	r := newRig(small(), hashes["full"])
	r.lookingOn(true, &onlooked{})
	must(t, r.open())
	ctx, cancel := patiently()
	defer cancel()
	must(t, r.load(random, 60, engine.Durable))
	stats, err := r.engine.Stats(ctx)
	must(t, err)
	var owned []int // by shard 0
	for _, p := range stats.Partitions {
		if p.Shard == 0 {
			owned = append(owned, int(p.Partition))
		}
	}
	moved, stays := owned[0], owned[1]
	must(t, r.engine.Snapshot(ctx))
	must(t, r.engine.Move(ctx, moved, 1))
	for rounds := stats.Shards[0].Snapshots.Published; stats.Shards[0].Snapshots.Published < rounds+4; {
		must(t, r.do(name{false, r.keyOf(stays)}, step{Filler: filler(200, random.Uint64())}, engine.Durable))
		stats, err = r.engine.Stats(ctx)
		must(t, err)
	}
	must(t, r.lookedOn())
	for range 3 {
		must(t, r.do(name{true, r.keyOf(moved)}, step{Filler: "moved"}, engine.Durable))
	}
	must(t, r.load(random, 20, engine.Durable))
	must(t, r.lookOnFrom(r.onlooker.past[1]))
	must(t, r.close())
}
