package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// editionOf is a version of a table that has taken the events of all before it as they are.
func editionOf(version uint32) *engine.Table[string, sum, int64, struct{}] {
	spec := sums("t").Spec()
	spec.Version = version
	for v := uint32(1); v < version; v++ {
		spec.Upgrades = append(spec.Upgrades, engine.SameEvents(v, v+1))
	}
	return engine.NewTable(spec)
}

// schemas is how many the manifest has of the table.
func (l *lab) schemas() int {
	l.tb.Helper()
	v, err := l.look()
	must(l.tb, err)
	for _, table := range v.Tables {
		if table.Name == "t" {
			return table.Schemas
		}
	}
	l.tb.Fatal("the table is not there")
	return 0
}

// Goal: a store that was opened by version after version knows the schemas that something
// on the disk was written under, however it was ended and resharded, and forgets the others;
// with a kept log it forgets none that this holds, and all of it can be read.
func TestSchemasAreKnownForAsLongAsFilesHoldThem(t *testing.T) {
	closed := func(l *lab) { must(l.tb, l.engine.Close()) }
	reshard := func(l *lab) { closed(l); l.options.Shards = 3 - l.options.Shards }
	kill := func(l *lab) { must(l.tb, l.engine.Snapshot(l.tb.Context())); l.die(crashfs.Lost) }
	for name, c := range map[string]struct {
		end  func(l *lab)
		keep int64
		most int // schemas; 0: one for each version
	}{
		"closed": {closed, 0, 3}, "killed": {kill, 0, 3}, "resharded": {reshard, 0, 3},
		"without a snapshot":   {func(l *lab) { l.die(crashfs.Lost) }, 0, 0},
		"kept":                 {closed, 1 << 30, 0},
		"kept of other shards": {reshard, 1 << 30, 0},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			options := engine.Options{Shards: 1, Partitions: 4, KeepLog: engine.KeepLog{Bytes: c.keep}}
			l := newLab(t, options, editionOf(1))
			for version := uint32(1); version <= 12; version++ {
				table := editionOf(version)
				if version > 1 {
					l.with(table).open()
				} else {
					table = l.tables[0].(*engine.Table[string, sum, int64, struct{}])
				}
				if name == "without a snapshot" {
					l.failing(errors.New("broken"), func(op crashfs.Op) bool { return strings.Contains(op.Name, "/snapshot/") })
				}
				for i := range 5 {
					do(t, table, fmt.Sprint(i), int64(version))
				}
				if s, _ := get(t, table, "3"); s.Count != int64(version) {
					t.Fatalf("version %d: %+v", version, s)
				}
				if c.end(l); version > 1 {
					if n := l.schemas(); n < 2 || c.most > 0 && n > c.most || c.most == 0 && n != int(version) {
						t.Fatalf("version %d: it knows %d schemas", version, n)
					}
				}
			}
			table := editionOf(12)
			l.with(table).open()
			if c.keep == 0 {
				return
			}
			total := int64(0)
			changes, err := table.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{Stop: true})
			must(t, err)
			defer changes.Close()
			for change, err := range changes.All(t.Context()) {
				must(t, err)
				total += change.Event
			}
			if total != 5*12*13/2 {
				t.Fatalf("the changes add up to %d", total)
			}
		})
	}
}
