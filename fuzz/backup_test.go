package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// A busyBuffer takes a backup, and has the store do something at each piece of it.
type busyBuffer struct {
	bytes.Buffer
	do func() error
}

func (b *busyBuffer) Write(p []byte) (int, error) {
	if err := b.do(); err != nil {
		return 0, err
	}
	return b.Buffer.Write(p)
}

// restoreTo makes a store on an empty disk of a backup.
func restoreTo(r *rig, disk *crashfs.FS, backup []byte) error {
	o := r.options
	o.Environment = &seam.Environment{FS: disk, Now: r.now.Load, Seed: hashSeed, Hash: r.hash}
	return engine.Restore(context.Background(), bytes.NewReader(backup), "/store", o)
}

// Goal: a backup of a store that goes on holds a prefix of each partition with everything
// that was acknowledged before it began, however far that was, and the restored store goes on
// from there. Method: events, snapshots and moves at every piece that is written; now and then
// a snapshot has failed before, so that more than one generation is needed; what is restored
// is crashed at once.
func TestABackupUnderLoadHoldsEverythingAcknowledged(t *testing.T) {
	t.Parallel()
	random := random(t)
	for round := range 12 * *rounds {
		o := small()
		o.Shards, o.Rebalance = 1+random.IntN(3), engine.RebalanceOff
		o.Sync = []engine.SyncMode{engine.SyncAlways, engine.SyncInterval, engine.SyncNever}[random.IntN(3)]
		r := newRig(o, hashes["full"])
		r.keeping()
		must(t, r.open())
		for range random.IntN(4) {
			must(t, r.load(random, 30, r.strongest()))
			must(t, snapshot(r))
		}
		must(t, r.load(random, 30, engine.Applied))
		must(t, r.load(random, 10, r.strongest()))
		if random.IntN(3) == 0 {
			failSnapshot(t, r)
			must(t, r.load(random, 10, r.strongest()))
		}
		must(t, r.witnessed())
		must(t, r.load(random, 10, []engine.Ack{engine.Applied, engine.Written}[random.IntN(2)]))
		before := r.oracle.clone()
		busy := &busyBuffer{do: func() error { return goOn(r, random) }}
		must(t, r.engine.Backup(t.Context(), busy))
		disk := crashfs.New()
		must(t, restoreTo(r, disk, busy.Bytes()))
		restored := r.on(disk)
		restored.witness = nil // positions are of another life
		for i := range restored.oracle.lines {
			restored.oracle.lines[i].safe = before.lines[i].done
		}
		must(t, restored.crash(crashfs.Model{Data: crashfs.Lost, Entries: true, Seed: uint64(round)}))
		must(t, restored.reopen(safe))
		if _, err := restored.tallies.Changes(t.Context(), r.witness.tallies, engine.ChangesOptions{}); !errors.Is(err, engine.ErrPosition) {
			t.Fatalf("a position of the former life: %v", err)
		}
		must(t, restored.load(random, 10, restored.strongest()))
		must(t, restored.crash(crashfs.Model{Data: crashfs.Torn, Seed: uint64(round)}))
		must(t, restored.reopen(safe))
		must(t, restored.close())
		must(t, r.load(random, 5, r.strongest()))
		must(t, r.close())
	}
}

// failSnapshot has a snapshot end without a file.
func failSnapshot(t *testing.T, r *rig) {
	t.Helper()
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Create && strings.Contains(op.Name, "/snapshot/") {
			return crashfs.ErrIO
		}
		return nil
	})
	ctx, cancel := patiently()
	defer cancel()
	if err := r.engine.Snapshot(ctx); !errors.Is(err, crashfs.ErrIO) {
		t.Fatalf("a snapshot without a file: %v", err)
	}
	r.disk.SetHook(nil)
}

// Goal: a backup beside moves has each partition once, and never an effect without its cause.
// Method: whoever reads the changes of one table sends an event to the other for each, and
// partitions move, all at once; the cut of one shard takes longer than that of the other; a
// backup is restored, and both are counted.
func TestABackupHoldsNoEffectWithoutItsCause(t *testing.T) {
	t.Parallel()
	o := small()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 40}
	o.SnapshotBytes = 1 << 30
	r := newRig(o, hashes["full"])
	must(t, r.open())
	r.disk.SetHook(func(op crashfs.Op) error {
		for n := 0; op.Kind == crashfs.Sync && strings.Contains(op.Name, "/shard-001/log/") && n < 2000; n++ {
			runtime.Gosched()
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	var acknowledged atomic.Uint64 // causes
	followed := make(chan struct{}, 1)
	var all sync.WaitGroup
	until := func(what func(n int) error) {
		all.Go(func() {
			for n := 0; ; n++ {
				if err := what(n); ctx.Err() != nil {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	until(func(n int) error { return r.engine.Move(ctx, n%o.Partitions, n/o.Partitions%o.Shards) })
	until(func(n int) error {
		_, err := r.tallies.Do(ctx, fmt.Sprint("key-", n%24), step{Number: uint64(n)})
		if err != nil {
			return err
		}
		acknowledged.Add(1)
		select { // the next one comes behind the effect of this one
		case <-followed:
		case <-ctx.Done():
		}
		return nil
	})
	changes, err := r.tallies.Changes(ctx, engine.Position{}, engine.ChangesOptions{})
	must(t, err)
	until(func(n int) error {
		_, err := changes.Next(ctx)
		if err == nil {
			_, err = r.notes.Do(ctx, fmt.Sprint("key-", n%24), step{Number: uint64(n)}, engine.Applied)
			followed <- struct{}{}
		}
		return err
	})
	for range 30 * *rounds {
		before := acknowledged.Load()
		var backup bytes.Buffer
		must(t, r.engine.Backup(t.Context(), &backup))
		if causes, effects := countRestored(t, r, backup.Bytes()); causes < before || effects > causes {
			t.Fatalf("%d causes, of which %d were acknowledged, and %d effects", causes, before, effects)
		}
	}
	stop()
	all.Wait()
	must(t, changes.Close())
	must(t, r.close())
}

// countRestored restores a backup, and counts the events of tallies and of notes in it.
func countRestored(t *testing.T, r *rig, backup []byte) (tallies, notes uint64) {
	t.Helper()
	restored := r.on(crashfs.New())
	must(t, restoreTo(r, restored.disk, backup))
	must(t, restored.open())
	states, err := restored.read()
	must(t, err)
	for _, partition := range states {
		for n, s := range partition {
			if n.notes {
				notes += s.Tally.Events
			} else {
				tallies += s.Tally.Events
			}
		}
	}
	must(t, restored.close())
	return tallies, notes
}

// goOn does something in a store that is backed up.
func goOn(r *rig, random *rand.Rand) error {
	switch random.IntN(4) {
	case 0:
		return snapshot(r)
	case 1:
		ctx, cancel := patiently()
		defer cancel()
		return r.engine.Move(ctx, random.IntN(r.options.Partitions), random.IntN(r.options.Shards))
	}
	return r.load(random, 3, r.strongest())
}

// Goal: a backup that is damaged or cut anywhere is refused, and leaves nothing; and so is
// a directory with something in it.
// Method: every byte of a small backup changed, every length of it.
func TestADamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	random := random(t)
	o := small()
	o.Shards = 2
	r := newRig(o, hashes["full"])
	must(t, r.open())
	must(t, r.load(random, 6, engine.Durable))
	must(t, snapshot(r))
	must(t, r.load(random, 3, engine.Durable))
	var backup bytes.Buffer
	must(t, r.engine.Backup(t.Context(), &backup))
	must(t, r.close())
	whole := backup.Bytes()
	for at := range whole {
		changed := bytes.Clone(whole)
		changed[at] ^= 1 << random.IntN(8)
		for _, bad := range [][]byte{changed, whole[:at]} {
			disk := crashfs.New()
			if err := restoreTo(r, disk, bad); !errors.Is(err, engine.ErrBackup) {
				t.Fatalf("byte %d of %d: %v", at, len(whole), err)
			}
			entries, err := disk.ReadDir("/store")
			must(t, err)
			if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "LOCK" {
				t.Fatalf("byte %d of %d: it leaves %v", at, len(whole), entries)
			}
		}
	}
	disk := crashfs.New()
	must(t, restoreTo(r, disk, append(bytes.Clone(whole), "what is behind it"...)))
	if err := restoreTo(r, disk, whole); err == nil || errors.Is(err, engine.ErrBackup) {
		t.Fatalf("over a store: %v", err)
	}
	disk = crashfs.New()
	must(t, fsys.MkdirAll(disk, "/store/photos", 0o700))
	if err := restoreTo(r, disk, whole); err == nil || !strings.Contains(err.Error(), `/store is not empty: there is "photos"`) {
		t.Fatalf("over something of the user's: %v", err)
	}
	t.Logf("%d bytes", len(whole))
}

// backedUp is a store of some events that was closed, and a backup of it.
func backedUp(t *testing.T, random *rand.Rand) (r *rig, backup []byte) {
	t.Helper()
	r = newRig(small(), hashes["full"])
	must(t, r.open())
	must(t, r.load(random, 20, engine.Durable))
	var b bytes.Buffer
	must(t, r.engine.Backup(t.Context(), &b))
	must(t, r.close())
	return r, b.Bytes()
}

// Goal: a crash during Restore leaves no store, and nothing that is taken for one.
func TestACrashDuringRestoreLeavesNoStore(t *testing.T) {
	t.Parallel()
	r, backup := backedUp(t, random(t))
	for stop := 0; ; stop++ {
		disk := crashfs.New()
		disk.StopAfter(stop)
		err := restoreTo(r, disk, backup)
		for _, model := range crashfs.Models(uint64(stop)) {
			again := r.on(disk.Crash(model))
			if _, statErr := again.disk.Lstat("/store/MANIFEST"); err != nil && errors.Is(statErr, os.ErrNotExist) {
				continue
			}
			must(t, again.reopen(safe)) // it is whole, or Restore would have failed
			must(t, again.abandon())
		}
		if err == nil {
			return
		}
	}
}

// Goal: a Restore that fails leaves the directory as it was, so that it can be done again.
// Method: each operation of the disk fails, once.
func TestARestoreThatFailsCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	r, backup := backedUp(t, random(t))
	for stop := 1; ; stop++ {
		disk := crashfs.New()
		disk.FailNth(crashfs.Any, stop, crashfs.ErrIO)
		err := restoreTo(r, disk, backup)
		if disk.Ops() < stop {
			must(t, err)
			return
		}
		if err != nil {
			if err := restoreTo(r, disk, backup); err != nil {
				t.Fatalf("operation %d failed, and then: %v", stop, err)
			}
		}
		again := r.on(disk)
		must(t, again.reopen(safe))
		must(t, again.abandon())
	}
}
