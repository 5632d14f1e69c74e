package shard

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/keyfold/keyfold/internal/mutant"
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
	for id := range w.adoptions {
		if err := w.giveUpAdoption(id); err != nil {
			return err
		}
	}
	if w.starts != nil {
		last := w.shard.current.last().Number
		return damaged(w.shard.cfg.generationDir(last), fmt.Errorf("%w: it ends before what was copied from the one before it", errJoin))
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
	w.last, w.filled = w.last[:0], 0
	result, err := wal.Scan(cfg.Log.FS, cfg.generationDir(g.Number), cfg.ID, g.Number, options, func(f wal.FrameView) error {
		horizon = max(horizon, f.Horizon)
		w.note(f, horizon)
		if f.Number > 0 && len(f.Body) > 0 {
			w.filled++
		}
		if err := w.takeFrame(f, first); err != nil {
			return err
		}
		w.last[len(w.last)-1].paused = w.run.Paused
		return nil
	})
	if err != nil {
		return err
	}
	if result.Void {
		return fmt.Errorf("%w: there is no header frame, although CURRENT names generation %d", errJoin, g.Number)
	}
	w.logBytes += result.Bytes
	w.tornBytes += result.TornBytes
	w.sealed = g.Sealed
	return nil
}

// takeFrame takes the header of a generation, or one of its frames.
func (w *worker) takeFrame(f wal.FrameView, first bool) error {
	if f.Number == 0 {
		return w.begin(*f.Start, first)
	}
	if err := w.enter(f.Number); err != nil {
		return err
	}
	if err := w.replayFrame(f); err != nil {
		return err
	}
	return w.checkStarts(f.Number)
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
	w.starts, w.gone = starts, starts.gone
	w.eras, w.allEras = starts.eras, starts.eras
	if err := w.under(w.eras[0].schemas); err != nil {
		return err
	}
	w.run.Paused = starts.paused
	if !first {
		return w.checkStarts(0)
	}
	w.starts = nil
	if starts.copied != 0 {
		return fmt.Errorf("%w: what it was copied from is not there", errJoin)
	}
	for id, at := range starts.held {
		if int(id) >= len(w.reach) {
			return fmt.Errorf("%w: it begins with partition %d, which does not exist", errJoin, id)
		}
		reach := &w.reach[id]
		if w.shard.theirs[id] != w {
			continue
		}
		if reach.stamp == (holding{}) && w.shard.base != 0 {
			w.leftBefore(id, at)
			continue
		}
		if w.parts[id] == nil || reach.stamp.less(at) {
			return fmt.Errorf("%w: it begins behind event %d of partition %d, but the state before it ends with %d", errJoin, at.sequence, id, reach.stamp.sequence)
		}
		reach.log = at
	}
	for id, epoch := range starts.gone {
		if int(id) < len(w.reach) && w.shard.theirs[id] == w && w.reach[id].stamp != (holding{}) && w.reach[id].stamp.epoch < epoch {
			w.leftBefore(id, holding{epoch: epoch - 1, sequence: w.reach[id].stamp.sequence})
		}
	}
	return nil
}

// leftBefore takes note of a partition that left before the snapshot came to it, or before
// the generation began when nothing was logged between the two: another shard had adopted
// it, durably, and what this shard has of it is of no use. Resolve makes sure of that.
func (w *worker) leftBefore(id uint32, at holding) {
	w.reach[id] = reach{log: at, left: true}
	if p := w.parts[id]; p != nil {
		p.drop()
	}
	w.parts[id] = nil
	for _, stores := range w.stores {
		stores[id] = nil
	}
}

// checkStarts checks that a generation joins the one before it, behind the frame up to
// which that was copied. One that was sealed before that frame is not checked: its
// copies come again in the next one, which is.
func (w *worker) checkStarts(frame uint64) error {
	s := w.starts
	if s == nil || s.copied != frame {
		return nil
	}
	w.starts = nil
	for id, p := range w.parts {
		if p == nil {
			continue
		}
		if _, gone := s.gone[uint32(id)]; gone {
			continue
		}
		if want, have := s.held[uint32(id)], w.reach[id].log; have != want {
			return fmt.Errorf("%w: it begins behind event %d of partition %d, but the log before it ends with %d", errJoin, want.sequence, id, have.sequence)
		}
	}
	return nil
}

// checkReach makes sure that the log goes at least as far as the snapshot: it was
// published only when the log was durable up to its stamps.
func (w *worker) checkReach() error {
	for id := range w.reach {
		if have, need := w.reach[id].log, w.reach[id].stamp; have.less(need) {
			return &CorruptError{
				Path: w.shard.cfg.generationDir(w.shard.current.last().Number), Partition: uint32(id), Sequence: have.sequence + 1,
				Err: fmt.Errorf("the log ends with event %d of partition %d, but snapshot %d holds %d", have.sequence, id, w.shard.base, need.sequence),
			}
		}
	}
	return nil
}

// replayFrame applies the events of a frame.
func (w *worker) replayFrame(f wal.FrameView) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: it panicked with %v\n%s", errReplay, value, debug.Stack())
		}
	}()
	began := time.Now()
	w.run.Now = f.Time
	w.time = max(w.time, f.Time)
	var rec record
	for rest := f.Body; len(rest) > 0; {
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		switch rec.table {
		case timeMarkTable:
			err = w.replayQueued()
			w.run.Now = rec.time()
			w.time = max(w.time, w.run.Now) // a partition that was adopted brings its own
		case clockTable:
			err = w.replayClock(&rec)
		case beginTable, partTable, commitTable:
			err = w.adoptRecord(&rec)
		default:
			err = w.queueEvent(&rec)
		}
		if err != nil {
			return err
		}
	}
	if err := w.replayQueued(); err != nil {
		return err
	}
	if f.Count > 0 {
		w.bytes += int64(len(f.Body))
	}
	w.progress(int64(len(f.Body)))
	w.found.Times.Apply += time.Since(began)
	return nil
}

// queueEvent puts an event into the run, unless the snapshot holds it or it is of
// another worker.
func (w *worker) queueEvent(rec *record) error {
	routing := &w.shard.cfg.Routing
	hash := routing.Hash(rec.key(), routing.Seed)
	id := routing.Partition(hash)
	if int(rec.table) >= len(w.stores) {
		return fmt.Errorf("%w: an event of table %d", errJoin, rec.table)
	}
	if w.shard.theirs[id] != w {
		return nil
	}
	part, at := w.follow(id)
	if at == nil {
		return fmt.Errorf("%w: an event of partition %d, which is not of this shard", errJoin, id)
	}
	at.sequence++
	if part == nil || w.shard.beyond(id, *at) {
		w.found.Skipped++
		return nil
	}
	if err := w.unplayable[rec.table]; err != nil {
		return err
	}
	r := &w.run
	r.Ops[r.Filled] = Operation{
		Hash: hash, Record: rec.bytes, keyEnd: rec.keyEnd, Part: part, Store: part.Stores[rec.table], Table: rec.table, Stamp: rec.stamp, Kind: rec.stamp.kind(),
	}
	if r.Filled++; r.Filled == runOperations {
		return w.replayQueued()
	}
	return nil
}

// replayClock takes note that the store was opened again.
func (w *worker) replayClock(rec *record) error {
	if err := w.replayQueued(); err != nil {
		return err
	}
	c, begun := rec.clock()
	w.run.Paused = c.Paused
	for _, table := range begun {
		for _, p := range w.parts {
			if p != nil {
				p.beginTimes(table, c)
			}
		}
	}
	return nil
}

// follow finds what an event of a partition belongs to: the adoption that has begun, or
// what the shard holds. There is no partition if the event need not be applied, and no
// holding if it is of neither.
func (w *worker) follow(id uint32) (*Partition, *holding) {
	if a := w.adoptions[id]; a != nil {
		return a.part, &a.at
	}
	part, reach := w.parts[id], &w.reach[id]
	if reach.left || part == nil && w.shard.until != nil { // adopted later than what is folded
		return nil, &reach.log
	}
	if part == nil {
		return nil, nil
	}
	if next := (holding{reach.log.epoch, reach.log.sequence + 1}); !reach.stamp.less(next) && !mutant.AppliedTwice {
		part = nil
	}
	return part, &reach.log
}

// replayQueued touches and applies the events of the run.
func (w *worker) replayQueued() error {
	r := &w.run
	r.touch(w.programs)
	r.apply(w.programs, r.Filled)
	for i := range r.Ops[:r.Filled] {
		if op := &r.Ops[i]; op.Err != nil {
			return fmt.Errorf("%w: an event of partition %d was refused: %w", errReplay, op.Part.ID, op.Err)
		}
	}
	w.found.Events += uint64(r.Filled)
	r.Filled, r.Next = 0, 0
	return nil
}
