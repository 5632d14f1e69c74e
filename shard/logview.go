package shard

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/wal"
)

// A LogKind says what a record of a log is.
type LogKind uint8

// The kinds.
const (
	LogEvent  LogKind = iota // of a key
	LogBegin                 // a partition begins to come from another shard
	LogPart                  // a piece of its image
	LogCommit                // it is this shard's from here on
)

var logKindNames = [...]string{"event", "adoption begins", "adoption, a part of the image", "adoption is committed"}

// String is the kind in words.
func (k LogKind) String() string { return logKindNames[k] }

var stampNames = [...]string{"", "id", "origin", "timer"}

// String is the stamp in a word, "" for none.
func (s Stamp) String() string { return stampNames[s] }

// A LogEntry is a record of a shard's log for who looks at it. Slices are borrowed.
type LogEntry struct {
	Generation, Frame uint64
	Time              int64 // nanoseconds of Unix time
	Kind              LogKind
	Table             uint16
	Schema            uint32 // of the table, that the event was written under
	Stamp             Stamp
	Stamped           []byte // what the stamp says
	Partition         uint32
	Epoch, Sequence   uint64 // of the partition, behind this record
	Key, Event        []byte // encoded; Event is also the piece of an image
}

// A logReader reads the log of a shard record by record.
type logReader struct {
	cfg       *Config
	eras      []era // of the generation
	held      map[uint32]holding
	adoptions map[uint32]holding
	entry     LogEntry
	yield     func(*LogEntry) error
}

// EachLogEntry gives the records of the log that CURRENT names, in order, from the first
// generation that is there: those that are kept as history come before those that a recovery
// may need. It changes nothing. When it fails, what it gave before is what is whole; history
// that is damaged is left out, and its error returned at the end.
func EachLogEntry(cfg Config, yield func(*LogEntry) error) error {
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return err
	}
	stopped := false
	r := logReader{cfg: &cfg, adoptions: make(map[uint32]holding), yield: func(e *LogEntry) error {
		err := yield(e)
		stopped = err != nil
		return err
	}}
	history := r.generations(current.Kept)
	if history != nil && !stopped {
		r.held = nil // what comes begins anew
		clear(r.adoptions)
	}
	if stopped {
		return history
	}
	if err := r.generations(current.Generations); err != nil {
		return err
	}
	return history
}

func (r *logReader) generations(all []Generation) error {
	for _, g := range all {
		if err := r.generation(g); err != nil {
			return damaged(r.cfg.generationDir(g.Number), err)
		}
	}
	return nil
}

func (r *logReader) generation(g Generation) error {
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	_, err := wal.Scan(r.cfg.Log.FS, r.cfg.generationDir(g.Number), r.cfg.ID, g.Number, options, func(f wal.FrameView) error {
		if f.Number > 0 {
			return r.frame(g.Number, f)
		}
		starts, err := decodeStarts(f.Start.Payload)
		if err != nil {
			return err
		}
		if r.eras = starts.eras; r.held == nil { // else it goes on from the one before
			r.held = starts.held
		}
		return nil
	})
	return err
}

func (r *logReader) frame(generation uint64, f wal.FrameView) (err error) {
	e := &r.entry
	*e = LogEntry{Generation: generation, Frame: f.Number, Time: f.Time}
	written := eraOf(r.eras, f.Number)
	var rec record
	for rest := f.Body; len(rest) > 0; {
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		switch rec.table {
		case timeMarkTable:
			e.Time = rec.time()
			continue
		case clockTable:
			continue
		case beginTable, partTable, commitTable:
			err = r.adoption(&rec)
		default:
			if rec.table >= controlTables {
				continue
			}
			r.event(&rec, written)
		}
		if err == nil {
			err = r.yield(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// event counts an event in its partition, or in the adoption that has begun.
func (r *logReader) event(rec *record, written schemas) {
	e, routing := &r.entry, &r.cfg.Routing
	e.Kind, e.Table, e.Stamp, e.Key = LogEvent, rec.table, rec.stamp, rec.key()
	e.Stamped, e.Event = rec.event()[:rec.stamp.bytes()], rec.event()[rec.stamp.bytes():]
	if e.Schema = 0; int(rec.table) < len(written) {
		e.Schema = written[rec.table]
	}
	e.Partition = routing.Partition(routing.Hash(rec.key(), routing.Seed))
	of := r.held
	if _, begun := r.adoptions[e.Partition]; begun {
		of = r.adoptions
	}
	h := of[e.Partition]
	h.sequence++
	of[e.Partition] = h
	e.Epoch, e.Sequence = h.epoch, h.sequence
}

func (r *logReader) adoption(rec *record) error {
	f := fsys.FieldsOf(rec.event())
	e := &r.entry
	*e = LogEntry{Generation: e.Generation, Frame: e.Frame, Time: e.Time, Partition: f.U32()}
	if rec.table == partTable {
		e.Kind, e.Table = LogPart, uint16(f.U32())
		if f.Short() || len(rec.event()) < partHeaderBytes {
			return errAdoption
		}
		e.Event = rec.event()[partHeaderBytes:]
		return nil
	}
	h := holding{epoch: f.U64(), sequence: f.U64()}
	if !f.Whole() {
		return fmt.Errorf("%w: of partition %d", errAdoption, e.Partition)
	}
	e.Epoch, e.Sequence = h.epoch, h.sequence
	if e.Kind = LogBegin; rec.table == commitTable {
		e.Kind = LogCommit
		delete(r.adoptions, e.Partition)
		r.held[e.Partition] = h
		return nil
	}
	r.adoptions[e.Partition] = h
	return nil
}

// ErrEnough may be returned by a function that is given records, to get no more.
var ErrEnough = errors.New("shard: enough was seen")
