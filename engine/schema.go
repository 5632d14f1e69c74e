package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keyfold/keyfold/internal/layout"
	"github.com/keyfold/keyfold/shard"
)

// A schema is what must be the same for bytes to mean the same.
type schema struct {
	Version           uint32
	Key, State, Event string
}

// A tableEntry is a table as the manifest knows it. Its place is the table's id.
type tableEntry struct {
	Name    string
	Dropped bool
	First   uint32   // number of the oldest schema
	Schemas []schema // oldest first; there is at least one
}

// present is the schema that the table is written under.
func (t *tableEntry) present() *schema { return &t.Schemas[len(t.Schemas)-1] }

// number is the number of the present schema.
func (t *tableEntry) number() uint32 { return t.First + uint32(len(t.Schemas)) - 1 }

// of is the schema of a number; nil if there is none.
func (t *tableEntry) of(number uint32) *schema {
	if number < t.First || number > t.number() {
		return nil
	}
	return &t.Schemas[number-t.First]
}

// schemasMax is how many schemas a table may have, from the oldest on that files still hold.
const schemasMax = 1024

// errNoRung says that nothing tells what to do with the events of a version.
var errNoRung = errors.New("no upgrade of events begins there")

// refusal makes a VersionError of how the store and the program differ.
func (t *tableEntry) refusal(have, want, format string, args ...any) error {
	return &VersionError{Table: t.Name, Have: have, Want: want, Diff: fmt.Sprintf(format, args...)}
}

// accept makes what the program says of the table that of the store, if what that holds
// can be lifted to it. changed says that it was something else.
func (t *tableEntry) accept(program *tableEntry, lifts lifts) (changed bool, err error) {
	switch {
	case program.Dropped:
		changed, t.Dropped = !t.Dropped, true
		return changed, nil
	case t.Dropped:
		return false, t.refusal("a dropped table", "a table", "it was dropped from the store, which cannot be taken back; take another name")
	}
	return t.lift(program.present(), lifts)
}

// lift makes p the present schema of the table, if what the store holds can be lifted.
func (t *tableEntry) lift(p *schema, lifts lifts) (changed bool, err error) {
	have := *t.present()
	if have == *p {
		return false, nil
	}
	switch {
	case have.Key != p.Key:
		return false, t.refusal(have.Key, p.Key,
			"its key was %s, and is %s in the program: %s. Keys cannot be changed, because they say where a state lies. Go back to the old type, or fold the data into a table of another name",
			have.Key, p.Key, layout.Diff(have.Key, p.Key))
	case have.Version > p.Version:
		return false, t.refusal(fmt.Sprint("version ", have.Version), fmt.Sprint("version ", p.Version),
			"the store was written by version %d, the program has version %d, which is older. Run version %d, or give the new one a higher number", have.Version, p.Version, have.Version)
	}
	if _, err := lifts.state(&have); err != nil {
		if have.Version == p.Version {
			return false, t.changed("state", have.State, p.State, have.Version, "UpgradeState")
		}
		return false, t.unliftable(&have, p, err)
	}
	if have.Version == p.Version && have.Event != p.Event {
		if _, err := lifts.event(&have); err != nil {
			return false, t.changed("event", have.Event, p.Event, have.Version, "UpgradeEvent")
		}
	}
	t.Schemas = append(t.Schemas[:len(t.Schemas):len(t.Schemas)], *p)
	return true, nil
}

// changed refuses a type that has changed under the same version.
func (t *tableEntry) changed(what, have, want string, version uint32, way string) error {
	return t.refusal(have, want,
		"its %s was %s, and is %s in the program: %s. Only fields at the end may be added without a new Version. Go back to the old type, or raise Spec.Version and lift what there is by %s(%d, %d, ...) in Spec.Upgrades",
		what, have, want, layout.Diff(have, want), way, version, version+1)
}

// unliftable refuses states of an older version.
func (t *tableEntry) unliftable(have, want *schema, err error) error {
	return t.refusal(fmt.Sprintf("version %d: %s", have.Version, have.State), fmt.Sprintf("version %d: %s", want.Version, want.State),
		"its states of version %d, %s, do not become those of version %d, %s: %v. Give Spec.Upgrades an UpgradeState from version %d, of the type that the states had then",
		have.Version, have.State, want.Version, want.State, err, have.Version)
}

// unplayable refuses to replay events of an older version.
func (t *tableEntry) unplayable(have, want *schema, err error) error {
	if have.Version == want.Version {
		return t.changed("event", have.Event, want.Event, have.Version, "UpgradeEvent")
	}
	return t.refusal(fmt.Sprint("events of version ", have.Version), fmt.Sprint("version ", want.Version),
		"its log holds events of version %d that are not in a snapshot yet, and the program does not say what version %d makes of them (%v). Run the program of version %d once more and Close it, which leaves nothing to replay; or give Spec.Upgrades an UpgradeEvent(%d, %d, ...), or SameEvents(%d, %d) if they mean the same",
		have.Version, want.Version, err, have.Version, have.Version, have.Version+1, have.Version, have.Version+1)
}

// lifts says whether states and events of a schema can be lifted to that of the program.
type lifts struct {
	state, event func(from *schema) (same bool, err error)
}

// prune takes out of the manifest what schemas come before those that anything on the disk
// was written under, and refuses a table that has too many all the same. If something cannot
// be read, all stay: whoever needs it will say so.
func (e *Engine) prune() error {
	m := e.manifest
	if !slices.ContainsFunc(m.Tables, func(t tableEntry) bool { return len(t.Schemas) > 2 }) {
		return nil // the one before the present one is in use
	}
	oldest := make([]uint32, len(m.Tables))
	for id := range m.Tables {
		oldest[id] = m.Tables[id].number()
	}
	var err error
	layouts := append(e.formerLayouts(), m.Layout)
	if m.Former != 0 {
		layouts = append(layouts, m.Former)
	}
	for _, number := range layouts {
		for _, c := range e.layoutShards(number) {
			err = errors.Join(err, shard.OldestSchemas(c, oldest))
		}
	}
	for id := range m.Tables {
		t := &m.Tables[id]
		if first := oldest[id]; err == nil && first > t.First {
			t.Schemas, t.First = t.Schemas[first-t.First:], first
		}
		if n := len(t.Schemas); n > schemasMax {
			return t.refusal(fmt.Sprint(n, " schemas"), fmt.Sprint("at most ", schemasMax),
				"its files hold states or events of %d schemas; run the program that wrote it last, with less Options.KeepLog or none, and close it twice, so that no file holds the older ones", n)
		}
	}
	return nil
}
