package engine

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A changeDecoder decodes changes of one table, and lifts those that were written under an
// older schema as a recovery would. It belongs to one goroutine.
type changeDecoder struct {
	table   *declaration
	stored  tableEntry // as the store has it
	program tableEntry // as it is declared
	key     codec
	event   codec

	under  uint32 // number of the schema that is ready
	ready  bool
	read   func(src []byte, e unsafe.Pointer) error // events of that schema
	others map[uint32]func(src []byte, e unsafe.Pointer) error
}

// changeDecoder makes a decoder for changes of a table of a store, which has these tables.
func (t *declaration) changeDecoder(stored tableEntry) (*changeDecoder, error) {
	program, _, err := t.describe()
	if err != nil {
		return nil, err
	}
	d := &changeDecoder{table: t, stored: stored, program: program, others: make(map[uint32]func([]byte, unsafe.Pointer) error)}
	d.key, _ = t.key.keyCodec()
	d.event, _ = t.event.valueCodec("EventCodec")
	return d, nil
}

// decode decodes the key and the event of n, which are zero before. A firing has no event.
func (d *changeDecoder) decode(n *shard.Change, key, event unsafe.Pointer) error {
	if !d.ready || n.Schema != d.under {
		if err := d.enter(n); err != nil {
			return err
		}
	}
	if err := d.key.decodeValue(n.Key, key); err != nil {
		return fmt.Errorf("keyfold: table %q: key: %w", d.table.name, err)
	}
	if n.Stamp == shard.StampTimer {
		return nil
	}
	if err := d.read(n.Event, event); err != nil {
		return fmt.Errorf("keyfold: table %q: event: %w", d.table.name, err)
	}
	return nil
}

// changeOf is a change of which key and event were decoded.
func changeOf[K comparable, E any](n *shard.Change, key K, event E) Change[K, E] {
	return Change[K, E]{
		Key: key, Event: event, Timer: n.Stamp == shard.StampTimer,
		Partition: int(n.Partition), Sequence: n.Sequence, Time: time.Unix(0, n.Time).UTC(),
	}
}

// enter makes the decoder ready for changes of the schema of n.
func (d *changeDecoder) enter(n *shard.Change) (err error) {
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
func (d *changeDecoder) reader(n *shard.Change) (func(src []byte, e unsafe.Pointer) error, error) {
	from, present := d.stored.of(n.Schema), d.program.present()
	switch {
	case from == nil:
		return nil, fmt.Errorf("keyfold: table %q has no schema %d, of event %d of partition %d", d.table.name, n.Schema, n.Sequence, n.Partition)
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
func (d *changeDecoder) unreadable(n *shard.Change, from, present *schema, err error) error {
	if from.Version == present.Version {
		return d.program.changed("event", from.Event, present.Event, from.Version, "UpgradeEvent")
	}
	return d.program.refusal(fmt.Sprint("events of version ", from.Version), fmt.Sprint("version ", present.Version),
		"event %d of partition %d was written by version %d, and the program does not say what version %d makes of it (%v). Give Spec.Upgrades an UpgradeEvent(%d, %d, ...), or SameEvents(%d, %d) if it means the same",
		n.Sequence, n.Partition, from.Version, present.Version, err, from.Version, from.Version+1, from.Version, from.Version+1)
}
