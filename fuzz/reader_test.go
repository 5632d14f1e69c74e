package fuzz

import (
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// latest is a table that keeps the latest text of each key.
func latest() *engine.Table[string, string, string, struct{}] {
	return engine.Fold("latest", func(_ *engine.Context[string], s *string, e string) { *s = e })
}

func inMemory(disk *crashfs.FS, shards int) engine.Options {
	return engine.Options{
		Shards: shards, Partitions: 8, SnapshotBytes: 1 << 30,
		Environment: &seam.Environment{FS: disk, Now: epoch.UnixNano, Seed: hashSeed},
	}
}

// Goal: a reader of states does without the snapshots of a layout whose log is history.
// Method: a change to a third number of shards fails behind the moment in which the first
// layout becomes history, so that the manifest still names it.
func TestAReaderOfStatesDoesWithoutSnapshotsOfHistory(t *testing.T) {
	t.Parallel()
	ctx, cancel := patiently()
	defer cancel()
	disk, table := crashfs.New(), latest()
	open := func(shards int) (*engine.Engine, error) {
		o := inMemory(disk, shards)
		o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
		return engine.Open(ctx, "/store", o, table)
	}
	send := func(text string) {
		_, err := table.Do(ctx, "key", text)
		must(t, err)
	}
	e, err := open(1)
	must(t, err)
	send("one")
	must(t, e.Snapshot(ctx))
	must(t, e.Close())
	e, err = open(2)
	must(t, err)
	send("two")
	left := disk.Crash(crashfs.Model{Data: crashfs.Torn}) // before there are two snapshots of this layout
	_ = e.Close()
	disk = left
	disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Mkdir && filepath.Base(op.Name) == "layout-0003" {
			return crashfs.ErrFull
		}
		return nil
	})
	if _, err = open(3); err == nil {
		t.Fatal("it opened without room for a third layout")
	}
	disk.SetHook(nil)
	e, err = open(2)
	must(t, err)
	changes, err := table.Changes(ctx, engine.Position{}, engine.ChangesOptions{Stop: true, States: true})
	must(t, err)
	for _, text := range []string{"one", "two"} {
		_, err := changes.Next(ctx)
		must(t, err)
		if s, ok := changes.State(); !ok || s != text {
			t.Errorf("%q, %v; want %q", s, ok, text)
		}
	}
	must(t, changes.Close())
	must(t, e.Close())
}
