package pair

import (
	"context"

	"github.com/keyfold/keyfold/engine"
)

// calls send a stream one event after the other, each when the one before was answered.
type calls[E any] struct {
	side *engineSide[E]
	all  stream[E]
	once bool
	next uint64 // for ids
}

func (f *calls[E]) pass(ctx context.Context) (err error) {
	table, ack := f.side.table, f.side.ack
	for i := range f.all.keys {
		if f.once {
			f.next++
			_, err = table.DoOnce(ctx, idOf(f.next), f.all.keys[i], f.all.events[i], ack)
		} else {
			_, err = table.Do(ctx, f.all.keys[i], f.all.events[i], ack)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *calls[E]) close(context.Context) error { return nil }

// idOf is the id of event n.
func idOf(n uint64) (id engine.EventID) {
	for i := range 8 {
		id[i] = byte(n >> (8 * i))
	}
	return id
}
