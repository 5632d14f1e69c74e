package shard

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/keyfold/keyfold/wal"
)

// errReplay says that a function of a table did on replay what it cannot have done
// when the event was accepted.
var errReplay = errors.New("keyfold: replay differs from the first run; Apply must be deterministic")

// errJoin says that parts of a store, whole by themselves, do not belong together.
var errJoin = errors.New("it is not what belongs there")

// replay reads the generations from the base on, in order, and applies the events
// that the snapshot does not hold.
func (r *recovery) replay() error {
	first := true
	for _, g := range r.current.Generations {
		if g.Number < r.base {
			continue
		}
		if err := r.replayGeneration(g, first); err != nil {
			return r.damaged(r.cfg.generationDir(g.Number), err)
		}
		first = false
	}
	return r.checkReach()
}

func (r *recovery) replayGeneration(g Generation, first bool) error {
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	horizon := uint64(0)
	r.last = r.last[:0]
	result, err := wal.Scan(r.cfg.Log.FS, r.cfg.generationDir(g.Number), r.cfg.ID, g.Number, options, func(f wal.FrameView) error {
		horizon = max(horizon, f.Horizon)
		r.note(f, horizon)
		if f.Number == 0 {
			return r.begin(*f.Start, first)
		}
		return r.replayFrame(f)
	})
	if err != nil {
		return err
	}
	if result.Void {
		return fmt.Errorf("%w: there is no header frame, although CURRENT names generation %d", errJoin, g.Number)
	}
	r.report.LogBytes += result.Bytes
	r.report.TornBytes += result.TornBytes
	r.events, r.sealed = result.Events, g.Sealed
	return nil
}

// note keeps the ends of the frames from the horizon on: they may be in the page
// cache only. Frame 0 was durable before CURRENT named the generation.
func (r *recovery) note(f wal.FrameView, horizon uint64) {
	drop := 0
	for drop < len(r.last) && r.last[drop].number < horizon {
		drop++
	}
	r.last = append(r.last[drop:], frameEnd{number: f.Number, chain: f.Chain})
}

// begin checks that a generation joins what was read so far.
func (r *recovery) begin(start wal.Start, first bool) error {
	r.time = max(r.time, start.Time)
	starts, err := decodeStarts(start.Payload)
	if err != nil {
		return err
	}
	for _, id := range r.owned {
		want := starts[id]
		if first {
			if want > r.parts[id].Sequence {
				return fmt.Errorf("%w: it begins behind event %d of partition %d, but the state before it ends with %d", errJoin, want, id, r.parts[id].Sequence)
			}
			r.sequence[id] = want
		} else if r.sequence[id] != want {
			return fmt.Errorf("%w: it begins behind event %d of partition %d, but the log before it ends with %d", errJoin, want, id, r.sequence[id])
		}
	}
	return nil
}

// checkReach makes sure that the log goes at least as far as the snapshot: it was
// published only when the log was durable up to its stamps.
func (r *recovery) checkReach() error {
	for _, id := range r.owned {
		if have, need := r.sequence[id], r.parts[id].Sequence; have < need {
			return &CorruptError{
				Path: r.cfg.generationDir(r.current.last().Number), Partition: id, Sequence: have + 1,
				Err: fmt.Errorf("the log ends with event %d of partition %d, but snapshot %d holds %d", have, id, r.base, need),
			}
		}
	}
	return nil
}

// A replayRun is events of a frame that are touched and applied together, as the run
// of a shard is.
type replayRun struct {
	calls  [runOperations]Call
	stores [runOperations]Store
	parts  [runOperations]*Partition
	filled int
}

// replayFrame applies the events of a frame.
func (r *recovery) replayFrame(f wal.FrameView) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: it panicked with %v\n%s", errReplay, value, debug.Stack())
		}
	}()
	now := f.Time
	var rec record
	for rest := f.Body; len(rest) > 0; {
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		if rec.isTimeMark() {
			now = rec.time()
			continue
		}
		if err := r.queueEvent(&rec, now); err != nil {
			return err
		}
	}
	if err := r.replayQueued(); err != nil {
		return err
	}
	r.time = max(r.time, now)
	r.bytes += int64(len(f.Body))
	r.progress(int64(len(f.Body)))
	return nil
}

// queueEvent puts an event into the run, unless the snapshot holds it.
func (r *recovery) queueEvent(rec *record, now int64) error {
	hash := r.cfg.Routing.Hash(rec.key, r.cfg.Routing.Seed)
	id := r.cfg.Routing.Partition(hash)
	p := r.parts[id]
	if p == nil || int(rec.table) >= len(p.Stores) {
		return fmt.Errorf("%w: an event of table %d and partition %d is not of this shard", errJoin, rec.table, id)
	}
	r.sequence[id]++
	if r.sequence[id] <= p.Sequence {
		r.report.Skipped++
		return nil
	}
	run := &r.run
	c := &run.calls[run.filled]
	c.Hash, c.Key, c.Event, c.Now = hash, rec.key, rec.event, now
	c.Sequence, c.Partition, c.Replay = r.sequence[id], id, true
	run.stores[run.filled], run.parts[run.filled] = p.Stores[rec.table], p
	if run.filled++; run.filled == runOperations {
		return r.replayQueued()
	}
	return nil
}

// replayQueued touches and applies the events of the run.
func (r *recovery) replayQueued() error {
	run := &r.run
	calls := run.calls[:run.filled]
	run.filled = 0
	for i := range calls {
		run.stores[i].Touch(calls[i].Hash)
	}
	for i := range calls {
		run.stores[i].TouchEntry(calls[i].Hash)
	}
	for i := range calls {
		c := &calls[i]
		if err := run.stores[i].Apply(c); err != nil {
			return fmt.Errorf("%w: event %d of partition %d was refused: %w", errReplay, c.Sequence, c.Partition, err)
		}
		run.parts[i].Sequence = c.Sequence
	}
	r.report.Events += uint64(len(calls))
	return nil
}
