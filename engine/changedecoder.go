package engine

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A changeDecoder decodes changes of one table, and lifts those that were written under an
// older schema as a recovery would. It belongs to one goroutine.
type changeDecoder[K comparable, S, E, R any] struct {
	table   *Table[K, S, E, R]
	stored  tableEntry // as the store has it
	program tableEntry // as it is declared
	key     codec
	event   codec

	under  uint32 // number of the schema that is ready
	ready  bool
	read   func(src []byte, e unsafe.Pointer) error // events of that schema
	others map[uint32]func(src []byte, e unsafe.Pointer) error
	change Change[K, E] // here so that it does not escape
}

// changeDecoder makes a decoder for changes of a table of a store, which has these tables.
func (t *Table[K, S, E, R]) changeDecoder(stored tableEntry) (*changeDecoder[K, S, E, R], error) {
	program, _, err := t.describe()
	if err != nil {
		return nil, err
	}
	d := &changeDecoder[K, S, E, R]{table: t, stored: stored, program: program, others: make(map[uint32]func([]byte, unsafe.Pointer) error)}
	d.key, _ = t.key.keyCodec()
	d.event, _ = t.event.valueCodec("EventCodec")
	return d, nil
}

// decode decodes n into change.
func (d *changeDecoder[K, S, E, R]) decode(n *shard.Change) error {
	if !d.ready || n.Schema != d.under {
		if err := d.enter(n); err != nil {
			return err
		}
	}
	d.change = Change[K, E]{Partition: int(n.Partition), Sequence: n.Sequence, Time: time.Unix(0, n.Time).UTC(), Timer: n.Stamp == shard.StampTimer}
	if err := d.key.decodeValue(n.Key, unsafe.Pointer(&d.change.Key)); err != nil {
		return fmt.Errorf("keyfold: table %q: key: %w", d.table.Name(), err)
	}
	if d.change.Timer {
		return nil
	}
	if err := d.read(n.Event, unsafe.Pointer(&d.change.Event)); err != nil {
		return fmt.Errorf("keyfold: table %q: event: %w", d.table.Name(), err)
	}
	return nil
}

// enter makes the decoder ready for changes of the schema of n.
func (d *changeDecoder[K, S, E, R]) enter(n *shard.Change) (err error) {
	read := d.others[n.Schema]
	if read == nil {
		if read, err = d.reader(n); err != nil {
			return err
		}
		d.others[n.Schema] = read
	}
	d.under, d.ready, d.read = n.Schema, true, read
	return nil
}

// reader makes a reader for events of the schema of n.
func (d *changeDecoder[K, S, E, R]) reader(n *shard.Change) (func(src []byte, e unsafe.Pointer) error, error) {
	from, present := d.stored.of(n.Schema), d.program.present()
	switch {
	case from == nil:
		return nil, fmt.Errorf("keyfold: table %q has no schema %d, of event %d of partition %d", d.table.Name(), n.Schema, n.Sequence, n.Partition)
	case from.Key != present.Key:
		return nil, d.program.refusal(from.Key, present.Key, "its key is %s in the store, and %s in the program", from.Key, present.Key)
	case from.Version > present.Version:
		return nil, d.program.refusal(fmt.Sprint("version ", from.Version), fmt.Sprint("version ", present.Version),
			"event %d of partition %d was written by version %d, the program has version %d, which is older", n.Sequence, n.Partition, from.Version, present.Version)
	}
	events, same, err := d.table.eventReader(from, present)
	if err != nil {
		return nil, d.unreadable(n, from, present, err)
	}
	if same {
		return d.event.decodeValue, nil
	}
	return func(src []byte, e unsafe.Pointer) (err error) {
		defer caught(&err)
		return events.read(src, e)
	}, nil
}

// unreadable refuses to hand out an event of an older version, or with another type.
func (d *changeDecoder[K, S, E, R]) unreadable(n *shard.Change, from, present *schema, err error) error {
	if from.Version == present.Version {
		return d.program.changed("event", from.Event, present.Event, from.Version, "UpgradeEvent")
	}
	return d.program.refusal(fmt.Sprint("events of version ", from.Version), fmt.Sprint("version ", present.Version),
		"event %d of partition %d was written by version %d, and the program does not say what version %d makes of it (%v). Give Spec.Upgrades an UpgradeEvent(%d, %d, ...), or SameEvents(%d, %d) if it means the same",
		n.Sequence, n.Partition, from.Version, present.Version, err, from.Version, from.Version+1, from.Version, from.Version+1)
}
