package engine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
)

// stateReader makes a reader for states of a schema. same says that there is nothing to
// do: bytes and meaning are those of the present.
func (d *declaration) stateReader(from, present *schema) (r former, same bool, err error) {
	rungs, _ := climb(d.upgrades, false, true, from.Version, present.Version)
	if len(rungs) == 0 && from.State == present.State {
		return r, true, nil
	}
	r, err = d.state.lift(rungs, from.State)
	return r, false, err
}

// eventReader makes a reader for events of a schema, as stateReader does.
func (d *declaration) eventReader(from, present *schema) (r former, same bool, err error) {
	rungs, err := climb(d.upgrades, true, false, from.Version, present.Version)
	if err != nil {
		return r, false, err
	}
	if len(rungs) == 0 && from.Event == present.Event {
		return r, true, nil
	}
	r, err = d.event.lift(rungs, from.Event)
	return r, false, err
}

// lifts says what of other schemas can be lifted to that of the table.
func (d *declaration) lifts(present *schema) lifts {
	return lifts{
		state: func(from *schema) (same bool, err error) {
			_, same, err = d.stateReader(from, present)
			return same, err
		},
		event: func(from *schema) (same bool, err error) {
			_, same, err = d.eventReader(from, present)
			return same, err
		},
	}
}

// A lifting is what a program does with states that were written under an older schema.
type lifting struct {
	former
	from *schema
	err  error // why there is no reader
}

// Under makes the program ready for what was written under a schema of the table.
func (p *program) Under(number uint32) (unplayable, err error) {
	b := p.binding
	p.lifting, p.events = nil, &b.event
	from, present := b.entry.of(number), b.entry.present()
	if from == nil {
		return nil, fmt.Errorf("table %q has no schema %d", b.table.name, number)
	}
	if from == present {
		return nil, nil
	}
	states, same, err := b.table.stateReader(from, present)
	if err != nil {
		err = b.entry.unliftable(from, present, err)
	}
	if !same {
		p.lifting = &lifting{states, from, err}
	}
	events, same, err := b.table.eventReader(from, present)
	if err != nil {
		return b.entry.unplayable(from, present, err), nil
	}
	if !same {
		p.events = &codec{decode: func(src []byte, e unsafe.Pointer) error {
			b.event.at(e).SetZero()
			return events.read(src, e)
		}}
	}
	return nil, nil
}

// lift adds the states of a block that was written under an older schema.
func (st *store) lift(form uint8, entries uint32, data []byte) (err error) {
	b, lifting := st.program.binding, st.program.lifting
	if lifting.err != nil {
		return lifting.err
	}
	defer func() {
		if panicked := (*PanicError)(nil); errors.As(err, &panicked) {
			err = fmt.Errorf("keyfold: table %q: its states of version %d: %w", b.table.name, lifting.from.Version, err)
		}
	}()
	defer caught(&err)
	b.lifted.Add(int64(entries))
	if form == formEntries {
		return st.loadEntries(entries, data)
	}
	if form != formRecords || lifting.bytes < 0 {
		return fmt.Errorf("%w: its form is %d", errEntry, form)
	}
	all, err := slab.ForeignRecords(int(entries), data, lifting.bytes)
	if err != nil {
		return err
	}
	return st.loadEach(all)
}
