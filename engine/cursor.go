package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"
)

// A Cursor is how far a reader of changes has come, kept by the engine under a name. What
// is kept is durable, in snapshots and in backups, where it is never ahead of the changes
// that the backup has.
//
// A reader whose effects are in other tables of the engine does each of them once like this
// (examples/projection has all of it):
//
//	changes, err := orders.Changes(ctx, cursor.Position(), engine.ChangesOptions{})
//	if err != nil {
//		return err
//	}
//	defer changes.Close()
//	for change, err := range changes.All(ctx) {
//		if err != nil {
//			return err
//		}
//		if _, err := revenue.DoOnce(ctx, change.ID("revenue"), change.Event.Product, change.Event.Cents); err != nil {
//			return err
//		}
//		if err := cursor.Commit(ctx, changes.Position()); err != nil { // now and then will do
//			return err
//		}
//	}
//
// Nothing is atomic there but each event, and need not be: a crash between an effect and the
// commit has the change handed out again, and the table remembers the id of the effect. So
// commit only when all effects of what was read are acknowledged as Durable, and so often
// that Spec.Once still remembers what was done since the last commit.
//
// A Cursor must be used by one goroutine at a time, and a name by one Cursor.
type Cursor struct {
	engine *Engine
	name   string
	at     []uint64
}

const (
	// cursorKind is what cursors are among the facts that the engine keeps.
	cursorKind = "cursor"
	// cursorPiece is how many partitions are kept as one fact.
	cursorPiece = 64
)

// Cursor returns the cursor of a name of 1 to 255 bytes without a slash; one that was never
// committed is in front of the first event. Errors are those of Table.Get, and ErrPosition
// if what is kept cannot be read.
func (e *Engine) Cursor(ctx context.Context, name string) (*Cursor, error) {
	if name == "" || len(name) > nameBytesMax || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("keyfold: a cursor needs a name of 1 to %d bytes without a slash, not %q", nameBytesMax, name)
	}
	c := &Cursor{engine: e, name: name, at: make([]uint64, e.manifest.Partitions)}
	for from := 0; from < len(c.at); from += cursorPiece {
		value, found, err := e.position(ctx, cursorKind, c.piece(from))
		if err != nil {
			return nil, err
		}
		for rest, i := []byte(value), from; found && i < min(from+cursorPiece, len(c.at)); i++ {
			v, n := binary.Uvarint(rest)
			if n <= 0 {
				return nil, fmt.Errorf("keyfold: cursor %q: %w", name, ErrPosition)
			}
			c.at[i], rest = v, rest[n:]
		}
	}
	return c, nil
}

// piece is the name of what is kept of the partitions from one on.
func (c *Cursor) piece(from int) string { return fmt.Sprintf("%s/%05d", c.name, from) }

// Position is the one that was committed last.
func (c *Cursor) Position() Position { return c.engine.positionOf(c.at) }

// Commit keeps a position, and returns when that is durable. Of the partitions, 64 at a time
// are kept as one, and only what has changed is written. An error may leave some of them at
// the new position and others at the old one: each is one that was committed, and a reader
// that goes on from there gets some changes again and misses none.
//
// Errors are those of [Batch.Do], and ErrPosition.
func (c *Cursor) Commit(ctx context.Context, p Position) error {
	e := c.engine
	to, err := e.startAt(p)
	if err != nil {
		return err
	}
	ack := Durable
	if e.options.Sync == SyncNever {
		ack = Written
	}
	batch, pieces := e.Batch(), 0
	for from := 0; from < len(to); from += cursorPiece {
		end := min(from+cursorPiece, len(to))
		changed := false
		var value []byte
		for i := from; i < end; i++ {
			changed = changed || to[i] != c.at[i]
			value = binary.AppendUvarint(value, to[i])
		}
		if changed {
			e.positions.Put(batch, cursorKind+"/"+c.piece(from), string(value), nil)
			pieces++
		}
	}
	if pieces == 0 {
		return nil
	}
	if err := batch.Do(ctx, ack); err != nil {
		return err
	}
	c.at = to
	return nil
}

// ID is the id of what a reader of a name does because of the change, for DoOnce on tables
// of the same engine: the same whenever the change is handed out to it. Effects on several
// keys may have the same id. A table that several engines feed needs names that tell the
// engines apart.
func (c *Change[K, E]) ID(reader string) (id EventID) {
	binary.LittleEndian.PutUint64(id[:], xxh3.HashString(reader))
	binary.LittleEndian.PutUint64(id[8:], uint64(c.Partition)<<48|c.Sequence)
	return id
}
