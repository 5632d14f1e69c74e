package engine

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// openOn opens a store with one table, from inside of the package.
func openOn(t *testing.T, disk *crashfs.FS, shards int) (*Engine, *Table[string, int64, int64, struct{}]) {
	t.Helper()
	table := Fold("sums", func(_ *Context[string], s *int64, e int64) { *s += e })
	e, err := Open(context.Background(), "/store", Options{
		Shards: shards, Partitions: 16, Environment: &seam.Environment{FS: disk, Now: func() int64 { return 1e18 }, Seed: 3},
	}, table)
	if err != nil {
		t.Fatal(err)
	}
	return e, table
}

// Goal: what is kept under a name is there after a crash, a snapshot, a move and with
// another number of shards, and nobody sees it among their own. Method: keep, forget and
// look up through all of that.
func TestPositionsSurviveAndAreNotShown(t *testing.T) {
	ctx := context.Background()
	disk := crashfs.New()
	e, table := openOn(t, disk, 2)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		have, err := e.positionsOf(ctx, "source")
		must(err)
		if !maps.Equal(have, want) {
			t.Fatalf("%v, want %v", have, want)
		}
		stats, err := e.Stats(ctx)
		must(err)
		if stats.Keys != 1 || len(stats.Tables) != 1 || stats.Tables[0].Name != "sums" {
			t.Fatalf("shown: %d keys, %+v", stats.Keys, stats.Tables)
		}
	}
	_, err := table.Do(ctx, "key", 1)
	must(err)
	must(e.keepPosition(ctx, "source", "a", "1"))
	must(e.keepPosition(ctx, "source", "b", "2"))
	must(e.keepPosition(ctx, "sources", "c", "other kind"))
	check(map[string]string{"a": "1", "b": "2"})

	lost := disk.Crash(crashfs.Model{Data: crashfs.Lost})
	_ = e.Close()
	disk = lost
	e, _ = openOn(t, disk, 3)
	if keys := e.Recovery().Keys; keys != 1 {
		t.Fatalf("Recovery says %d keys", keys)
	}
	check(map[string]string{"a": "1", "b": "2"})
	for partition := range 16 {
		must(e.Move(ctx, partition, partition%3))
	}
	check(map[string]string{"a": "1", "b": "2"})
	must(e.keepPosition(ctx, "source", "a", ""))
	must(e.Close())
	e, _ = openOn(t, disk, 1)
	check(map[string]string{"b": "2"})
	if value, found, err := e.position(ctx, "source", "b"); value != "2" || !found || err != nil {
		t.Fatal(value, found, err)
	}
	if err := e.keepPosition(ctx, "source", strings.Repeat("x", positionBytesMax+1), "1"); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	must(e.Close())
}

func TestNamesOfTheEngineAreRefused(t *testing.T) {
	_, err := Open(context.Background(), t.TempDir(), Options{}, Fold(positionsName, func(*Context[string], *int64, int64) {}))
	if err == nil || !strings.Contains(err.Error(), "the engine's own") {
		t.Fatal(err)
	}
}
