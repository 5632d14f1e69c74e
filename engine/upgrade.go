package engine

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/keyfold/keyfold/internal/layout"
)

// An Upgrade says what to do with what an older version of a table has left: states in
// snapshots, and events in the log. [UpgradeState], [UpgradeEvent] and [SameEvents] make
// them; a [Spec] lists those that it knows in Upgrades, in any order.
//
// Upgrades are a ladder. What was written by a version is lifted by the upgrade from
// that version to a higher one, from there on by the next, and so on up to the Version
// of the Spec. What one makes must be of the type that the next one takes, and the last
// must make that of the table.
//
// A version whose states no upgrade takes keeps them as they are, up to the next version
// that has an upgrade, or to that of the Spec. Events are not kept so: a version without
// an upgrade of its events, or SameEvents, has none that could be replayed.
type Upgrade struct {
	from, to uint32
	event    bool
	in, out  reflect.Type // nil: bytes and meaning are the same
	// link makes a reader of values of out of one of values of in.
	link func(reader former) former
	// source is in, with its codec.
	source element
}

// UpgradeState lifts the states that version from has left to version to. Old must be a
// type of the layout that those had, or the same with fields added at the end. lift runs
// while the store is opened, on several goroutines at once. What it says must follow from
// old alone, because it may be asked again. An error makes Open fail; nothing was changed
// then.
func UpgradeState[Old, New any](from, to uint32, lift func(old Old) (New, error)) Upgrade {
	return upgrade(from, to, nil, lift)
}

// UpgradeCodedState is UpgradeState for states that had a codec, which is given.
func UpgradeCodedState[Old, New any](from, to uint32, old Codec[Old], lift func(old Old) (New, error)) Upgrade {
	return upgrade(from, to, old, lift)
}

// UpgradeEvent lifts the events that version from has left in the log to version to, so
// that the Apply of to can replay them. It is as UpgradeState.
func UpgradeEvent[Old, New any](from, to uint32, lift func(old Old) (New, error)) Upgrade {
	u := upgrade(from, to, nil, lift)
	u.event = true
	return u
}

// UpgradeCodedEvent is UpgradeEvent for events that had a codec, which is given.
func UpgradeCodedEvent[Old, New any](from, to uint32, old Codec[Old], lift func(old Old) (New, error)) Upgrade {
	u := upgrade(from, to, old, lift)
	u.event = true
	return u
}

// SameEvents says that the Apply of version to makes of the events that version from has
// left in the log what it should: they are replayed as they are. That is the author's
// word. A state that was seen before the upgrade may then be another one after it, if the
// two Applys differ in what they make of these events.
func SameEvents(from, to uint32) Upgrade { return Upgrade{from: from, to: to, event: true} }

func upgrade[Old, New any](from, to uint32, old Codec[Old], lift func(old Old) (New, error)) Upgrade {
	u := Upgrade{from: from, to: to, in: reflect.TypeFor[Old](), out: reflect.TypeFor[New](), source: elementOf(old)}
	if lift == nil {
		return u
	}
	u.link = func(below former) former {
		step := fmt.Sprintf("upgrade from version %d to %d", from, to)
		var zero, scratch Old // of this reader, and so of one goroutine
		return former{bytes: below.bytes, read: func(src []byte, v unsafe.Pointer) (err error) {
			scratch = zero
			if err = below.read(src, unsafe.Pointer(&scratch)); err != nil {
				return err
			}
			if *(*New)(v), err = lift(scratch); err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
			return nil
		}}
	}
	return u
}

// A former makes values of one type of bytes that were written under an older schema. It
// belongs to one goroutine.
type former struct {
	read  func(src []byte, v unsafe.Pointer) error // v is zero before
	bytes int                                      // of every value, or -1 if they depend on the value
}

// reader makes a reader of the element itself for bytes of the layout have.
func (e *element) reader(have string) (former, error) {
	if e.user != nil {
		c, err := e.userCodec("codec of an upgrade")
		if err == nil && c.name != have {
			err = fmt.Errorf("was written as %s, and the upgrade reads %s", have, c.name)
		}
		return former{read: c.decode, bytes: -1}, err
	}
	l, err := layout.Older(e.typ, have)
	if err != nil {
		return former{}, err
	}
	r := former{bytes: -1, read: l.Decode}
	if size, fixed := l.Size(); fixed {
		r.bytes = size
	}
	return r, nil
}

// checkUpgrades says what is wrong with upgrades by themselves.
func checkUpgrades(upgrades []Upgrade, version uint32) error {
	type rung struct {
		from  uint32
		event bool
	}
	seen := make(map[rung]bool)
	for _, u := range upgrades {
		what := map[bool]string{false: "states", true: "events"}[u.event]
		switch {
		case u.from >= u.to || u.to > version:
			return fmt.Errorf("an upgrade of %s goes from version %d to %d, and must go to a higher one, up to %d", what, u.from, u.to, version)
		case u.in != nil && u.link == nil:
			return fmt.Errorf("the upgrade of %s from version %d to %d has no function", what, u.from, u.to)
		case seen[rung{u.from, u.event}]:
			return fmt.Errorf("there are two upgrades of %s from version %d", what, u.from)
		}
		seen[rung{u.from, u.event}] = true
	}
	return nil
}

// climb lists the upgrades that lead from a version to another one. kept says that a
// version without an upgrade of its own is passed over.
func climb(upgrades []Upgrade, event, kept bool, from, to uint32) ([]Upgrade, error) {
	var rungs []Upgrade
	for from < to {
		next := -1
		for i, u := range upgrades {
			if u.event == event && u.from >= from && (next < 0 || u.from < upgrades[next].from) {
				next = i
			}
		}
		if !kept && (next < 0 || upgrades[next].from > from) {
			return nil, errNoRung
		}
		if next < 0 {
			break
		}
		from = upgrades[next].to
		if upgrades[next].link != nil {
			rungs = append(rungs, upgrades[next])
		}
	}
	return rungs, nil
}

// lift makes a reader of the element, which is one of the table's, for bytes of the layout
// have, through upgrades. Without any it is the element's own.
func (e *element) lift(rungs []Upgrade, have string) (former, error) {
	source := e
	if len(rungs) > 0 {
		source = &rungs[0].source
	}
	from, err := source.reader(have)
	if err != nil {
		return former{}, err
	}
	for i, u := range rungs {
		next := e.typ
		if i+1 < len(rungs) {
			next = rungs[i+1].in
		}
		if u.out != next {
			return former{}, fmt.Errorf("the upgrade from version %d to %d makes a %v, and what follows takes a %v", u.from, u.to, u.out, next)
		}
		from = u.link(from)
	}
	return from, nil
}
