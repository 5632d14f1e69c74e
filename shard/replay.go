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

// takePortion takes the records of the worker in a portion.
func (w *worker) takePortion(b *portion) error {
	defer b.done()
	began := time.Now()
	if b.begins {
		w.last, w.filled = w.last[:0], 0
	}
	entries, from := b.entries[w.index], 0
	for i := range b.frames {
		to := b.ends[i*len(b.entries)+w.index]
		if err := w.takeFrame(b, &b.frames[i], entries[from:to]); err != nil {
			return damaged(w.shard.cfg.generationDir(b.generation), err)
		}
		from = to
	}
	w.found.Times.Apply += time.Since(began)
	return nil
}

// takeFrame takes the header of a generation, or the worker's records of one of its frames.
func (w *worker) takeFrame(b *portion, f *portionFrame, entries []portionEntry) error {
	w.note(f.FrameView, f.horizon)
	if f.Number == 0 {
		if err := w.begin(*f.Start, b.first); err != nil {
			return err
		}
	} else {
		if f.bytes > 0 {
			w.filled++
		}
		if err := w.enter(f.Number); err != nil {
			return err
		}
		if err := w.replayFrame(f, b.bodies, entries); err != nil {
			return err
		}
		if err := w.checkStarts(f.Number); err != nil {
			return err
		}
		w.progress(int64(f.bytes)) // a panic of this is none of Apply's
	}
	w.last[len(w.last)-1].paused = w.run.Paused
	return nil
}

// finish ends the replay, when all of the log was read.
func (w *worker) finish() error {
	for id := range w.reach {
		if err := w.giveUpAdoption(uint32(id)); err != nil {
			return err
		}
	}
	if w.starts != nil {
		last := w.shard.current.last().Number
		return damaged(w.shard.cfg.generationDir(last), fmt.Errorf("%w: it ends before what was copied from the one before it", errJoin))
	}
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
		if reach.part == nil || reach.stamp.less(at) {
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
	if p := w.reach[id].part; p != nil {
		p.drop()
	}
	w.reach[id] = reach{log: at, left: true}
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
	for id := range w.reach {
		if w.reach[id].part == nil {
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

// replayFrame applies the worker's events of a frame.
func (w *worker) replayFrame(f *portionFrame, bodies []byte, entries []portionEntry) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: it panicked with %v\n%s", errReplay, value, debug.Stack())
		}
	}()
	w.run.Now = f.Time
	w.time = max(w.time, f.Time)
	for len(entries) > 0 {
		n, err := w.queueEvents(bodies, entries)
		if err != nil {
			return err
		}
		if entries = entries[n:]; len(entries) > 0 {
			if err := w.takeControl(bodies[entries[0].at:]); err != nil {
				return err
			}
			entries = entries[1:]
		}
	}
	if err := w.replayQueued(); err != nil {
		return err
	}
	if f.Count > 0 {
		w.bytes += int64(f.bytes)
	}
	return nil
}

// takeControl takes a record that is no event.
func (w *worker) takeControl(body []byte) error {
	var rec record
	if _, err := takeRecord(body, &rec); err != nil {
		return err
	}
	switch rec.table {
	case timeMarkTable:
		err := w.replayQueued()
		w.run.Now = rec.time()
		w.time = max(w.time, w.run.Now) // a partition that was adopted brings its own
		return err
	case clockTable:
		return w.replayClock(&rec)
	case beginTable, partTable, commitTable:
		return w.adoptRecord(&rec)
	}
	return fmt.Errorf("%w: an event of table %d", errJoin, rec.table)
}

// queueEvents puts events into the run, but those that the snapshot holds, and applies
// what does not fit. It ends at a record that is no event, and says how many it took.
func (w *worker) queueEvents(bodies []byte, entries []portionEntry) (int, error) {
	r, routing, usual := &w.run, w.shard.cfg.Routing, w.shard.until == nil
	for i := range entries {
		e := &entries[i]
		if e.table >= controlTables {
			return i, nil
		}
		id := routing.Partition(e.hash)
		at := &w.reach[id]
		part, store := at.part, w.stores[e.table][id]
		if usual && part != nil && !at.left && at.adopting == nil {
			if at.log.sequence++; !at.stamp.less(at.log) && !mutant.AppliedTwice {
				w.found.Skipped++
				continue
			}
		} else {
			var err error
			if part, err = w.follow(id); err != nil {
				return i, err
			}
			if part == nil {
				w.found.Skipped++
				continue
			}
			store = part.Stores[e.table]
		}
		if err := w.unplayable[e.table]; err != nil {
			return i, err
		}
		op := &r.Ops[r.Filled]
		op.Hash, op.Record, op.keyEnd = e.hash, bodies[e.at:e.end:e.end], recordHeaderBytes+int32(e.keyBytes)
		op.Part, op.Store, op.Table, op.Stamp, op.Kind = part, store, e.table, e.stamp, e.stamp.kind()
		if r.Filled++; r.Filled == runOperations {
			if err := w.replayQueued(); err != nil {
				return i, err
			}
		}
	}
	return len(entries), nil
}

// replayClock takes note that the store was opened again.
func (w *worker) replayClock(rec *record) error {
	if err := w.replayQueued(); err != nil {
		return err
	}
	c, begun := rec.clock()
	w.run.Paused = c.Paused
	for _, table := range begun {
		for id := range w.reach {
			if p := w.reach[id].part; p != nil {
				p.beginTimes(table, c)
			}
		}
	}
	return nil
}

// follow finds the partition that an event belongs to, and counts it there: that of the
// adoption that has begun, or what the shard holds. There is none if the event need not be
// applied. The error says that it is of neither.
func (w *worker) follow(id uint32) (*Partition, error) {
	reach := &w.reach[id]
	part, at := reach.part, &reach.log
	switch {
	case reach.adopting != nil:
		part, at = reach.adopting.part, &reach.adopting.at
	case reach.left || part == nil && w.shard.until != nil: // adopted later than what is folded
		part = nil
	case part == nil:
		return nil, fmt.Errorf("%w: an event of partition %d, which is not of this shard", errJoin, id)
	}
	at.sequence++
	if reach.adopting == nil && !reach.stamp.less(*at) && !mutant.AppliedTwice || w.shard.beyond(id, *at) {
		part = nil
	}
	return part, nil
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
