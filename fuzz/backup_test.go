package fuzz

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
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
// that was acknowledged before it began, and the restored store goes on from there.
// Method: events, snapshots and moves at every piece that is written; what is restored is
// crashed at once.
func TestABackupUnderLoadHoldsEverythingAcknowledged(t *testing.T) {
	t.Parallel()
	random := random(t)
	for round := range 12 * *rounds {
		o := small()
		o.Shards, o.Rebalance = 1+random.IntN(3), engine.RebalanceOff
		r := newRig(o, hashes["full"])
		r.keeping()
		must(t, r.open())
		for range random.IntN(4) {
			must(t, r.load(random, 30, engine.Durable))
			must(t, snapshot(r))
		}
		must(t, r.load(random, 30, engine.Applied))
		must(t, r.load(random, 10, engine.Durable))
		must(t, r.witnessed())
		before := r.oracle.clone()
		busy := &busyBuffer{do: func() error { return goOn(r, random) }}
		must(t, r.engine.Backup(t.Context(), busy))
		disk := crashfs.New()
		must(t, restoreTo(r, disk, busy.Bytes()))
		restored := r.on(disk)
		restored.witness = nil // positions are of another life
		for i := range restored.oracle.lines {
			restored.oracle.lines[i].safe = before.lines[i].safe
		}
		must(t, restored.crash(crashfs.Model{Data: crashfs.Lost, Entries: true, Seed: uint64(round)}))
		must(t, restored.reopen(safe))
		if _, err := restored.tallies.Changes(t.Context(), r.witness.tallies, engine.ChangesOptions{}); !errors.Is(err, engine.ErrPosition) {
			t.Fatalf("a position of the former life: %v", err)
		}
		must(t, restored.load(random, 10, engine.Durable))
		must(t, restored.crash(crashfs.Model{Data: crashfs.Torn, Seed: uint64(round)}))
		must(t, restored.reopen(safe))
		must(t, restored.close())
		must(t, r.load(random, 5, engine.Durable))
		must(t, r.close())
	}
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
	return r.load(random, 3, engine.Durable)
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
	t.Logf("%d bytes", len(whole))
}

// Goal: a crash during Restore leaves no store, and nothing that is taken for one.
func TestACrashDuringRestoreLeavesNoStore(t *testing.T) {
	t.Parallel()
	random := random(t)
	r := newRig(small(), hashes["full"])
	must(t, r.open())
	must(t, r.load(random, 20, engine.Durable))
	var backup bytes.Buffer
	must(t, r.engine.Backup(t.Context(), &backup))
	must(t, r.close())
	for stop := 0; ; stop++ {
		disk := crashfs.New()
		disk.StopAfter(stop)
		err := restoreTo(r, disk, backup.Bytes())
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
	random := random(t)
	r := newRig(small(), hashes["full"])
	must(t, r.open())
	must(t, r.load(random, 20, engine.Durable))
	var backup bytes.Buffer
	must(t, r.engine.Backup(t.Context(), &backup))
	must(t, r.close())
	for stop := 1; ; stop++ {
		disk := crashfs.New()
		disk.FailNth(crashfs.Any, stop, crashfs.ErrIO)
		err := restoreTo(r, disk, backup.Bytes())
		if disk.Ops() < stop {
			must(t, err)
			return
		}
		if err != nil {
			if err := restoreTo(r, disk, backup.Bytes()); err != nil {
				t.Fatalf("operation %d failed, and then: %v", stop, err)
			}
		}
		again := r.on(disk)
		must(t, again.reopen(safe))
		must(t, again.abandon())
	}
}
