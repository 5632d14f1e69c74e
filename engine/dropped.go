package engine

import (
	"fmt"

	"github.com/keyfold/keyfold/shard"
)

// Dropped lets a table go that the store has and the program does not: Open forgets its
// states and skips its events. That cannot be taken back, and no table of the store may
// have its name again. A store without such a table is opened as it is, so that a program
// may go on saying so; once a store was opened with it, it need not.
func Dropped(name string) Definition { return dropped{name} }

type dropped struct{ name string }

// Name is the name of the table.
func (d dropped) Name() string { return d.name }

func (d dropped) describe() (tableEntry, lifts, error) {
	if d.name == "" || len(d.name) > nameBytesMax {
		return tableEntry{}, lifts{}, fmt.Errorf("keyfold: a table needs a name of 1 to %d bytes, not %q", nameBytesMax, d.name)
	}
	return tableEntry{Name: d.name, Dropped: true}, lifts{}, nil
}

func (d dropped) attach(e *Engine, id uint16) (attachment, error) {
	return &droppedBinding{e.manifest.Tables[id].number()}, nil
}

func (d dropped) detach() {}

// A droppedBinding stands for a table that was dropped, whose id is not used again.
type droppedBinding struct{ number uint32 }

func (b *droppedBinding) Bind() shard.Program                { return b }
func (b *droppedBinding) Schema() uint32                     { return b.number }
func (b *droppedBinding) Under(uint32) (unplayable, _ error) { return nil, nil }
func (b *droppedBinding) NewStore() shard.Store              { return b }
func (b *droppedBinding) Touch([]shard.Operation)            {}
func (b *droppedBinding) TouchEntries([]shard.Operation)     {}
func (b *droppedBinding) Undo()                              {}
func (b *droppedBinding) ready()                             {}
func (b *droppedBinding) show([]byte, bool) string           { return "" }
func (b *droppedBinding) Timed() bool                        { return false }
func (b *droppedBinding) stops() bool                        { return false }
func (b *droppedBinding) Empty() bool                        { return true }
func (b *droppedBinding) liftedStates() int                  { return 0 }

// Apply counts events that a log still holds.
func (b *droppedBinding) Apply(r *shard.Run, to int) {
	for ; r.Next < to; r.Next++ {
		r.Ops[r.Next].Part.Sequence++
	}
}

func (b *droppedBinding) Freeze(shard.Image) shard.Image                      { return b }
func (b *droppedBinding) Load(uint8, uint32, []byte) error                    { return nil }
func (b *droppedBinding) Rebind(shard.Program)                                {}
func (b *droppedBinding) Len() int                                            { return 0 }
func (b *droppedBinding) Bytes() int                                          { return 0 }
func (b *droppedBinding) Blocks(int, func(uint8, uint32, []byte) error) error { return nil }
