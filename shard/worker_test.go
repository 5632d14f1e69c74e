package shard

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/snapshot"
)

// Goal: how many workers recover a shard makes no difference to what they find.
// Method: recover one directory, which has a snapshot, events that it holds and
// events behind it, with any number of workers.
func TestAnyNumberOfWorkersFindsTheSame(t *testing.T) {
	r := threeRounds(t)
	r.accept(adds("1b", 3*runOperations)...)
	r.ask(func(error) {})
	r.turn()
	r.send(Durable, add("3d"), add("1b")) // held by the snapshot, and in the log behind it
	r.settle()
	r.accept(adds("3d", 3*runOperations)...)
	portions(r)
	want := contents(r.owned)
	var first *Report
	for workers := range rigPartitions + 3 {
		disk := r.disk.Crash(crashfs.Model{})
		cfg := r.onDisk(disk)
		cfg.Workers = workers
		state, err := Recover(cfg, allPartitions(), nil)
		if err != nil {
			t.Fatal(err)
		}
		have := state.Report
		if have.Times.Workers != min(max(1, workers), rigPartitions) {
			t.Fatalf("%d workers were at work, of %d", have.Times.Workers, workers)
		}
		have.Duration, have.Times = 0, Times{}
		if first == nil {
			first = &have
		}
		if have.Keys != first.Keys || have.SnapshotKeys != first.SnapshotKeys || have.SnapshotBytes != first.SnapshotBytes ||
			have.Events != first.Events || have.Skipped != first.Skipped || have.LogBytes != first.LogBytes || have.Events == 0 || have.SnapshotKeys == 0 || have.Skipped == 0 {
			t.Fatalf("%d workers found %+v, one found %+v", workers, have, *first)
		}
		next := &rig{TB: t, disk: disk, time: r.time, next: r.next}
		if err := Resume(cfg, state); err != nil {
			t.Fatal(err)
		}
		if err := next.assume(cfg, state); err != nil {
			t.Fatal(err)
		}
		next.same("recovered", want)
	}
}

// Goal: a snapshot that is damaged where one worker reads is left out by all of them.
// Method: rot in the blocks of the last partition of the file, which the first worker
// never looks at; what the others have loaded already must not stay.
func TestDamageThatOneWorkerFindsCountsForAll(t *testing.T) {
	r := newRig(t)
	for range 2 {
		r.accept(add("0a"), add("3d"))
		r.snapshot()
	}
	want := contents(r.owned)
	disk := r.disk.Crash(crashfs.Model{})
	newest := r.log.current.Snapshots[1]
	path := r.cfg.snapshotPath(newest)
	file, err := snapshot.Open(disk, path, r.cfg.snapshotID(newest))
	if err != nil {
		t.Fatal(err)
	}
	last, ok := file.Partition(3)
	if err := file.Close(); err != nil || !ok {
		t.Fatal(last, err)
	}
	rot(t, disk, path, int64(last.Offset+last.Bytes-1))
	next, err := r.reopen(disk)
	if err != nil {
		t.Fatal(err)
	}
	next.same("fallen back", want)
	if w := next.state.Report.Warnings; len(w) != 1 || !strings.Contains(w[0], "partition 3") {
		t.Fatalf("warnings: %q", w)
	}
}

// portions accepts events of all partitions: more than the workers are given at once.
func portions(r *rig) {
	const eventBytes = 10 << 10
	for i := range (portionsMax + 2) * portionBytes / eventBytes {
		r.accept(ev{key: string(rune('0'+i%rigPartitions)) + "p", verb: verbAdd, pad: eventBytes})
	}
}

// Goal: a worker that gives up leaves neither the other nor the reading waiting, and the
// store not half recovered. Its error comes before that of damage further on. Method: a
// first event of either worker that cannot be replayed, and a frame that is rotten, with
// more between them than the workers are given at once.
func TestWorkerThatGivesUpEndsTheRecovery(t *testing.T) {
	for _, verb := range []byte{verbAdd, verbGoexitReplay, verbPanicReplay, verbRefuseReplay} {
		for _, key := range []string{"0a", "3d"} {
			r := newRig(t)
			r.accept(ev{key: key, verb: verb})
			portions(r)
			disk := r.disk.Crash(crashfs.Model{})
			dir := r.cfg.generationDir(r.log.current.last().Number)
			segments, err := disk.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			rot(t, disk, filepath.Join(dir, segments[len(segments)-3].Name()), 2000)
			var damage *CorruptError
			switch _, err = Recover(r.onDisk(disk), allPartitions(), nil); {
			case verb == verbAdd && !errors.As(err, &damage), verb != verbAdd && !errors.Is(err, errReplay):
				t.Fatalf("verb %c of %s: %v", verb, key, err)
			}
		}
	}
}
