package engine

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/keyfold/keyfold/internal/layout"
	"github.com/keyfold/keyfold/shard"
)

// An Inspector looks into a store that is not open, without the types of its tables: what
// is in a key, a state or an event is read by the layouts that the store holds. It changes
// nothing, and keeps engines out until it is closed. It belongs to one goroutine.
type Inspector struct{ visitor *visitor }

// Inspect begins to look into the store in dir. Its errors are those of Verify, and
// damage of the manifest is one.
func Inspect(dir string, options VerifyOptions) (*Inspector, error) {
	s, err := visit(dir, options.Environment)
	if err != nil {
		return nil, err
	}
	if err := s.read(); err != nil {
		return nil, errors.Join(err, s.leave())
	}
	if !s.manifest.Ready {
		return nil, errors.Join(fmt.Errorf("%w in %s: it was being created, and never used", ErrNoStore, s.dir), s.leave())
	}
	return &Inspector{s}, nil
}

// Close lets engines in again. Its error says that what was seen may be of no use: an
// engine has come although there was no lock.
func (i *Inspector) Close() error { return i.visitor.leave() }

// Tables are the names of the tables of the store. That of the engine itself,
// keyfold.positions, is not among them, but can be looked into like them.
func (i *Inspector) Tables() (names []string) {
	for _, t := range i.visitor.tables {
		if t.entry.Name != positionsName {
			names = append(names, t.entry.Name)
		}
	}
	return names
}

// A KeyView is a key with its state in the newest snapshot.
type KeyView struct {
	Table     string `json:"table"`     // its name
	Shard     int    `json:"shard"`     // that owns it
	Partition uint32 `json:"partition"` // that it belongs to
	// Key and State are JSON as the layouts of the table say. What a codec of the
	// program's has encoded is {"codec": its name, "hex": the bytes}.
	Key   json.RawMessage `json:"key"`
	State json.RawMessage `json:"state"`
	// Timer, Touched and Made are when its timer is due, when it had its last event, and when
	// it was made, as far as the table keeps that; else zero.
	Timer   time.Time `json:"timer,omitzero"`
	Touched time.Time `json:"touched,omitzero"`
	Made    time.Time `json:"made,omitzero"`
}

// Keys are what a look at a table has found.
type Keys struct {
	// Snapshot is how many keys the newest snapshots have, Events how many events the
	// logs have behind them, which only Open can apply.
	Snapshot, Events uint64
	// KeyEvents are those of the one key that was looked for.
	KeyEvents uint64
	// Found are the keys that were looked for, in the order of their partitions.
	Found []KeyView
}

// Keys looks for keys of a table: the one that wanted is, if that is not "", and at most
// limit of them, if that is not 0. A key is written as its JSON, or without the quotes if
// it is text, unless that is empty. All that is found is held in memory.
//
// The states are those of the newest snapshot of each partition. The events behind it
// are only counted. A store that is damaged is refused as by Open.
func (i *Inspector) Keys(ctx context.Context, table, wanted string, limit int) (*Keys, error) {
	s := i.visitor
	id, err := i.table(table)
	if err != nil {
		return nil, err
	}
	t := s.tables[id]
	t.view = &viewing{limit: limit}
	defer func() { t.view = nil }()
	if wanted != "" {
		t.view.wanted = keyIs(wanted)
	}
	owned := partitionsOf(s.manifest)
	states := make([]*shard.State, s.manifest.Shards)
	err = eachShard(len(states), func(n int) (err error) {
		if err = ctx.Err(); err == nil {
			states[n], err = shard.Recover(s.config(n), owned[n], nil)
		}
		return err
	})
	if err != nil {
		return nil, ofNewer(err)
	}
	if _, err := shard.Resolve(states, s.manifest.Partitions); err != nil {
		return nil, err
	}
	found := &Keys{}
	for n, state := range states {
		for _, p := range state.Partitions {
			st := p.Stores[id].(*opaqueStore)
			found.take(t, n, p.ID, st, limit)
		}
	}
	return found, nil
}

// table finds a table by its name.
func (i *Inspector) table(name string) (id int, err error) {
	for id, t := range i.visitor.tables {
		if t.entry.Name == name {
			return id, nil
		}
	}
	return 0, fmt.Errorf("keyfold: the store has no table %q; it has %s", name, strings.Join(i.Tables(), ", "))
}

func (k *Keys) take(t *opaqueTable, index int, partition uint32, st *opaqueStore, limit int) {
	k.Snapshot += uint64(st.keys)
	k.Events += st.events
	k.KeyEvents += st.later
	for _, one := range st.seen {
		if limit > 0 && len(k.Found) == limit {
			return
		}
		view := KeyView{
			Table: t.entry.Name, Shard: index, Partition: partition,
			Key: shown(one.under.key, one.under.schema.Key, one.key), State: shown(one.under.state, one.under.schema.State, one.state),
		}
		for column, to := range map[uint8]*time.Time{columnTimer: &view.Timer, columnTouched: &view.Touched, columnMade: &view.Made} {
			if at, known := one.times[column]; known {
				*to = time.Unix(0, at).UTC()
			}
		}
		k.Found = append(k.Found, view)
	}
}

// keyIs says which encoded keys are meant by text. It is safe for concurrent use.
func keyIs(text string) func(under *opaqueSchema, key []byte) bool {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		compact.Reset()
	}
	return func(under *opaqueSchema, key []byte) bool {
		if under.key == nil {
			return hex.EncodeToString(key) == text
		}
		shown, err := under.key.AppendJSON(nil, key)
		if err != nil {
			return false
		}
		bare := bytes.TrimSuffix(bytes.TrimPrefix(shown, []byte(`"`)), []byte(`"`))
		return string(bare) == text || string(key) == text && shown[0] == '"' || compact.Len() > 0 && bytes.Equal(shown, compact.Bytes())
	}
}

// shown makes JSON of a value.
func shown(shape *layout.Shape, name string, b []byte) json.RawMessage {
	if shape != nil {
		if text, err := shape.AppendJSON(nil, b); err == nil {
			return text
		}
	}
	text, _ := json.Marshal(struct { // of two strings: it cannot fail
		Codec string `json:"codec"`
		Hex   string `json:"hex"`
	}{strings.TrimPrefix(name, codecPrefix), hex.EncodeToString(b)})
	return text
}

// An EventView is a record of a log.
type EventView struct {
	Shard      int       `json:"shard"`           // whose log it is in
	Generation uint64    `json:"generation"`      // of the log
	Frame      uint64    `json:"frame"`           // of the generation
	Time       time.Time `json:"time"`            // as Apply sees it
	Kind       string    `json:"kind"`            // "event", or what happened to the partition
	Table      string    `json:"table,omitempty"` // its name
	Partition  uint32    `json:"partition"`       // that it belongs to
	Epoch      uint64    `json:"epoch,omitempty"` // how often the partition has moved
	Sequence   uint64    `json:"sequence"`        // of the event in its partition
	// Stamp is what the event bears besides its payload, "" if nothing, and Stamped those
	// bytes, hexadecimal.
	Stamp   string `json:"stamp,omitempty"`
	Stamped string `json:"stamped,omitempty"`
	// Key and Event are JSON as those of a KeyView.
	Key   json.RawMessage `json:"key,omitempty"`
	Event json.RawMessage `json:"event,omitempty"`
	Bytes int             `json:"bytes"` // of the event, encoded
}

// Log gives the events of the logs, shard by shard, each in the order of the log: those
// of one table and one key, if they are not "", with what is kept as history in front. What
// was snapshotted and is neither needed nor kept any more is not there. An error ends the
// log of its shard, but that history which is damaged is left out, and told at the end: what
// came before it is whole.
func (i *Inspector) Log(ctx context.Context, table, key string) iter.Seq2[EventView, error] {
	return func(yield func(EventView, error) bool) {
		id, wanted := -1, func(*opaqueSchema, []byte) bool { return true }
		if table != "" {
			found, err := i.table(table)
			if err != nil {
				yield(EventView{}, err)
				return
			}
			if id = found; key != "" {
				wanted = keyIs(key)
			}
		}
		for n := range i.visitor.manifest.Shards {
			err := shard.EachLogEntry(i.visitor.config(n), func(e *shard.LogEntry) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				under, err := i.schemaOf(e)
				if err != nil {
					return err
				}
				if id >= 0 && (e.Kind != shard.LogEvent || int(e.Table) != id || !wanted(under, e.Key)) {
					return nil
				}
				if !yield(i.event(n, e, under), nil) {
					return shard.ErrEnough
				}
				return nil
			})
			if errors.Is(err, shard.ErrEnough) || err != nil && !yield(EventView{Shard: n}, ofNewer(err)) {
				return
			}
		}
	}
}

// schemaOf is the schema that an event was written under, nil if it is none.
func (i *Inspector) schemaOf(e *shard.LogEntry) (*opaqueSchema, error) {
	if e.Kind != shard.LogEvent {
		return nil, nil
	}
	if int(e.Table) < len(i.visitor.tables) {
		if under := i.visitor.tables[e.Table].schema(e.Schema); under != nil {
			return under, nil
		}
	}
	return nil, fmt.Errorf("keyfold: an event of table %d under schema %d, which the store does not have", e.Table, e.Schema)
}

// event shows a record.
func (i *Inspector) event(index int, e *shard.LogEntry, under *opaqueSchema) EventView {
	v := EventView{
		Shard: index, Generation: e.Generation, Frame: e.Frame, Time: time.Unix(0, e.Time).UTC(), Kind: e.Kind.String(),
		Partition: e.Partition, Epoch: e.Epoch, Sequence: e.Sequence, Stamp: e.Stamp.String(), Stamped: hex.EncodeToString(e.Stamped), Bytes: len(e.Event),
	}
	if int(e.Table) < len(i.visitor.tables) && (e.Kind == shard.LogEvent || e.Kind == shard.LogPart) {
		v.Table = i.visitor.tables[e.Table].entry.Name
	}
	if e.Kind == shard.LogEvent {
		v.Key, v.Event = shown(under.key, under.schema.Key, e.Key), shown(under.event, under.schema.Event, e.Event)
		if e.Stamp == shard.StampTimer { // it has no payload of the program's
			v.Event = shown(nil, "timer", e.Event)
		}
	}
	return v
}
