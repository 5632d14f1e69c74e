package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// An era is the frames of a generation up to one, whose records were written under the
// same schema of each table. A generation has one era, unless it begins with frames that
// were copied from one that was written under others.
type era struct {
	last    uint64 // frame; eraOpen in the last era
	schemas schemas
}

// eraOpen is the last frame of an era that has no end.
const eraOpen = math.MaxUint64

// schemas are the numbers of the schemas of the tables, by id. Tables that are not in the
// list did not exist yet. There is none in what the first format wrote: then it is the
// first schema of each.
type schemas []uint32

// of is the number of the schema of a table.
func (s schemas) of(table uint16) uint32 {
	if int(table) < len(s) {
		return s[table]
	}
	return 0
}

// schemas are those that the shard writes under.
func (c *Config) schemas() schemas {
	s := make(schemas, len(c.Tables))
	for i, t := range c.Tables {
		s[i] = t.Schema()
	}
	return s
}

// eras are those of a generation without copied frames.
func (c *Config) eras() []era { return []era{{eraOpen, c.schemas()}} }

// appendTo appends a count and the numbers.
func (s schemas) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
	for _, number := range s {
		dst = binary.LittleEndian.AppendUint32(dst, number)
	}
	return dst
}

// takeSchemas takes what appendTo appended.
func takeSchemas(r *fsys.Fields) schemas {
	s := make(schemas, r.Count(4))
	for i := range s {
		s[i] = r.U32()
	}
	return s
}

// snapshotHeader is the header of a snapshot: its schemas.
func (c *Config) snapshotHeader() []byte { return c.schemas().appendTo(nil) }

// schemasOf reads the header of a snapshot.
func schemasOf(header []byte) (schemas, error) {
	if len(header) == 0 {
		return nil, nil
	}
	r := fsys.FieldsOf(header)
	s := takeSchemas(r)
	if !r.Whole() || len(s) > TablesMax {
		return nil, fmt.Errorf("%w: the header of the snapshot holds %d bytes that are no schemas", errJoin, len(header))
	}
	return s, nil
}

// appendEra adds the frames up to last, which were written under s, to eras.
func appendEra(eras []era, last uint64, s schemas) []era {
	if n := len(eras); n > 0 && slices.Equal(eras[n-1].schemas, s) {
		eras[n-1].last = last
		return eras
	}
	return append(eras, era{last, s})
}

// eraOf is the era of a frame.
func eraOf(eras []era, frame uint64) schemas {
	i := 0
	for i < len(eras)-1 && frame > eras[i].last {
		i++
	}
	return eras[i].schemas
}

// takeEras takes eras, which end with an open one.
func takeEras(r *fsys.Fields) ([]era, error) {
	eras := make([]era, r.Count(12))
	for i := range eras {
		eras[i] = era{r.U64(), takeSchemas(r)}
		first := i == 0 || eras[i].last > eras[i-1].last
		if !first || len(eras[i].schemas) > TablesMax || (eras[i].last == eraOpen) != (i == len(eras)-1) {
			return nil, fmt.Errorf("%w: the eras of the generation do not follow each other", errJoin)
		}
	}
	if len(eras) == 0 {
		return nil, fmt.Errorf("%w: the generation has no era", errJoin)
	}
	return eras, nil
}

// under makes the programs of the worker ready for what was written under schemas.
func (w *worker) under(s schemas) error {
	if s == nil {
		s = make(schemas, len(w.programs))
	}
	if len(s) > len(w.programs) {
		return fmt.Errorf("%w: it knows table %d, which the store does not have", errJoin, len(w.programs))
	}
	clear(w.unplayable)
	for table, number := range s {
		unplayable, err := w.programs[table].Under(number)
		if err != nil {
			return fmt.Errorf("%w: table %d: %w", errJoin, table, err)
		}
		w.unplayable[table] = unplayable
		w.found.Older = w.found.Older || number != w.shard.cfg.Tables[table].Schema()
	}
	return nil
}

// enter makes the programs ready for a frame of the generation that is read.
func (w *worker) enter(frame uint64) error {
	if len(w.eras) < 2 || frame <= w.eras[0].last {
		return nil
	}
	for len(w.eras) > 1 && frame > w.eras[0].last {
		w.eras = w.eras[1:]
	}
	return w.under(w.eras[0].schemas)
}

// OldestSchemas lowers the numbers in oldest, by table, to those of the oldest schemas that
// anything which the CURRENT file of a shard names was written under. It reads the headers of
// generations and snapshots, those of the log that is kept among them. An error says that
// some cannot be read; then the numbers say nothing.
func OldestSchemas(cfg Config, oldest []uint32) error {
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return err
	}
	for _, g := range append(slices.Clone(current.Kept), current.Generations...) {
		eras, err := cfg.erasOf(g.Number)
		if err != nil {
			return err
		}
		for _, e := range eras {
			e.schemas.lower(oldest)
		}
	}
	for _, number := range current.Snapshots {
		file, err := snapshot.Open(cfg.Log.FS, cfg.snapshotPath(number), cfg.snapshotID(number))
		if err != nil {
			return err
		}
		s, err := schemasOf(file.Header())
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		s.lower(oldest)
	}
	return nil
}

// erasOf reads those of a generation.
func (c *Config) erasOf(generation uint64) ([]era, error) {
	r := wal.NewReader(c.Log.FS, c.generationDir(generation), c.ID, generation)
	defer r.Close()
	f, ok, err := r.Next(0)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: generation %d has no header", errJoin, generation)
	}
	starts, err := decodeStarts(f.Start.Payload)
	if err != nil {
		return nil, err
	}
	return starts.eras, nil
}

// lower lowers numbers to those of s.
func (s schemas) lower(oldest []uint32) {
	for table := range oldest {
		switch {
		case s == nil:
			oldest[table] = 0
		case table < len(s):
			oldest[table] = min(oldest[table], s[table])
		}
	}
}
