package shard

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/wal"
)

const (
	// portionBytes is how much log is handed to the workers at once, and portionsMax how
	// often that is while they are at work on what they have: enough to keep all busy.
	portionBytes = 512 << 10
	portionsMax  = 4
)

// A portion is frames of one generation, in order, with the records that each worker is to
// take. A worker owns what is its own in entries, from when it is given the portion until
// done; the rest is only read.
type portion struct {
	generation uint64
	begins     bool // with the header of the generation
	first      bool // of the generations that are read
	frames     []portionFrame
	ends       []int            // of the entries of each frame, by worker
	bodies     []byte           // of the frames
	entries    [][]portionEntry // by worker
	working    atomic.Int32     // workers that are not done; the last one's store publishes all to the reading
	free       chan<- *portion  // where it goes then
}

// A portionFrame is a frame without its body.
type portionFrame struct {
	wal.FrameView
	horizon uint64 // the highest one up to this frame
	bytes   int    // of the body
}

// A portionEntry is a record: of a worker's own if it is an event, else of all of them.
type portionEntry struct {
	hash     uint64 // of the key
	at, end  uint32 // in bodies
	keyBytes uint16
	table    uint16
	stamp    Stamp
}

// done says that one more worker is done with the portion.
func (b *portion) done() {
	if b.free != nil && b.working.Add(-1) == 0 {
		b.free <- b
	}
}

// A reading reads the log once for all workers of a recovery, on the goroutine that
// recovers: it checks every byte, takes the records apart and hashes their keys. That
// costs a quarter of applying an event (BenchmarkRecovery), and what is handed over is 24
// bytes for each and a copy of the log. A single worker is called for each frame.
type reading struct {
	*recovery
	portion *portion
	free    chan *portion
	given   []chan *portion // by worker; none: there is only one
	stopped atomic.Bool     // the store of a worker that gave up tells the reading
	began   time.Time       // of the scan since the last portion was given
}

// errStopped says that a worker has given up, and has a better error.
var errStopped = errors.New("a worker has given up")

// replay reads the generations from the base on, in order, and applies the events
// that the snapshot does not hold.
func (r *recovery) replay() error {
	l := &reading{recovery: r, began: time.Now()}
	err := l.employ(l.generations)
	r.report.Times.Scan += time.Since(l.began)
	if err != nil {
		return err
	}
	for _, w := range r.workers {
		if err := w.finish(); err != nil {
			return err
		}
	}
	for _, w := range r.workers {
		if err := w.checkReach(); err != nil {
			return err
		}
	}
	return nil
}

// employ calls read while the workers take what it gives. The error of a worker comes
// first: it is of something that was read before.
func (l *reading) employ(read func() error) error {
	l.portion = &portion{entries: make([][]portionEntry, len(l.workers))}
	if len(l.workers) == 1 {
		return read()
	}
	l.free = make(chan *portion, portionsMax)
	l.portion.free = l.free
	for range portionsMax - 1 {
		l.free <- &portion{entries: make([][]portionEntry, len(l.workers)), free: l.free}
	}
	for range l.workers {
		l.given = append(l.given, make(chan *portion, portionsMax))
	}
	var group sync.WaitGroup
	errs := make([]error, len(l.workers))
	for i, w := range l.workers {
		group.Go(func() { l.work(w, l.given[i], &errs[i]) })
	}
	err := read()
	for _, given := range l.given {
		close(given)
	}
	group.Wait()
	return firstOf(append(errs, err))
}

// firstOf returns the first error.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// work has a worker take portions until there are no more. After an error it only lets
// them go by.
func (l *reading) work(w *worker, given <-chan *portion, result *error) {
	*result = fmt.Errorf("%w: it ended its goroutine", errReplay)
	defer func() {
		if value := recover(); value != nil {
			*result = &PanicError{Value: value, Stack: debug.Stack()}
		}
		if *result != nil {
			l.stopped.Store(true)
		}
		for b := range given {
			b.done()
		}
	}()
	for b := range given {
		if err := w.takePortion(b); err != nil {
			*result = err
			return
		}
	}
	*result = nil
}

// generations reads all generations that are needed.
func (l *reading) generations() error {
	l.portion.first = true
	for _, g := range l.current.Generations {
		if g.Number < l.base {
			continue
		}
		if err := l.generation(g); err != nil {
			return damaged(l.cfg.generationDir(g.Number), err)
		}
		l.portion.first = false
	}
	return nil
}

func (l *reading) generation(g Generation) error {
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	l.portion.generation, l.portion.begins = g.Number, true
	horizon := uint64(0)
	result, err := wal.Scan(l.cfg.Log.FS, l.cfg.generationDir(g.Number), l.cfg.ID, g.Number, options, func(f wal.FrameView) error {
		horizon = max(horizon, f.Horizon)
		return l.take(f, horizon)
	})
	if given := l.give(); given != nil { // of something that was read before
		return given
	}
	if err != nil {
		return err
	}
	if result.Void {
		return fmt.Errorf("%w: there is no header frame, although CURRENT names generation %d", errJoin, g.Number)
	}
	l.report.LogBytes += result.Bytes
	l.report.TornBytes += result.TornBytes
	l.sealed = g.Sealed
	return nil
}

// take takes the header of a generation, or one of its frames.
func (l *reading) take(f wal.FrameView, horizon uint64) error {
	if l.stopped.Load() {
		return errStopped
	}
	b, body := l.portion, f.Body
	f.Body = nil
	if f.Number > 0 {
		at := len(b.bodies)
		if l.given == nil {
			b.bodies = body // it is done with when the worker returns
		} else {
			b.bodies = append(b.bodies, body...)
		}
		if err := l.route(b, at, f.Count); err != nil {
			return err
		}
	}
	b.frames = append(b.frames, portionFrame{FrameView: f, horizon: horizon, bytes: len(body)})
	for _, entries := range b.entries {
		b.ends = append(b.ends, len(entries))
	}
	if l.given == nil || len(b.bodies) >= portionBytes {
		return l.give()
	}
	return nil
}

// route takes the records of the last frame of a portion apart, from at on in its bodies.
// Its header says how many there are.
func (l *reading) route(b *portion, at int, count uint32) error {
	routing, tables := &l.cfg.Routing, uint16(len(l.cfg.Tables))
	var rec record
	found := uint32(0)
	for rest := b.bodies[at:]; len(rest) > 0; {
		e := portionEntry{at: uint32(len(b.bodies) - len(rest))}
		var err error
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		if e.table = rec.table; e.table != timeMarkTable && e.table != clockTable {
			found++
		}
		if e.table >= controlTables {
			for i := range b.entries {
				b.entries[i] = append(b.entries[i], e)
			}
			continue
		}
		if e.table >= tables {
			return fmt.Errorf("%w: an event of table %d", errJoin, e.table)
		}
		e.end, e.keyBytes, e.stamp = e.at+uint32(len(rec.bytes)), uint16(rec.keyEnd-recordHeaderBytes), rec.stamp
		e.hash = routing.Hash(rec.key(), routing.Seed)
		mine := &b.entries[l.theirs[routing.Partition(e.hash)].index]
		*mine = append(*mine, e)
	}
	if found != count {
		return fmt.Errorf("%w: there are %d, and its header says %d", errRecord, found, count)
	}
	return nil
}

// give hands the portion to the workers, or has the only one take it, and begins another.
func (l *reading) give() error {
	b := l.portion
	if len(b.frames) == 0 {
		return nil
	}
	l.report.Times.Scan += time.Since(l.began)
	next := b
	var err error
	if l.given == nil {
		err = l.workers[0].takePortion(b)
	} else {
		b.working.Store(int32(len(l.given)))
		for _, given := range l.given {
			given <- b
		}
		next = <-l.free
	}
	next.reset(b.generation, b.first)
	l.portion, l.began = next, time.Now()
	return err
}

// reset makes the portion ready for further frames.
func (b *portion) reset(generation uint64, first bool) {
	b.generation, b.first, b.begins = generation, first, false
	b.frames, b.ends, b.bodies = b.frames[:0], b.ends[:0], b.bodies[:0]
	for i := range b.entries {
		b.entries[i] = b.entries[i][:0]
	}
}
