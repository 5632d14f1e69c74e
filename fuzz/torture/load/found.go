package load

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A Holding is what a store holds of one partition.
type Holding struct {
	Events uint64 // accepted since the store was made
	States map[Name]Note
}

// Found is what a child found when it had opened a store.
type Found struct {
	Partitions [Partitions]Holding
	Keys       int // as Recovery says
	Replayed   uint64
	TornBytes  int64
	Before     int // shards of the layout that was read, if their number has changed
	Warnings   []string
}

// look reads all that a store holds.
func (c *child) look(ctx context.Context) (*Found, error) {
	r := c.engine.Recovery()
	f := &Found{Keys: r.Keys, Replayed: r.Events, TornBytes: r.TornBytes, Before: r.ShardsBefore, Warnings: r.Warnings}
	stats, err := c.engine.Stats(ctx)
	if err != nil {
		return nil, err
	}
	for i := range f.Partitions {
		f.Partitions[i] = Holding{Events: stats.Partitions[i].Events, States: map[Name]Note{}}
	}
	for e, err := range c.tallies.All(ctx) {
		if err = errors.Join(err, f.put(Name{false, e.Key}, Note{Tally: e.State})); err != nil {
			return nil, err
		}
	}
	for e, err := range c.notes.All(ctx) {
		if err = errors.Join(err, f.put(Name{true, e.Key}, e.State)); err != nil {
			return nil, err
		}
	}
	for e, err := range c.alarms.All(ctx) {
		if err = errors.Join(err, f.put(Name{false, e.Key}, Note{Tally: e.State.Tally})); err != nil {
			return nil, err
		}
	}
	if c.orders.Life.Tables == OnlyAlarms {
		f.countEvents()
	}
	return f, nil
}

// countEvents takes the events from the states, where firings count among the others.
func (f *Found) countEvents() {
	for i := range f.Partitions {
		h := &f.Partitions[i]
		h.Events = 0
		for _, s := range h.States {
			h.Events += s.Tally.Events
		}
	}
}

func (f *Found) put(n Name, s Note) error {
	into := f.Partitions[PartitionOf(n.Key)].States
	if _, twice := into[n]; twice {
		return fmt.Errorf("load: key %v is shown twice", n)
	}
	into[n] = s
	return nil
}

// A Guest is a store that is open in this process, instead of in a child.
type Guest struct{ c *child }

// Open opens a store in this process, on a disk that is not the operating system's, or on
// that if on is nil. It reads what the store holds.
func Open(ctx context.Context, o Orders, on fsys.FS) (*Guest, *Found, error) {
	c, err := open(ctx, &o, on)
	if err != nil {
		return nil, nil, err
	}
	c.board = &Board{}
	f, err := c.look(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, c.engine.Close())
	}
	return &Guest{c}, f, nil
}

// Send sends what the orders say, each event durably, behind what was found.
func (g *Guest) Send(ctx context.Context, found *Found) error { return g.c.senders(ctx, found) }

// Marks are how far the partitions are.
func (g *Guest) Marks() *Board { return g.c.board }

// Close closes the store.
func (g *Guest) Close() error { return g.c.engine.Close() }

// write leaves f in a file.
func (f *Found) write(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("load: found: %w", err)
	}
	return errors.Join(gob.NewEncoder(file).Encode(f), file.Close())
}

// ReadFound reads what a child has left, once it is Ready.
func ReadFound(name string) (*Found, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("load: found: %w", err)
	}
	defer file.Close()
	f := &Found{}
	if err := gob.NewDecoder(file).Decode(f); err != nil {
		return nil, fmt.Errorf("load: found: %w", err)
	}
	return f, nil
}
