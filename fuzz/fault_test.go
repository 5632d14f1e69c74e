package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// kinds are what may fail: all that the engine asks of a disk.
var kinds = []crashfs.Kind{
	crashfs.Create, crashfs.Mkdir, crashfs.Rename, crashfs.Remove, crashfs.SyncDir, crashfs.Write, crashfs.Sync, crashfs.Truncate, crashfs.Reserve,
	crashfs.Lock, crashfs.Open, crashfs.Read, crashfs.Size, crashfs.ReadDir, crashfs.Lstat, crashfs.Free, crashfs.Evict, crashfs.Close,
}

// faultsOf are the ways in which an operation of a kind may fail.
func faultsOf(kind crashfs.Kind) map[string]error {
	all := map[string]error{"EIO": crashfs.ErrIO}
	switch kind {
	case crashfs.Create, crashfs.Mkdir, crashfs.Rename, crashfs.SyncDir, crashfs.Truncate, crashfs.Reserve:
		all["ENOSPC"] = crashfs.ErrFull
	case crashfs.Write:
		all["ENOSPC"], all["short write"] = crashfs.ErrFull, crashfs.ShortWrite(11, crashfs.ErrFull)
	case crashfs.Sync:
		all["ENOSPC"] = crashfs.ErrFull
	}
	return all
}

// A fate has the nth operation of a kind fail, once.
type fate struct {
	kind crashfs.Kind
	n    int
	err  error

	mu   sync.Mutex // guards what is below
	seen map[crashfs.Kind]int
	hit  string // the name of the file that it failed for; "" as long as none did
}

// strike is the hook of the disk.
func (f *fate) strike(op crashfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[crashfs.Kind]int{}
	}
	f.seen[op.Kind]++
	if op.Kind != f.kind || f.seen[op.Kind] != f.n {
		return nil
	}
	f.hit = op.Name
	return f.err
}

// struck is the file that the operation failed for, "" if none did yet.
func (f *fate) struck() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// poisoned is the shard whose log has failed, or -1. A write without room may have been
// one of zeros ahead of the frames, which promises nothing.
func (f *fate) poisoned() int {
	shard, inLog := -1, false
	hit := f.struck()
	if f.kind == crashfs.Sync || f.kind == crashfs.Write && !errors.Is(f.err, fsys.ErrNoSpace) {
		if _, rest, found := strings.Cut(hit, "/shard-"); found {
			number, of, _ := strings.Cut(rest, "/")
			inLog = strings.HasPrefix(of, "log/")
			shard, _ = strconv.Atoi(number)
		}
	}
	if !inLog {
		return -1
	}
	return shard
}

// A fated run is a store with two shards whose disk fails once.
type fated struct {
	*rig
	fate   fate
	failed int // the shard that has failed, or -1
}

func newFated(kind crashfs.Kind, n int, err error) *fated {
	f := &fated{rig: newRig(small(), hashes["full"]), fate: fate{kind: kind, n: n, err: err}, failed: -1}
	f.disk.SetHook(f.fate.strike)
	return f
}

// shardOf is where a partition lies in a new store with two shards.
func (f *fated) shardOf(partition int) int { return partition * 2 / f.options.Partitions }

// groupCommits is how many events a fated store is sent one by one, so that each has a
// group commit of its own, nearly.
const groupCommits = 200

// live carries out the script. An error that the fault does not excuse is a violation.
func (f *fated) live(random *rand.Rand) error {
	if f.open() != nil {
		f.engine = nil
		return nil // refused; nothing was acknowledged
	}
	for i := range groupCommits {
		if err := f.tryOne(random); err != nil {
			return err
		}
		if i%80 == 50 {
			if err := f.trySnapshot(); err != nil {
				return err
			}
		}
	}
	if err := f.tryProducer(random); err != nil {
		return err
	}
	return nil
}

// tryOne sends an event. A failed shard acknowledges nothing, the other one goes on.
func (f *fated) tryOne(random *rand.Rand) error {
	n, ack := randomEvent(random), engine.Ack(random.IntN(2))
	shard := f.shardOf(f.partition(n.key))
	poisoned := f.fate.poisoned()
	err := f.do(n, step{Filler: filler(random.IntN(200), random.Uint64())}, ack)
	var failed *engine.FailedError
	switch {
	case errors.As(err, &failed):
		return f.fail(failed.Shard, shard)
	case err == nil && f.failed == shard:
		return violated("shard %d acknowledges an event after it has failed", shard)
	case err == nil && ack == engine.Durable && poisoned == shard:
		return violated("shard %d acknowledges an event as durable, but its log has failed before", shard)
	case err != nil && !errors.Is(err, engine.ErrReadOnly):
		return violated("an event was refused: %w", err)
	}
	return f.readAll(shard, n.key)
}

// fail notes the failure of a shard, which must be that of the event, and no second.
func (f *fated) fail(failed, shard int) error {
	if failed != shard || f.failed >= 0 && f.failed != failed {
		return violated("shard %d has failed for an event of shard %d; before that, shard %d", failed, shard, f.failed)
	}
	f.failed = failed
	return nil
}

// readAll wants reads of the shard to do as its events do.
func (f *fated) readAll(shard int, key string) error {
	ctx, cancel := patiently()
	defer cancel()
	_, _, err := f.tallies.Get(ctx, key)
	if err != nil && !errors.Is(err, engine.ErrShardFailed) {
		return violated("a read: %w", mustNotHang(err))
	}
	if err != nil {
		return f.fail(shard, shard)
	}
	return nil
}

// trySnapshot asks for a snapshot, which may fail: that of itself fails no shard.
func (f *fated) trySnapshot() error {
	var v violation
	if err := snapshot(f.rig); errors.As(err, &v) {
		return err
	}
	return nil
}

// tryProducer sends events to both shards. What a failed shard was sent comes back.
func (f *fated) tryProducer(random *rand.Rand) error {
	err := burst(f.rig, random, 40)
	var v violation
	var failed *engine.FailedError
	switch {
	case errors.As(err, &v):
		return err
	case errors.As(err, &failed):
		return f.fail(failed.Shard, failed.Shard)
	case err == nil && f.failed >= 0:
		return violated("a producer's events were all acknowledged, but shard %d has failed", f.failed)
	}
	return nil
}

// Goal: an operation of the disk that fails once fails its shard at most: that one
// acknowledges nothing more, the other one goes on, nothing hangs or panics, and what
// was acknowledged is there when the store is opened again.
// Method: one script; each operation of each kind in turn fails in each of the ways, of
// the more frequent ones a sample, and with more rounds all of them.
func TestADiskThatFailsOnceCostsOneShardAndNoEvent(t *testing.T) {
	t.Parallel()
	row := tries(t, "R6", "the N-th create, write, sync, rename, remove, sync of a directory or any other operation fails once, with EIO, ENOSPC or after half a write, in a run of 200 group commits",
		"every N of every kind: no ack of that shard behind the error, the other one goes on, 0 acknowledged lost")
	random := random(t)
	seed := random.Uint64()
	seen := calmly(t, seed)
	for _, kind := range kinds {
		for what, fault := range faultsOf(kind) {
			if err := failEach(row, kind, fault, stride(seen[kind], 7), random, seed); err != nil {
				t.Fatalf("%s of %s: %v", what, kind, err)
			}
		}
	}
	t.Logf("with operations: %v", seen)
}

// Goal: a failed sync is never tried again. The kernel may have dropped the pages and
// marked them clean, so that the next sync succeeds without having written them.
// Method: the same script; each sync in turn does just that.
func TestASyncThatFailsOnceAndDropsItsPagesIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	row := tries(t, "R7", "the N-th sync fails once with EIO or ENOSPC and drops its pages, all later ones succeed, in a run of 200 group commits",
		"every N: the shard fails within the same commit, the other one goes on, 0 acknowledged lost")
	random := random(t)
	seed := random.Uint64()
	step := stride(calmly(t, seed)[crashfs.Sync], 40)
	for _, fault := range []error{crashfs.ErrIO, crashfs.ErrFull} {
		must(t, failEach(row, crashfs.Sync, crashfs.DropDirty(fault), step, random, seed))
	}
}

// calmly counts the operations of the script on a disk that fails nothing.
func calmly(t *testing.T, seed uint64) map[crashfs.Kind]int {
	t.Helper()
	calm := newFated(crashfs.Any, 0, nil)
	must(t, calm.survive(nil, rand.New(rand.NewPCG(seed, 0))))
	return calm.fate.seen
}

// failEach has every operation of a kind fail, or every step-th.
func failEach(row *row, kind crashfs.Kind, fault error, step int, random *rand.Rand, seed uint64) error {
	for at := 1 + random.IntN(step); ; at += step {
		f := newFated(kind, at, fault)
		if err := f.survive(row, rand.New(rand.NewPCG(seed, 0))); err != nil {
			return fmt.Errorf("number %d, for %s: %w", at, f.fate.struck(), err)
		}
		if f.fate.struck() == "" {
			return nil
		}
	}
}

// survive lives, ends the engine in order or not, and opens the store again.
func (f *fated) survive(row *row, random *rand.Rand) error {
	if err := f.live(random); err != nil {
		return err
	}
	ops := f.disk.Ops()
	if err := f.abandon(); err != nil { // a Close, on a disk that works again
		return err
	}
	for _, model := range []crashfs.Model{{Data: crashfs.Kept}, {}} {
		again := f.on(f.disk.Crash(model))
		if err := again.reopen(safe); err != nil {
			return fmt.Errorf("%v, after %d operations: %w", model, ops, err)
		}
		if row != nil {
			row.counted(again.oracle)
		}
		if err := again.abandon(); err != nil {
			return err
		}
	}
	return nil
}
