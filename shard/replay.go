package shard

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

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
	if err := r.each((*worker).replay); err != nil {
		return err
	}
	for _, w := range r.workers {
		if err := w.checkReach(); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) replay() error {
	began := time.Now()
	first := true
	for _, g := range w.shard.current.Generations {
		if g.Number < w.shard.base {
			continue
		}
		if err := w.replayGeneration(g, first); err != nil {
			return damaged(w.shard.cfg.generationDir(g.Number), err)
		}
		first = false
	}
	w.found.Times.Scan = time.Since(began) - w.found.Times.Apply
	return nil
}

func (w *worker) replayGeneration(g Generation, first bool) error {
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	cfg := w.shard.cfg
	horizon := uint64(0)
	w.last = w.last[:0]
	result, err := wal.Scan(cfg.Log.FS, cfg.generationDir(g.Number), cfg.ID, g.Number, options, func(f wal.FrameView) error {
		horizon = max(horizon, f.Horizon)
		w.note(f, horizon)
		if f.Number == 0 {
			return w.begin(*f.Start, first)
		}
		return w.replayFrame(f)
	})
	if err != nil {
		return err
	}
	if result.Void {
		return fmt.Errorf("%w: there is no header frame, although CURRENT names generation %d", errJoin, g.Number)
	}
	w.logBytes += result.Bytes
	w.tornBytes += result.TornBytes
	w.events, w.sealed = result.Events, g.Sealed
	return nil
}

// note keeps the ends of the frames from the horizon on: they may be in the page
// cache only. Frame 0 was durable before CURRENT named the generation.
func (w *worker) note(f wal.FrameView, horizon uint64) {
	drop := 0
	for drop < len(w.last) && w.last[drop].number < horizon {
		drop++
	}
	w.last = append(w.last[drop:], frameEnd{number: f.Number, chain: f.Chain})
}

// begin checks that a generation joins what was read so far.
func (w *worker) begin(start wal.Start, first bool) error {
	w.time = max(w.time, start.Time)
	starts, err := decodeStarts(start.Payload)
	if err != nil {
		return err
	}
	for _, id := range w.owned {
		want, reach := starts[id], &w.reach[id]
		if first {
			if want > reach.stamp {
				return fmt.Errorf("%w: it begins behind event %d of partition %d, but the state before it ends with %d", errJoin, want, id, reach.stamp)
			}
			reach.log = want
		} else if reach.log != want {
			return fmt.Errorf("%w: it begins behind event %d of partition %d, but the log before it ends with %d", errJoin, want, id, reach.log)
		}
	}
	return nil
}

// checkReach makes sure that the log goes at least as far as the snapshot: it was
// published only when the log was durable up to its stamps.
func (w *worker) checkReach() error {
	for _, id := range w.owned {
		if have, need := w.reach[id].log, w.reach[id].stamp; have < need {
			return &CorruptError{
				Path: w.shard.cfg.generationDir(w.shard.current.last().Number), Partition: id, Sequence: have + 1,
				Err: fmt.Errorf("the log ends with event %d of partition %d, but snapshot %d holds %d", have, id, w.shard.base, need),
			}
		}
	}
	return nil
}

// A replayRun is events of a frame that are touched and applied together, as the run
// of a shard is.
type replayRun struct {
	calls   [runOperations]Call
	targets [runOperations]Target
	filled  int
}

// replayFrame applies the events of a frame.
func (w *worker) replayFrame(f wal.FrameView) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: it panicked with %v\n%s", errReplay, value, debug.Stack())
		}
	}()
	began := time.Now()
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
		if err := w.queueEvent(&rec, now); err != nil {
			return err
		}
	}
	if err := w.replayQueued(); err != nil {
		return err
	}
	w.time = max(w.time, now)
	w.bytes += int64(len(f.Body))
	w.progress(int64(len(f.Body)))
	w.found.Times.Apply += time.Since(began)
	return nil
}

// queueEvent puts an event into the run, unless the snapshot holds it or it is of
// another worker.
func (w *worker) queueEvent(rec *record, now int64) error {
	routing := &w.shard.cfg.Routing
	hash := routing.Hash(rec.key, routing.Seed)
	id := routing.Partition(hash)
	if int(rec.table) >= len(w.stores) || w.shard.theirs[id] == nil {
		return fmt.Errorf("%w: an event of table %d and partition %d is not of this shard", errJoin, rec.table, id)
	}
	store := w.stores[rec.table][id]
	if store == nil {
		return nil
	}
	reach := &w.reach[id]
	reach.log++
	if reach.log <= reach.stamp {
		w.found.Skipped++
		return nil
	}
	run := &w.run
	c := &run.calls[run.filled]
	c.Hash, c.Key, c.Event, c.Now = hash, rec.key, rec.event, now
	c.Sequence, c.Partition, c.Replay = reach.log, id, true
	run.targets[run.filled] = Target{Hash: hash, Store: store, Table: rec.table}
	if run.filled++; run.filled == runOperations {
		return w.replayQueued()
	}
	return nil
}

// replayQueued touches and applies the events of the run.
func (w *worker) replayQueued() error {
	run := &w.run
	calls := run.calls[:run.filled]
	run.filled = 0
	touchAll(w.programs, run.targets[:len(calls)])
	for i := range calls {
		c := &calls[i]
		if err := run.targets[i].Store.Apply(c); err != nil {
			return fmt.Errorf("%w: event %d of partition %d was refused: %w", errReplay, c.Sequence, c.Partition, err)
		}
	}
	w.found.Events += uint64(len(calls))
	return nil
}
