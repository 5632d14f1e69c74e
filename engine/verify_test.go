package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// look verifies what is on the disk.
func (l *lab) look() (*engine.Verification, error) {
	return engine.Verify(context.Background(), "/store", engine.VerifyOptions{Environment: &seam.Environment{FS: l.disk, Hash: l.hash}})
}

// shelf makes a store of one shard with two snapshots and events behind them, that ended
// by the end of its process.
func shelf(t *testing.T) *lab {
	t.Helper()
	table := sums("sums")
	l := newLab(t, engine.Options{Shards: 1, Partitions: 4, SegmentBytes: 4 << 10}, table)
	for round := range 3 {
		for i := range 10 {
			do(t, table, fmt.Sprint("key-", i), int64(round))
		}
		if round < 2 {
			must(t, l.engine.Snapshot(context.Background()))
		}
	}
	l.die(crashfs.Kept)
	l.broken = true                                             // it is not opened again
	must(t, fsys.RemoveTree(l.disk, shelfShard+"log/00000001")) // which may have been under way
	return l
}

const shelfShard = "/store/layout-0001/shard-000/"

// newest is the last name in a directory of the shelf's shard, and oldest the first.
func (l *lab) newest(dir string) string { return l.listed(dir, true) }
func (l *lab) oldest(dir string) string { return l.listed(dir, false) }

func (l *lab) listed(dir string, last bool) string {
	entries, err := l.disk.ReadDir(path.Join(shelfShard, dir))
	must(l.tb, err)
	if last {
		slices.Reverse(entries)
	}
	return path.Join(shelfShard, dir, entries[0].Name())
}

// edit changes a file of the disk.
func (l *lab) edit(name string, how func([]byte) []byte) {
	l.tb.Helper()
	b, err := fsys.ReadFile(l.disk, name, 1<<20)
	must(l.tb, err)
	f, err := l.disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	must(l.tb, err)
	_, err = f.Write(how(slices.Clone(b)))
	must(l.tb, errors.Join(err, f.Close()))
}

func flip(b []byte) []byte { b[len(b)/3] ^= 4; return b }

// early changes a frame that a later one vouches for.
func early(b []byte) []byte { b[300] ^= 4; return b }

func TestVerifySaysWhatIsInAStore(t *testing.T) {
	l := shelf(t)
	v, err := l.look()
	must(t, err)
	if len(v.Faults) != 0 || !v.Whole() || v.Refused() != nil || !v.Locked || !v.Ready || len(v.Store) != 32 || v.Partitions != 4 || v.Layout != 1 {
		t.Errorf("%+v", v)
	}
	table, shard := v.Tables[0], v.Shards[0]
	if table.Name != "sums" || table.Key != "string" || table.Keys != 10 || table.Events != 10 {
		t.Errorf("%+v", table)
	}
	if shard.Partitions != 4 || shard.Last != 30 || shard.Clean || len(shard.Snapshots) != 2 || shard.Snapshot != shard.Snapshots[1].Number ||
		shard.Snapshots[0].Entries != 10 || !shard.Snapshots[1].Whole || shard.Snapshots[1].Bytes == 0 {
		t.Errorf("%+v", shard)
	}
	events := uint64(0)
	for _, g := range shard.Generations {
		events += g.Events
		if g.Needed != (g.Number >= shard.Snapshot) || g.Bytes == 0 || g.Frames == 0 || g.First.IsZero() || g.Last.Before(g.First) {
			t.Errorf("%+v", g)
		}
	}
	if events != 20 {
		t.Errorf("the logs have %d events, want those behind the older snapshot", events)
	}
	l.open()
	must(t, l.engine.Close())
	if v, err = l.look(); err != nil || !v.Shards[0].Clean || v.Tables[0].Events != 0 {
		t.Errorf("after it was closed: %+v, %v", v, err)
	}
}

// Goal: each kind of damage gets the meaning that it has for Open. That Open then does so
// is tried in package fuzz, with every other damage.
func TestFaultsHaveTheMeaningThatTheyHaveForOpen(t *testing.T) {
	for what, c := range map[string]struct {
		damage func(l *lab)
		want   engine.Meaning
		path   func(l *lab) string
	}{
		"the older snapshot": {
			func(l *lab) { l.edit(l.oldest("snapshot"), flip) }, engine.MeaningSpare, func(l *lab) string { return l.oldest("snapshot") }},
		"the older log": {
			func(l *lab) { must(l.tb, fsys.RemoveTree(l.disk, l.oldest("log"))) }, engine.MeaningSpare, nil},
		"the newer snapshot": {
			func(l *lab) { l.edit(l.newest("snapshot"), flip) }, engine.LeftOut, func(l *lab) string { return l.newest("snapshot") }},
		"the log": {
			func(l *lab) { l.edit(l.newest("log")+"/00000000000000000001", early) }, engine.MeaningRefused, func(l *lab) string { return l.newest("log") + "/00000000000000000001" }},
		"the end of the log": {
			func(l *lab) {
				l.edit(l.newest("log")+"/00000000000000000001", func(b []byte) []byte { return append([]byte(strings.TrimRight(string(b), "\x00")), 1, 2, 3) })
			}, engine.MeaningTear, func(l *lab) string { return l.newest("log") + "/00000000000000000001" }},
		"CURRENT": {
			func(l *lab) { l.edit(shelfShard+"CURRENT", flip) }, engine.MeaningRefused, func(*lab) string { return shelfShard + "CURRENT" }},
		"the manifest": {
			func(l *lab) { l.edit("/store/MANIFEST", flip) }, engine.MeaningRefused, func(*lab) string { return "/store/MANIFEST" }},
		"no manifest": {
			func(l *lab) { must(l.tb, l.disk.Remove("/store/MANIFEST")) }, engine.MeaningRefused, func(*lab) string { return "/store/MANIFEST" }},
		"no shard": {
			func(l *lab) { must(l.tb, fsys.RemoveTree(l.disk, shelfShard)) }, engine.MeaningRefused, func(*lab) string { return shelfShard + "CURRENT" }},
		"a stray snapshot": {
			func(l *lab) { must(l.tb, l.disk.Mkdir(shelfShard+"snapshot/00000099.snap", 0o700)) }, engine.Superfluous, func(*lab) string { return shelfShard + "snapshot/00000099.snap" }},
		"a stray layout": {
			func(l *lab) { must(l.tb, l.disk.Mkdir("/store/layout-0009", 0o700)) }, engine.Superfluous, func(*lab) string { return "/store/layout-0009" }},
	} {
		l := shelf(t)
		at := ""
		if c.path != nil {
			at = c.path(l)
		}
		c.damage(l)
		v, err := l.look()
		if err != nil || len(v.Faults) != 1 || v.Faults[0].Meaning != c.want || at != "" && path.Join("/store", v.Faults[0].Path) != at {
			t.Errorf("%s: %v, want %v at %s: %v", what, v, c.want, at, err)
			continue
		}
		f := v.Faults[0]
		if (v.Refused() != nil) != (c.want == engine.MeaningRefused) || v.Whole() != (c.want >= engine.MeaningTear) || f.Text == "" || f.Consequence() == "" {
			t.Errorf("%s: whole %v, refused %v, %v", what, v.Whole(), v.Refused(), &f)
		}
		if c.want == engine.MeaningTear && (f.Bytes != 3 || f.Offset == 0 || f.Sequence == 0) {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

// One fault does not hide another, as it does for Open.
func TestVerifyFindsEveryFault(t *testing.T) {
	l := shelf(t)
	l.edit(l.newest("snapshot"), flip)
	l.edit(l.oldest("snapshot"), flip)
	l.edit(l.newest("log")+"/00000000000000000001", early)
	must(t, fsys.RemoveTree(l.disk, l.oldest("log")))
	v, err := l.look()
	must(t, err)
	if len(v.Faults) != 4 || v.Refused() == nil {
		t.Errorf("%d faults, want 4: %+v", len(v.Faults), v.Faults)
	}
}

func TestVerifySaysThatThereIsNoStoreOrWhoHasIt(t *testing.T) {
	l := newLab(t, smallStore(), sums("sums"))
	if _, err := l.look(); !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("an open store: %v", err)
	}
	for _, dir := range []string{"/", "/nowhere", "/store/MANIFEST", "/store/layout-0001"} {
		_, err := engine.Verify(context.Background(), dir, engine.VerifyOptions{Environment: &seam.Environment{FS: l.disk}})
		if !errors.Is(err, engine.ErrNoStore) {
			t.Errorf("%s: %v", dir, err)
		}
		if dir == "/" && !strings.Contains(err.Error(), "/store") {
			t.Errorf("it does not say that there is one below: %v", err)
		}
	}
	must(t, l.engine.Close())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := engine.Verify(ctx, "/store", engine.VerifyOptions{Environment: &seam.Environment{FS: l.disk}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is over: %v", err)
	}
}

// An engine does not come in while somebody looks, if there is a lock; without one it is
// noticed.
func TestVerifyKeepsEnginesOutOrNoticesThem(t *testing.T) {
	l := shelf(t)
	for _, locked := range []bool{true, false} {
		if !locked {
			must(t, l.disk.Remove("/store/LOCK"))
		}
		var opened error
		tried := false
		l.disk.SetHook(func(op crashfs.Op) error {
			if op.Kind == crashfs.Read && !tried {
				tried = true
				var e *engine.Engine
				if e, opened = l.tryOpen(l.options, sums("sums")); opened == nil {
					opened = e.Close()
				}
			}
			return nil
		})
		_, err := l.look()
		l.disk.SetHook(nil)
		if errors.Is(opened, engine.ErrLocked) != locked || (err == nil) != locked {
			t.Errorf("locked %v: Open said %v, Verify %v", locked, opened, err)
		}
	}
}

// A store that a crash has left half created can be made again, whatever is there.
func TestVerifyOfAStoreThatWasBeingCreated(t *testing.T) {
	for n := 0; ; n++ {
		l := &lab{tb: t, disk: crashfs.New()}
		l.disk.StopAfter(n)
		e, err := l.tryOpen(smallStore(), sums("sums"))
		l.die0(crashfs.Kept, e)
		if err == nil {
			return
		}
		v, err := l.look()
		if err != nil && !errors.Is(err, engine.ErrNoStore) || err == nil && v.Refused() != nil {
			t.Fatalf("after %d operations: %v, %v", n, v, err)
		}
	}
}

// Goal: Verify takes no store that Open refuses because of its lock file.
func TestVerifyRefusesALockThatOpenCannotTake(t *testing.T) {
	table := counters("t")
	for what, plant := range map[string]func(string) error{
		"a link":      func(name string) error { return os.Symlink("elsewhere", name) },
		"a directory": func(name string) error { return os.Mkdir(name, 0o700) },
	} {
		dir := t.TempDir()
		eng, err := engine.Open(t.Context(), dir, engine.Options{Shards: 1, Partitions: 4}, table)
		must(t, err)
		must(t, eng.Close())
		name := filepath.Join(dir, "LOCK")
		must(t, os.Remove(name))
		must(t, plant(name))
		if _, err := engine.Open(t.Context(), dir, engine.Options{}, table); err == nil {
			t.Fatalf("opened with %s", what)
		}
		if v, err := engine.Verify(t.Context(), dir, engine.VerifyOptions{}); err == nil {
			t.Errorf("verified with %s: %+v", what, v)
		}
	}
}
