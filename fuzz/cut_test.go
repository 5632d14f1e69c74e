package fuzz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a snapshot that is taken under load is a consistent cut of each partition: with
// the log behind it, it gives the fold of a prefix with everything acknowledged.
// Method: events for all partitions at once while each snapshot is taken; what a cut of
// the power, or of the process, would leave is opened, from the newest snapshot of each
// shard. More of them than asked for are taken until events have come while one was begun.
func TestASnapshotUnderLoadIsAConsistentCut(t *testing.T) {
	t.Parallel()
	row := tries(t, "R13", "a snapshot under load of all partitions, then a crash", "200 snapshots: with the log behind each, the state of the model; no warning")
	random := random(t)
	models := []crashfs.Model{{}, {Data: crashfs.Torn, Entries: true}, {Data: crashfs.Kept}}
	o := small()
	o.Partitions, o.SnapshotBytes = 64, 1<<30 // only when asked for
	r := newRig(o, hashes["full"])
	must(t, r.open())
	slow(r.disk)
	skipped := uint64(0)
	enough := 50 * *rounds
	for i := 0; i < enough || skipped == 0 && i < 20*enough; i++ {
		must(t, r.crowd(random.Uint64(), 3))
		model := models[i%len(models)]
		model.Seed = random.Uint64()
		again := r.on(r.disk.Left(model))
		must(t, again.reopen(floorOf(model)))
		for _, s := range again.engine.Recovery().Shards {
			if s.Snapshot == 0 {
				t.Errorf("shard %d was recovered without a snapshot", s.Shard)
			}
			skipped += s.Skipped
		}
		must(t, again.abandon())
		row.counted(again.oracle)
		if i%20 == 19 { // a new beginning, or the model grows longer than the test is
			must(t, r.close())
			r = newRig(o, hashes["full"])
			must(t, r.open())
			slow(r.disk)
		}
	}
	must(t, r.close())
	if skipped == 0 {
		t.Error("no event came between the beginning of a snapshot and the copy of its partition")
	}
	with, without, err := paceOfCalls(o, random)
	must(t, err)
	t.Logf("p99 of a call: %v while snapshots are taken, %v without, in memory and beside other tests", with, without)
	t.Logf("%d events were in the snapshot and in the log behind its beginning", skipped)
}

// paceOfCalls measures the p99 of calls that wait to be durable, with snapshots beside them
// and without, in turn. It is told and not held: other tests run at the same time, and
// bench has what a real disk does to it.
func paceOfCalls(o engine.Options, random *rand.Rand) (with, without time.Duration, err error) {
	r := newRig(o, hashes["full"])
	if err := r.open(); err != nil {
		return 0, 0, err
	}
	var took [2][]time.Duration
	for i := range 400 {
		beside := make(chan error, 1)
		if i%2 == 0 {
			go func() { beside <- r.engine.Snapshot(context.Background()) }()
		} else {
			beside <- nil
		}
		for range 5 {
			n := name{key: fmt.Sprint(random.IntN(64))}
			began := time.Now()
			err = errors.Join(err, r.do(n, step{Filler: filler(100, 1)}, engine.Durable))
			took[i%2] = append(took[i%2], time.Since(began))
		}
		if err = errors.Join(err, <-beside); err != nil {
			return 0, 0, err
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return took[0][len(took[0])*99/100], took[1][len(took[1])*99/100], r.close()
}
