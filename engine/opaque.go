package engine

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/keyfold/keyfold/internal/layout"
	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// An opaqueTable stands for a table of a store when the program that has its types is
// not there. It goes through a recovery like any other: it takes the same blocks and
// events, and refuses those that the layouts in the manifest do not fit. It folds
// nothing, so what it has of a key is its state in the newest snapshot.
type opaqueTable struct {
	entry   tableEntry
	schemas []opaqueSchema // as those of entry
	view    *viewing       // what is kept of it; nil: it is counted only
}

// An opaqueSchema is what can be read by the description of a schema alone.
type opaqueSchema struct {
	schema            *schema
	key, state, event *layout.Shape // nil: a codec of the program's
}

// opaque makes the tables of a manifest.
func (m *manifest) opaque() ([]*opaqueTable, error) {
	var tables []*opaqueTable
	for _, entry := range m.Tables {
		t := &opaqueTable{entry: entry}
		for i := range entry.Schemas {
			s, err := entry.Schemas[i].opaque()
			if err != nil {
				return nil, fmt.Errorf("keyfold: table %q: %w", entry.Name, err)
			}
			t.schemas = append(t.schemas, s)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

func (s *schema) opaque() (o opaqueSchema, err error) {
	o.schema = s
	for _, part := range []struct {
		text string
		to   **layout.Shape
	}{{s.Key, &o.key}, {s.State, &o.state}, {s.Event, &o.event}} {
		if strings.HasPrefix(part.text, codecPrefix) {
			continue
		}
		if *part.to, err = layout.ParseShape(part.text); err != nil {
			return o, err
		}
	}
	return o, nil
}

// schema is the schema of a number, nil if there is none.
func (t *opaqueTable) schema(number uint32) *opaqueSchema {
	if at := number - t.entry.First; at < uint32(len(t.schemas)) {
		return &t.schemas[at]
	}
	return nil
}

// Schema is the number of the newest schema.
func (t *opaqueTable) Schema() uint32 { return t.entry.number() }

// fits says whether b can be a value of shape.
func fits(shape *layout.Shape, b []byte) error {
	if shape == nil {
		return nil
	}
	return shape.Check(b)
}

// Bind makes the part of the table that one worker of a recovery uses.
func (t *opaqueTable) Bind() shard.Program {
	return &opaqueProgram{table: t, under: t.schema(t.Schema())}
}

// An opaqueProgram is an opaque table bound to a worker.
type opaqueProgram struct {
	table *opaqueTable
	under *opaqueSchema // that what is read was written under
}

// Under makes the program ready for what was written under a schema of the table.
func (p *opaqueProgram) Under(number uint32) (unplayable, err error) {
	under := p.table.schema(number)
	if under == nil {
		return nil, fmt.Errorf("table %q has no schema %d", p.table.entry.Name, number)
	}
	p.under = under
	return nil, nil
}

// NewStore makes the empty state of one partition.
func (p *opaqueProgram) NewStore() shard.Store { return &opaqueStore{program: p} }

// Touch does nothing: there is no index.
func (p *opaqueProgram) Touch([]shard.Operation) {}

// TouchEntries does nothing.
func (p *opaqueProgram) TouchEntries([]shard.Operation) {}

// Undo does nothing: Apply changes no state.
func (p *opaqueProgram) Undo() {}

// Apply counts events.
func (p *opaqueProgram) Apply(r *shard.Run, to int) {
	for ; r.Next < to; r.Next++ {
		op := &r.Ops[r.Next]
		if err := fits(p.under.event, op.Event()); err != nil && op.Stamp != shard.StampTimer {
			op.Err = fmt.Errorf("keyfold: table %q: event: %w", p.table.entry.Name, err)
			continue
		}
		op.Part.Sequence++
		st := op.Store.(*opaqueStore)
		st.events++
		if v := p.table.view; v != nil {
			st.later = v.event(st.later, p.under, op.Key())
		}
	}
}

// An opaqueStore is what a partition has of an opaque table.
type opaqueStore struct {
	program *opaqueProgram
	keys    int    // in the image
	beside  beside // what the image has besides
	events  uint64 // behind the image
	seen    []sight
	later   uint64 // events behind the image of the key that is looked for
}

// beside counts what a table keeps beside keys and states.
type beside struct{ timed, ids, origins uint64 }

// Freeze is never called: nothing is written.
func (st *opaqueStore) Freeze(shard.Image) shard.Image { panic("keyfold: an opaque table was frozen") }

// Rebind moves the store to another worker.
func (st *opaqueStore) Rebind(to shard.Program) { st.program = to.(*opaqueProgram) }

// Empty says whether the image has no keys.
func (st *opaqueStore) Empty() bool { return st.keys == 0 }

// Len is the number of keys in the image.
func (st *opaqueStore) Len() int { return st.keys }

// Bytes is not known.
func (st *opaqueStore) Bytes() int { return 0 }

// Load takes a block as the table's own store would.
func (st *opaqueStore) Load(form uint8, entries uint32, data []byte) error {
	p := st.program
	switch form {
	case formIDs:
		st.beside.ids += uint64(entries)
		return nil
	case formOrigins:
		st.beside.origins += uint64(entries)
		return nil
	case formTimes:
		return st.loadTimes(entries, data)
	}
	return p.under.each(form, entries, data, func(key, state []byte) error {
		if err := fits(p.under.state, state); err != nil {
			return fmt.Errorf("keyfold: table %q: state: %w", p.table.entry.Name, err)
		}
		st.keys++
		if v := p.table.view; v != nil {
			st.seen = v.entry(st.seen, sight{under: p.under, place: st.keys - 1, key: key, state: state})
		}
		return nil
	})
}

// loadTimes counts the keys of a block of times, and gives those that are kept theirs.
func (st *opaqueStore) loadTimes(rows uint32, block []byte) error {
	of, err := takeTimes(rows, block, st.keys)
	if err != nil {
		return err
	}
	st.beside.timed += uint64(rows)
	for i := range st.seen {
		if row := st.seen[i].place - int(of.first); row >= 0 && row < int(rows) {
			st.seen[i].times = of.row(row)
		}
	}
	return nil
}

// each gives the entries of a block, borrowed.
func (s *opaqueSchema) each(form uint8, entries uint32, data []byte, yield func(key, state []byte) error) error {
	switch {
	case entries == 0 && len(data) == 0:
		return nil
	case form == formEntries:
		return eachEntry(entries, data, yield)
	case form == formRecords && s.state != nil:
		size, fixed := s.state.Size()
		if !fixed {
			break
		}
		all, err := slab.ForeignRecords(int(entries), data, size)
		if err != nil {
			return err
		}
		for key, state := range all {
			if err := yield(key, state); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: its form is %d", errEntry, form)
}

// eachEntry gives encoded entries.
func eachEntry(entries uint32, data []byte, yield func(key, state []byte) error) error {
	for range entries {
		key, state, rest, err := takeEntry(data)
		if err == nil {
			err = yield(key, state)
		}
		if err != nil {
			return err
		}
		data = rest
	}
	if len(data) != 0 {
		return errEntry
	}
	return nil
}

// A viewing says which entries of a table are kept for whoever looks at them.
type viewing struct {
	wanted func(under *opaqueSchema, key []byte) bool // nil: every key
	limit  int                                        // entries of each partition; 0: all
}

// A sight is an entry that was kept.
type sight struct {
	under      *opaqueSchema
	place      int // in the image
	key, state []byte
	times      map[uint8]int64 // by column; nil: none
}

// entry keeps an entry if it is wanted and there is room.
func (v *viewing) entry(seen []sight, one sight) []sight {
	if v.limit > 0 && len(seen) >= v.limit || v.wanted != nil && !v.wanted(one.under, one.key) {
		return seen
	}
	return append(seen, sight{under: one.under, place: one.place, key: bytes.Clone(one.key), state: bytes.Clone(one.state)})
}

// event counts an event of a key that is looked for.
func (v *viewing) event(n uint64, under *opaqueSchema, key []byte) uint64 {
	if v.wanted != nil && v.wanted(under, key) {
		n++
	}
	return n
}
