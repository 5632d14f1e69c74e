package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A variant is a way to run a store that must not show in its states.
type variant struct {
	shards   int
	sync     engine.SyncMode
	segment  int
	device   string // memory, library or direct
	snapshot bool
	crash    bool
}

func (v variant) String() string {
	return fmt.Sprintf("shards=%d/sync=%d/segment=%d/device=%s/snapshots=%v/crash=%v", v.shards, v.sync, v.segment, v.device, v.snapshot, v.crash)
}

// variants are all combinations in memory, and some on the disk.
func variants() []variant {
	var all []variant
	for i, shards := range []int{1, 2, 3, 8} {
		for j, sync := range []engine.SyncMode{engine.SyncAlways, engine.SyncInterval, engine.SyncNever} {
			for k, segment := range []int{4 << 10, 64 << 10} {
				for _, snapshots := range []bool{false, true} {
					all = append(all, variant{shards, sync, segment, "memory", snapshots, (i+j+k)%2 == 0})
				}
			}
			device := []string{"library", "direct"}[(i+j)%2]
			all = append(all, variant{shards, sync, []int{4 << 10, 64 << 10}[j%2], device, (i+j)%3 != 0, false})
		}
	}
	return all
}

// Goal: how a store is run does not show in what it holds.
// Method: the same events in every variant, through a close or a crash and another
// number of shards; the digests over all states are equal.
func TestTheSameEventsGiveTheSameStateHoweverTheStoreIsRun(t *testing.T) {
	t.Parallel()
	row := tries(t, "R14", "the same events in every variant: 1, 2, 3, 8 shards, ways of syncing, segments, devices, snapshots, crashes", "the same final states")
	seed := random(t).Uint64()
	digests := map[uint64]variant{}
	for _, v := range variants() {
		digest, err := v.run(t, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatalf("%v: %v", v, err)
		}
		if digests[digest] = v; len(digests) > 1 {
			t.Fatalf("the states differ: %v", digests)
		}
		row.Cycles++
		row.Checked += eventsEach
	}
}

// Goal: the same for many streams of events.
// Method: each is folded by three stores, with 1, 2 and 8 shards, that differ in whatever
// else can be chosen; other choices meet in each of them.
func TestManyStreamsGiveTheSameStateInThreeStoresEach(t *testing.T) {
	t.Parallel()
	row := tries(t, "R14", "the same events under 1, 2 and 8 shards, with other ways of syncing, segments, snapshots and crashes in each", "200 seeds, three stores each: the same final states")
	random := random(t)
	for range 50 * *rounds {
		seed, turn := random.Uint64(), random.IntN(3)
		var first uint64
		for i, shards := range []int{1, 2, 8} {
			v := variant{
				shards: shards, sync: []engine.SyncMode{engine.SyncAlways, engine.SyncInterval, engine.SyncNever}[(i+turn)%3],
				segment: []int{4 << 10, 64 << 10}[random.IntN(2)], device: "memory", snapshot: random.IntN(2) == 0, crash: random.IntN(3) > 0,
			}
			digest, err := v.run(t, rand.New(rand.NewPCG(seed, 0)))
			if err != nil {
				t.Fatalf("%v: %v", v, err)
			}
			if i == 0 {
				first = digest
			}
			if digest != first {
				t.Fatalf("seed %d: the states differ in %v", seed, v)
			}
			row.Checked += eventsEach
		}
		row.Cycles++
	}
}

// eventsEach is how many events a variant is sent.
const eventsEach = 240 + 60

func (v variant) run(t *testing.T, random *rand.Rand) (uint64, error) {
	o := small()
	o.Shards, o.Sync, o.SegmentBytes = v.shards, v.sync, v.segment
	if !v.snapshot {
		o.SnapshotBytes = 1 << 30
	}
	r := newRig(o, hashes["full"])
	if v.device != "memory" {
		r.dir = t.TempDir()
	}
	if v.device == "library" {
		r.options.Device = engine.DeviceLibrary
	}
	if err := r.open(); err != nil {
		return 0, err
	}
	for range 240 {
		if err := r.produce(randomEvent(random).key, randomStep(random), engine.Written); err != nil {
			return 0, err
		}
	}
	if v.crash {
		if err := errors.Join(r.flush(), r.crash(crashfs.Model{Data: crashfs.Kept}), r.reopen(kept)); err != nil {
			return 0, err
		}
	}
	if err := r.load(random, 60, engine.Written); err != nil {
		return 0, err
	}
	return v.digest(r)
}

// digest ends the store, opens it with another number of shards, and takes all states
// together.
func (v variant) digest(r *rig) (uint64, error) {
	err := r.flush()
	switch {
	case err != nil:
	case v.crash:
		err = r.crash(crashfs.Model{Data: crashfs.Kept})
	default:
		err = r.close()
	}
	if err != nil {
		return 0, err
	}
	r.options.Shards = 1 + v.shards%3
	if err := r.reopen(kept); err != nil {
		return 0, err
	}
	all, err := r.read()
	if err != nil {
		return 0, err
	}
	var lines []string
	for _, have := range all {
		for name, n := range have {
			lines = append(lines, fmt.Sprint(name, n))
		}
	}
	slices.Sort(lines)
	return xxh3.HashString(fmt.Sprint(lines)), r.close()
}
