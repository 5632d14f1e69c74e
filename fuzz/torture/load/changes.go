package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/engine"
)

// readChanges follows the changes of a table until ctx ends: each is the event that was sent
// with its sequence, in its order, and is marked as read, so that no crash may take it back.
func (c *child) readChanges(ctx context.Context, found *Found) error {
	if c.orders.Life.Tables == OnlyNotes {
		return follow(ctx, c, found, c.notes)
	}
	return follow(ctx, c, found, c.tallies)
}

// follow begins with the states, again when it has fallen behind what is kept.
func follow[S any](ctx context.Context, c *child, found *Found, table *engine.Table[string, S, Step, Tally]) error {
	for ctx.Err() == nil {
		from, err := table.States(ctx, func(string, S) error { return nil })
		if err == nil {
			err = followFrom(ctx, c, found, table, from)
		}
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, engine.ErrTrimmed):
		case c.excused(err):
			return nil
		default:
			return fmt.Errorf("load: changes: %w", err)
		}
	}
	return nil
}

func followFrom[S any](ctx context.Context, c *child, found *Found, table *engine.Table[string, S, Step, Tally], from engine.Position) error {
	changes, err := table.Changes(ctx, from, engine.ChangesOptions{})
	if err != nil {
		return err
	}
	defer changes.Close()
	var last [Partitions]uint64
	for p := range last {
		last[p] = from.Sequence(p)
	}
	for change, err := range changes.All(ctx) {
		if err != nil {
			return err
		}
		p, sequence := change.Partition, change.Sequence
		if sequence <= last[p] {
			return fmt.Errorf("change %d of partition %d comes behind %d", sequence, p, last[p])
		}
		last[p] = sequence
		if sequence > found.Partitions[p].Events {
			n, s := c.orders.Life.Planned(p, sequence-1)
			if n.Key != change.Key || s != change.Event {
				return fmt.Errorf("change %d of partition %d is event %d of %q, and %d of %q was sent", sequence, p, change.Event.Number, change.Key, s.Number, n.Key)
			}
		}
		c.board.Partitions[p].Read.Store(sequence)
	}
	return nil
}
