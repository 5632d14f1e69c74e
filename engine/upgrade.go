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
	// source gives a former[In] for bytes of a layout.
	source func(have string) (any, error)
	// link makes a former[Out] of a former[In].
	link func(reader any) any
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
	u := Upgrade{from: from, to: to, in: reflect.TypeFor[Old](), out: reflect.TypeFor[New](), source: sourceOf(old)}
	if lift == nil {
		u.link = nil
		return u
	}
	u.link = func(before any) any {
		below, step := before.(former[Old]), fmt.Sprintf("upgrade from version %d to %d", from, to)
		var zero, scratch Old // of this reader, and so of one goroutine
		return former[New]{bytes: below.bytes, read: func(src []byte, v *New) (err error) {
			scratch = zero
			if err = below.read(src, &scratch); err != nil {
				return err
			}
			if *v, err = lift(scratch); err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
			return nil
		}}
	}
	return u
}

// A former makes a T of bytes that were written under an older schema. It belongs to one
// goroutine.
type former[T any] struct {
	read  func(src []byte, v *T) error // v is zero before
	bytes int                          // of every value, or -1 if they depend on the value
}

// sourceOf makes readers of T itself, by a codec of the user's or by its layout.
func sourceOf[T any](user Codec[T]) func(have string) (any, error) {
	return func(have string) (any, error) {
		if user != nil {
			c, err := userCodec(user, "codec of an upgrade")
			if err == nil && c.name != have {
				err = fmt.Errorf("was written as %s, and the upgrade reads %s", have, c.name)
			}
			return former[T]{read: c.decode, bytes: -1}, err
		}
		l, err := layout.Older(reflect.TypeFor[T](), have)
		if err != nil {
			return nil, err
		}
		r := former[T]{bytes: -1, read: func(src []byte, v *T) error { return l.Decode(src, unsafe.Pointer(v)) }}
		if size, fixed := l.Size(); fixed {
			r.bytes = size
		}
		return r, nil
	}
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

// lift makes a reader of T for bytes of the layout have, through upgrades. Without any
// it is own, that of the table's type.
func lift[T any](rungs []Upgrade, own func(string) (any, error), have string) (former[T], error) {
	source := own
	if len(rungs) > 0 {
		source = rungs[0].source
	}
	from, err := source(have)
	if err != nil {
		return former[T]{}, err
	}
	for i, u := range rungs {
		next := reflect.TypeFor[T]()
		if i+1 < len(rungs) {
			next = rungs[i+1].in
		}
		if u.out != next {
			return former[T]{}, fmt.Errorf("the upgrade from version %d to %d makes a %v, and what follows takes a %v", u.from, u.to, u.out, next)
		}
		from = u.link(from)
	}
	return from.(former[T]), nil
}
