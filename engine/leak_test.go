package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// openFiles counts the descriptors of the process; ok says whether that can be told.
// Those of the kernel's own, such as the queues of syncs that the process keeps, are
// not files.
func openFiles() (count int, ok bool) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if name, _ := os.Readlink(filepath.Join(dir, entry.Name())); !strings.HasPrefix(name, "anon_inode:") {
			count++
		}
	}
	return count, err == nil
}

// Goal: opening and closing a store leaves no goroutine and no file open, with either
// device, whatever it was used for in between, and also when Open refuses.
func TestNothingIsLeftBehindByOpenAndClose(t *testing.T) {
	for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
		dir := filepath.Join(t.TempDir(), "store")
		table := lines("lines")
		next := map[string]int64{}
		cycle(t, dir, device, table, next, 2) // what is made once
		before, ok := openFiles()
		for i := range 50 {
			cycle(t, dir, device, table, next, 1+i%3)
		}
		if after, _ := openFiles(); ok && after > before {
			t.Errorf("%d files were open before, %d are after", before, after)
		}
		goleak.VerifyNone(t)
	}
}

func cycle(t *testing.T, dir string, device engine.LogDevice, table *engine.Table[string, sum, int64, bool], next map[string]int64, shards int) {
	t.Helper()
	ctx := context.Background()
	e, err := engine.Open(ctx, dir, engine.Options{Shards: shards, Partitions: 16, Device: device, SegmentBytes: 16 << 10}, table)
	must(t, err)
	if _, err := engine.Open(ctx, dir, engine.Options{}, sums("other")); err == nil {
		t.Fatal("opened twice")
	}
	feed(t, table, next, 100)
	must(t, e.Snapshot(ctx))
	if len(next) > 0 {
		do(t, table, "key-0", next["key-0"], engine.Written)
		next["key-0"]++
	}
	if len(everything(t, table)) != len(next) {
		t.Errorf("%d keys, want %d", len(everything(t, table)), len(next))
	}
	must(t, e.Close())
	if _, err := engine.Open(ctx, dir, engine.Options{}, sums("other")); err == nil {
		t.Fatal("opened with another table")
	}
}

// A mute disk renames no manifest any more from the count-th on.
type mute struct {
	fsys.FS
	count int
}

func (m *mute) Rename(from, to string) error {
	if filepath.Base(to) == "MANIFEST" {
		if m.count--; m.count <= 0 {
			return errors.New("the disk is mute")
		}
	}
	return m.FS.Rename(from, to)
}

// Goal: an Open that cannot write a manifest leaves no file open. Method: the second one of
// a new store, and that of another number of shards.
func TestOpenWithoutAManifestLeavesNoFileOpen(t *testing.T) {
	ctx := context.Background()
	disk := &mute{FS: fsys.OS()}
	options := engine.Options{Partitions: 8, Environment: &seam.Environment{FS: disk, Now: func() int64 { return 1e18 }}}
	table := lines("lines")
	before, ok := openFiles()
	if !ok {
		t.Skip("this system does not tell of open files")
	}
	for range 3 {
		options.Shards, disk.count = 4, 2
		if _, err := engine.Open(ctx, t.TempDir(), options, table); err == nil {
			t.Fatal("it opened a new store")
		}
		dir := t.TempDir()
		options.Shards, disk.count = 1, 10
		e, err := engine.Open(ctx, dir, options, table)
		must(t, err)
		must(t, e.Close())
		options.Shards, disk.count = 4, 1
		if _, err := engine.Open(ctx, dir, options, table); err == nil {
			t.Fatal("it opened the store with other shards")
		}
	}
	if after, _ := openFiles(); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}

// Goal: an idle engine uses no CPU: its shards are parked and nothing wakes them.
// Method: in fake time, an hour in which nothing happens. Asking for the figures is
// one wake-up itself, and a heartbeat may come behind the last event.
func TestIdleShardsStayParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sync := range []engine.SyncMode{engine.SyncAlways, engine.SyncInterval, engine.SyncNever} {
			table := lines("lines")
			store := enginetest.OpenOptions(t, engine.Options{Shards: 3, Partitions: 16, Sync: sync}, table)
			for i := range 30 {
				do(t, table, fmt.Sprint(i), 0, engine.Written)
			}
			<-time.After(time.Minute)
			before := parks(t, store)
			<-time.After(time.Hour)
			for i, after := range parks(t, store) {
				if after != before[i]+1 {
					t.Errorf("sync mode %d: shard %d parked %d times in an idle hour", sync, i, after-before[i]-1)
				}
			}
		}
	})
}

func parks(t *testing.T, store *enginetest.Store) []uint64 {
	t.Helper()
	synctest.Wait()
	stats, err := store.Engine().Stats(context.Background())
	must(t, err)
	synctest.Wait()
	var out []uint64
	for _, s := range stats.Shards {
		out = append(out, s.Parks)
	}
	return out
}
