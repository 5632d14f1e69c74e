package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

var salvageSeed = flag.Uint64("salvage.seed", 0, "seed of the damage of TestSalvageKeepsAPrefixOfEveryPartition; 0: a new one")

// A chained is the state of a key: how many events, and a hash over them in their order.
type chained struct{ Count, Chain uint64 }

func chains() *engine.Table[string, chained, uint64, uint64] {
	return engine.NewTable(engine.Spec[string, chained, uint64, uint64]{
		Name: "chains",
		Apply: func(c *engine.Context[string], s *chained, e uint64) uint64 {
			s.Count, s.Chain = s.Count+1, (s.Chain^e)*0x9e3779b97f4a7c15
			return c.Sequence()
		},
	})
}

// A wreckage is a store with two shards, two snapshots each, moved partitions and events
// behind, that ended in the middle of it, and what its keys have been.
type wreckage struct {
	*lab
	states map[string][]chained // of each key, by its events
}

func wreck(t *testing.T) *wreckage {
	t.Helper()
	table := chains()
	o := engine.Options{Shards: 2, Partitions: 8, SegmentBytes: 4 << 10, SnapshotBytes: 1 << 30}
	w := &wreckage{newLab(t, o, table), make(map[string][]chained)}
	n := uint64(0)
	send := func() {
		for range 60 {
			n++
			key := fmt.Sprint("key-", n%24)
			do(t, table, key, n)
			s, _, err := table.Get(context.Background(), key)
			must(t, err)
			w.states[key] = append(w.states[key], s)
		}
	}
	for round := range 2 {
		send()
		must(t, w.engine.Snapshot(context.Background()))
		must(t, w.engine.Move(context.Background(), round, 1-round%2))
	}
	send()
	w.die(crashfs.Kept)
	w.broken = true
	return w
}

// salvage makes a store in /new of what is left, and gives its keys.
func (w *wreckage) salvage(t *testing.T) (*engine.Salvaged, map[string]chained) {
	t.Helper()
	options := engine.VerifyOptions{Environment: &seam.Environment{FS: w.disk, Now: w.now.Load}}
	dry, err := engine.Salvage(context.Background(), "/store", "", options)
	must(t, err)
	found, err := engine.Salvage(context.Background(), "/store", "/new", options)
	must(t, err)
	if dry.Events != found.Events || len(dry.Losses) != len(found.Losses) {
		t.Errorf("it said %+v and did %+v", dry, found)
	}
	table := chains()
	e, err := engine.Open(context.Background(), "/new", engine.Options{Environment: options.Environment}, table)
	must(t, err)
	have := make(map[string]chained)
	for entry, err := range table.All(context.Background()) {
		must(t, err)
		have[entry.Key] = entry.State
	}
	do(t, table, "another", 1)
	must(t, e.Close())
	return found, have
}

// judge checks that every key has had a state that it had, and gives how many events are
// in them.
func (w *wreckage) judge(t *testing.T, have map[string]chained) (events uint64) {
	t.Helper()
	for key, s := range have {
		if s.Count == 0 || s.Count > uint64(len(w.states[key])) || w.states[key][s.Count-1] != s {
			t.Errorf("%s is %+v, which it never was", key, s)
		}
		events += s.Count
	}
	return events
}

func TestSalvageOfAWholeStoreLosesNothing(t *testing.T) {
	w := wreck(t)
	found, have := w.salvage(t)
	if events := w.judge(t, have); events != 180 || found.Events != 180 || found.Lost != 0 || len(found.Losses)+len(found.Notes) != 0 {
		t.Errorf("%d events, and it says %+v", events, found)
	}
}

// Goal: whatever is damaged, the new store opens, every partition holds a prefix of its
// events, the old store is as it was, and what is lost is said.
// Method: one to three files of the store, each with a bit flipped, cut, or gone.
func TestSalvageKeepsAPrefixOfEveryPartition(t *testing.T) {
	seed := *salvageSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("repeat with: go test ./engine -run '^%s$' -salvage.seed %d", t.Name(), seed)
	kept := uint64(0)
	const rounds = 40
	for range rounds {
		w := wreck(t)
		var what []string
		for range 1 + random.IntN(3) {
			what = append(what, w.harm(random))
		}
		v, err := w.look()
		must(t, err)
		before := treeOf(t, w.disk, "/store")
		found, have := w.salvage(t)
		events := w.judge(t, have)
		if events != found.Events || found.Events+found.Lost > 180 {
			t.Errorf("%v: %d events, and it says %+v", what, events, found)
		}
		if v.Refused() != nil && found.Events < 180 && len(found.Losses)+len(found.Notes) == 0 { // else it is a tear, to Open as well
			t.Errorf("%v: %d of 180 events are kept, and nothing is said", what, events)
		}
		if treeOf(t, w.disk, "/store") != before {
			t.Errorf("%v: the old store was changed", what)
		}
		kept += events
	}
	if kept < rounds*180/4 {
		t.Errorf("only %d of %d events were kept in all", kept, rounds*180)
	}
}

// harm damages a file other than the manifest.
func (w *wreckage) harm(random *rand.Rand) string {
	var names []string
	for name := range strings.SplitSeq(treeOf(w.tb, w.disk, "/store/layout-0001"), "\n") {
		if name, _, ok := strings.Cut(name, " "); ok {
			names = append(names, name)
		}
	}
	name := names[random.IntN(len(names))]
	switch random.IntN(3) {
	case 0:
		must(w.tb, w.disk.Remove(name))
		return name + " gone"
	case 1:
		w.edit(name, func(b []byte) []byte { return b[:random.IntN(len(b)+1)] })
		return name + " cut"
	}
	w.edit(name, func(b []byte) []byte {
		if len(b) > 0 {
			b[random.IntN(len(b))] ^= 1
		}
		return b
	})
	return name + " flipped"
}

// treeOf is a line for each file below dir: its name and a hash.
func treeOf(tb testing.TB, fs fsys.FS, dir string) string {
	tb.Helper()
	var b strings.Builder
	entries, err := fs.ReadDir(dir)
	must(tb, err)
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if entry.IsDir() {
			b.WriteString(treeOf(tb, fs, name))
		} else if entry.Name() != "LOCK" {
			data, err := fsys.ReadFile(fs, name, 1<<20)
			must(tb, err)
			fmt.Fprintf(&b, "%s %x\n", name, data)
		}
	}
	return b.String()
}

func TestSalvageWritesOnlyWhereNothingIs(t *testing.T) {
	w := wreck(t)
	options := engine.VerifyOptions{Environment: &seam.Environment{FS: w.disk, Now: w.now.Load}}
	must(t, w.disk.Mkdir("/there", 0o700))
	for _, to := range []string{"/there", "/store"} {
		if _, err := engine.Salvage(context.Background(), "/store", to, options); err == nil || !strings.Contains(err.Error(), "there already") {
			t.Errorf("%s: %v", to, err)
		}
	}
	w.edit("/store/MANIFEST", flip)
	if _, err := engine.Salvage(context.Background(), "/store", "/new", options); err == nil || !strings.Contains(err.Error(), "MANIFEST") {
		t.Errorf("without a manifest: %v", err)
	}
}
