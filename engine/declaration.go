package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/keyfold/keyfold/shard"
)

// A declaration is a Table without its types: what its Spec says beside the functions, and
// the engine that has it. Whatever need not call these functions works on it, so that it is
// compiled once, and not for each table.
type declaration struct {
	name                      string
	hidden                    bool // it is the engine's own
	version                   uint32
	upgrades                  []Upgrade
	key, state, event, result element
	applies, timed, expires   bool // the Spec has Apply, OnTimer, OnExpire
	ttl                       TTL
	once                      Once
	program                   func(b *binding) shard.Program // that runs the functions on a shard

	// open is what the table is while its engine is open; ready publishes it to the calls.
	open  atomic.Pointer[binding]
	taken atomic.Bool // attach's swap keeps other engines out
}

// nameBytesMax is the length of the longest table name.
const nameBytesMax = 255

// describe checks the declaration and says what the manifest holds of it.
func (d *declaration) describe() (tableEntry, lifts, error) {
	entry, err := d.entry()
	if err != nil {
		return entry, lifts{}, err
	}
	return entry, d.lifts(entry.present()), nil
}

func (d *declaration) entry() (tableEntry, error) {
	if err := d.checkName(); err != nil {
		return tableEntry{}, err
	}
	if !d.applies {
		return tableEntry{}, fmt.Errorf("keyfold: table %q has no Apply", d.name)
	}
	if err := d.checkTimes(); err != nil {
		return tableEntry{}, err
	}
	key, keyErr := d.key.keyCodec()
	state, stateErr := d.state.valueCodec("StateCodec")
	event, eventErr := d.event.valueCodec("EventCodec")
	if err := errors.Join(keyErr, stateErr, eventErr, d.checkOnce(), checkUpgrades(d.upgrades, d.version)); err != nil {
		return tableEntry{}, fmt.Errorf("keyfold: table %q: %w", d.name, err)
	}
	present := schema{Version: d.version, Key: key.name, State: state.name, Event: event.name}
	entry := tableEntry{Name: d.name, Schemas: []schema{present}}
	if size := int(d.state.typ.Size()); state.pointerFree && size > flatBytesMax {
		return entry, fmt.Errorf("%w: table %q: a state has %d bytes, at most %d can be kept", ErrTooLarge, d.name, size, flatBytesMax)
	}
	for _, layout := range []string{present.Key, present.State, present.Event} {
		if len(layout) > layoutBytesMax {
			return entry, fmt.Errorf("%w: table %q: the description of a type has %d bytes, at most %d can be kept; give the Spec a codec", ErrTooLarge, d.name, len(layout), layoutBytesMax)
		}
	}
	return entry, nil
}

// checkName says what is wrong with the name.
func (d *declaration) checkName() error {
	if d.name == "" || len(d.name) > nameBytesMax {
		return fmt.Errorf("keyfold: a table needs a name of 1 to %d bytes, not %q", nameBytesMax, d.name)
	}
	if !utf8.ValidString(d.name) {
		return fmt.Errorf("keyfold: the name of table %q must be UTF-8: it is shown as text, by metrics for example", d.name)
	}
	if strings.HasPrefix(d.name, reservedPrefix) && !d.hidden {
		return fmt.Errorf("keyfold: table %q: names that begin with %q are the engine's own", d.name, reservedPrefix)
	}
	return nil
}

// checkOnce says why ids cannot be remembered as the Spec says.
func (d *declaration) checkOnce() error {
	once, err := d.once.complete()
	if err == nil && once.on() {
		_, err = d.result.valueCodec("ResultCodec")
	}
	return err
}

// flatBytesMax is the size of the largest type of states without pointers.
const flatBytesMax = 2 << 20

// layoutBytesMax is the length of the longest description of a type in the manifest.
const layoutBytesMax = 60_000

// bound returns the open binding, or why there is none.
func (d *declaration) bound() (*binding, error) {
	if b := d.open.Load(); b != nil {
		return b, nil
	}
	return nil, ErrClosed
}

// boundTo returns the open binding if it is that to an engine; else nil.
func (d *declaration) boundTo(e *Engine) *binding {
	if b := d.open.Load(); b != nil && b.engine == e {
		return b
	}
	return nil
}

// attach takes the table for an engine. Its calls work from ready on.
func (d *declaration) attach(e *Engine, id uint16) (attachment, error) {
	if !d.taken.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("%w: %q", ErrTableInUse, d.name)
	}
	b := d.bind(e, id, e.manifest.Tables[id])
	b.times = newTimeForm(b.stateBytes(), d.ttl, d.timed)
	if b.once, _ = d.once.complete(); b.once.on() {
		b.result, _ = d.result.valueCodec("ResultCodec")
	}
	b.keyMax, b.eventMax = e.options.KeyBytesMax, e.options.EventBytesMax
	if d.hidden { // what the engine writes for itself is not for the user to bound
		b.keyMax, b.eventMax = max(b.keyMax, 2*positionBytesMax), max(b.eventMax, positionBytesMax)
	}
	b.dense = b.key.dense > 0 && b.key.dense <= b.keyMax && b.event.dense > 0 && b.event.dense <= b.eventMax
	if b.dense {
		b.form = shard.NewOpForm(id, b.key.dense, b.event.dense)
	}
	return b, nil
}

// bind makes a binding that keeps states and nothing beside them.
func (d *declaration) bind(e *Engine, id uint16, entry tableEntry) *binding {
	b := &binding{table: d, engine: e, id: id, entry: entry}
	b.key, _ = d.key.keyCodec()
	b.state, _ = d.state.valueCodec("StateCodec")
	b.event, _ = d.event.valueCodec("EventCodec")
	return b
}

// detach gives the table back.
func (d *declaration) detach() {
	d.open.Store(nil)
	d.taken.Store(false)
}
