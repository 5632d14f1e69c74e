package fuzz

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// Goal: a reader of states that begins while a shard replaces its snapshots does not take what
// the shard removes for damage.
// Method: the snapshots are so large that they are removed in steps, and two rounds replace
// both of them when the reader has begun to read one.
func TestAReaderOfStatesBeginsBesideSnapshots(t *testing.T) {
	t.Parallel()
	ctx, cancel := patiently()
	defer cancel()
	disk, table := crashfs.New(), latest()
	e, err := engine.Open(ctx, "/store", inMemory(disk, 1), table)
	must(t, err)
	for range 2 {
		for key := range 64 {
			_, err := table.Do(ctx, fmt.Sprint(key), strings.Repeat("x", 48<<10), engine.Applied)
			must(t, err)
		}
		must(t, e.Snapshot(ctx))
	}
	now, err := table.States(ctx, func(string, string) error { return nil })
	must(t, err)
	for n := range int32(12) { // of these reads the last ones are of states
		var reads atomic.Int32
		disk.SetHook(func(op crashfs.Op) error {
			if op.Kind != crashfs.Read || filepath.Ext(op.Name) != ".snap" || reads.Add(1) != n+1 {
				return nil
			}
			for range 3 { // the third waits for the removal of what the first has replaced
				if err := e.Snapshot(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		changes, err := table.Changes(ctx, now, engine.ChangesOptions{Stop: true, States: true})
		if err != nil {
			t.Fatalf("replaced at read %d: %v", n+1, err)
		}
		if disk.SetHook(nil); reads.Load() <= n {
			t.Fatalf("there were %d reads", reads.Load())
		}
		_, err = table.Do(ctx, "0", fmt.Sprint("behind it ", n))
		must(t, err)
		if _, err := changes.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if s, ok := changes.State(); !ok || s != fmt.Sprint("behind it ", n) {
			t.Fatalf("%q, %v", s, ok)
		}
		must(t, changes.Close())
		now, err = table.States(ctx, func(string, string) error { return nil })
		must(t, err)
	}
	must(t, e.Close())
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

// Goal: the history of a former layout outlives an opening that cannot read it; what a crash
// has left of one that was being removed does not.
// Method: a file or directory of the former layout cannot be read once, then its CURRENT file
// is missing.
func TestHistoryThatCannotBeReadIsNotTakenForOld(t *testing.T) {
	t.Parallel()
	ctx, cancel := patiently()
	defer cancel()
	disk, table := crashfs.New(), latest()
	open := func(shards int) {
		o := inMemory(disk, shards)
		o.KeepLog = engine.KeepLog{Age: time.Hour, Bytes: 1 << 40}
		e, err := engine.Open(ctx, "/store", o, table)
		must(t, err)
		_, err = table.Do(ctx, "key", fmt.Sprint(shards))
		must(t, err)
		must(t, e.Snapshot(ctx))
		must(t, e.Close())
	}
	kept := func() bool {
		_, err := disk.Lstat("/store/former-0001")
		return err == nil
	}
	open(1)
	open(2)
	for _, kind := range []crashfs.Kind{crashfs.ReadDir, crashfs.Open, crashfs.Read, crashfs.Size} {
		for n := 1; n <= 2; n++ {
			seen := 0
			disk.SetHook(func(op crashfs.Op) error {
				if op.Kind == kind && strings.Contains(op.Name, "former-0001") && !strings.Contains(op.Name, "log") {
					if seen++; seen == n {
						return crashfs.ErrIO
					}
				}
				return nil
			})
			if open(2); !kept() {
				t.Fatalf("gone when %v number %d had failed", kind, n)
			}
		}
	}
	disk.SetHook(nil)
	must(t, disk.Remove("/store/former-0001/shard-000/CURRENT"))
	if open(2); kept() {
		t.Error("what a removal has left stays")
	}
}

// A nagging context has something done whenever somebody looks whether it has ended.
type nagging struct {
	context.Context
	do func()
}

// Err is nil.
func (n nagging) Err() error {
	n.do()
	return nil
}

// Goal: a replay from a store that goes on ends where the store was when it began.
// Method: whenever the replay looks at its context there are as many events more as it reads
// until it looks again.
func TestAReplayEndsAlthoughTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := patiently()
	defer cancel()
	disk, table := crashfs.New(), latest()
	e, err := engine.Open(ctx, "/store", inMemory(disk, 1), table)
	must(t, err)
	const before, enough = 300, 10
	looks := 0
	more := func() {
		if looks++; looks > enough {
			return
		}
		batch := e.Batch()
		for key := range before {
			table.Put(batch, fmt.Sprint(key), "one more", nil)
		}
		must(t, batch.Do(ctx))
	}
	more()
	done, err := e.Replay(nagging{ctx, more}, engine.ReplayOptions{Workers: 1})
	if must(t, err); done.Changes < before || looks >= enough {
		t.Errorf("%d changes, and %d looks at the context", done.Changes, looks)
	}
	must(t, e.Close())
}
