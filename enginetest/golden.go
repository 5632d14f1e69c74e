package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

var goldenFlag = flag.String("enginetest.golden", "", "name of a golden store that Golden writes; it must not exist")

// goldenEvents are in a golden store: in its snapshot the first half of them.
const goldenEvents = 200

// goldenFile is what stands beside the store in a golden directory.
const goldenFile = "expected.json"

// A golden is what the program that wrote a golden store saw in it.
type golden[K comparable] struct {
	Version uint32            `json:"version"` // of the table
	State   string            `json:"state"`   // type of the states
	Keys    map[string]string `json:"keys"`    // states by key, as this package shows them
}

// Golden opens the stores that older versions of a table have left in dir, one directory
// for each, and checks that every key is there: with the state that it had, if the table
// has the same version and the same type of states, else with any. The stores are copied
// before; dir is not changed. The table must not be open.
//
// A store of the present version is written into dir by
//
//	go test -enginetest.golden NAME
//
// with events from generate. Commit it, with its files as they are (-text in
// .gitattributes), before a version is released.
func Golden[K comparable, S, E, R any](t *testing.T, table *engine.Table[K, S, E, R], generate Generator[K, E], dir string) {
	t.Helper()
	r := &trial[K, S, E, R]{spec: table.Spec(), generate: generate, seed: 1}
	if *goldenFlag != "" {
		if err := r.writeGolden(filepath.Join(dir, *goldenFlag)); err != nil {
			t.Fatalf("enginetest: write a golden store: %v", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 0 {
		err = errors.New("there is none; write one with -enginetest.golden NAME")
	}
	if err != nil {
		t.Fatalf("enginetest: golden stores: %v", err)
	}
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			if err := r.readGolden(filepath.Join(dir, entry.Name()), t.TempDir()); err != nil {
				t.Errorf("table %q, store %s: %v", r.spec.Name, entry.Name(), err)
			}
		})
	}
}

// goldenOf is what a table shows, for a golden store.
func (r *trial[K, S, E, R]) goldenOf(table *engine.Table[K, S, E, R]) (*golden[K], error) {
	g := &golden[K]{Version: r.spec.Version, State: reflect.TypeFor[S]().String(), Keys: make(map[string]string)}
	for entry, err := range table.All(context.Background()) {
		if err != nil {
			return nil, err
		}
		g.Keys[dump(&entry.Key)] = dump(&entry.State)
	}
	return g, nil
}

// writeGolden writes a store with a snapshot and a log behind it.
func (r *trial[K, S, E, R]) writeGolden(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	ctx := context.Background()
	table := engine.NewTable(r.spec)
	e, err := engine.Open(ctx, filepath.Join(dir, "store"), engine.Options{Shards: 2, Partitions: 1 << trialBits}, table)
	if err != nil {
		return err
	}
	for i, one := range r.events(goldenEvents) {
		if err = send(table, one); err == nil && i == goldenEvents/2 {
			err = e.Snapshot(ctx)
		}
		if err != nil {
			return errors.Join(err, e.Close())
		}
	}
	g, err := r.goldenOf(table)
	hurried, cancel := context.WithCancel(ctx)
	cancel()
	_ = e.Shutdown(hurried) // without a last snapshot, so that the log is needed
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(dir, "store", "LOCK"))
	return os.WriteFile(filepath.Join(dir, goldenFile), append(b, '\n'), 0o644)
}

// readGolden opens a copy of a golden store and compares.
func (r *trial[K, S, E, R]) readGolden(dir, temporary string) error {
	b, err := os.ReadFile(filepath.Join(dir, goldenFile))
	if err != nil {
		return err
	}
	var want golden[K]
	if err := json.Unmarshal(b, &want); err != nil {
		return fmt.Errorf("%s: %w", goldenFile, err)
	}
	store := filepath.Join(temporary, "store")
	if err := os.CopyFS(store, os.DirFS(filepath.Join(dir, "store"))); err != nil {
		return err
	}
	if err := os.Chmod(store, 0o700); err != nil {
		return err
	}
	table := engine.NewTable(r.spec)
	e, err := engine.Open(context.Background(), store, engine.Options{}, table)
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	have, err := r.goldenOf(table)
	if err = errors.Join(err, e.Close()); err != nil {
		return err
	}
	return want.compare(have)
}

// compare says what have, which was read now, does not show as it was.
func (g *golden[K]) compare(have *golden[K]) error {
	changed := g.Version != have.Version || g.State != have.State
	for key, state := range g.Keys {
		now, found := have.Keys[key]
		switch {
		case !found:
			return fmt.Errorf("key %s is gone; its state was %s", key, state)
		case !changed && now != state:
			return fmt.Errorf("key %s differs:\nwas: %s\nis:  %s\nif that is meant, give the table another Version", key, state, now)
		}
	}
	if len(have.Keys) != len(g.Keys) {
		return fmt.Errorf("%d keys, there were %d", len(have.Keys), len(g.Keys))
	}
	return nil
}
