package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/seam"
)

// inspector begins to look into what is on the disk.
func (l *lab) inspector() *engine.Inspector {
	l.tb.Helper()
	i, err := engine.Inspect("/store", engine.VerifyOptions{Environment: &seam.Environment{FS: l.disk, Hash: l.hash}})
	must(l.tb, err)
	return i
}

type place struct {
	Row  uint16
	Name string
}

type holder struct {
	Text  string
	Parts [2]int32
}

// TestInspectShowsWhatGetShows: states of a closed store, by layout alone, are those that
// the program sees: with and without pointers, by codec, with keys of all kinds.
func TestInspectShowsWhatGetShows(t *testing.T) {
	ctx := context.Background()
	plain, places := sums("plain"), engine.Fold("places", func(_ *engine.Context[place], s *holder, e int32) {
		s.Text, s.Parts[1] = s.Text+"x", s.Parts[1]+e
	})
	coded := engine.NewTable(engine.Spec[uint64, int64, int64, struct{}]{
		Name: "coded", StateCodec: coding{}, Apply: func(_ *engine.Context[uint64], s *int64, e int64) struct{} { *s += e; return struct{}{} },
	})
	l := newLab(t, smallStore(), plain, places, coded)
	for i := range 40 {
		do(t, plain, fmt.Sprintf("key-%d", i), int64(i))
		do(t, places, place{uint16(i), "n"}, int32(-i))
		do(t, coded, uint64(i), int64(i))
	}
	want := make(map[string]string)
	for e, err := range plain.All(ctx) {
		must(t, err)
		want["plain "+asJSON(t, e.Key)] = asJSON(t, e.State)
	}
	for e, err := range places.All(ctx) {
		must(t, err)
		want["places "+asJSON(t, e.Key)] = asJSON(t, e.State)
	}
	for i := range 40 {
		want["coded "+asJSON(t, i)] = fmt.Sprintf(`{"codec":"text/1","hex":"%x"}`, fmt.Sprint(i))
	}
	must(t, l.engine.Close())
	i := l.inspector()
	defer func() { must(t, i.Close()) }()
	have := 0
	for _, table := range i.Tables() {
		found, err := i.Keys(ctx, table, "", 0)
		must(t, err)
		if found.Snapshot != 40 || found.Events != 0 || len(found.Found) != 40 {
			t.Errorf("%s: %d of %d keys, %d events", table, len(found.Found), found.Snapshot, found.Events)
		}
		for _, k := range found.Found {
			have++
			if state := want[table+" "+string(k.Key)]; state != string(k.State) {
				t.Errorf("%s %s: %s, want %s", table, k.Key, k.State, state)
			}
		}
		if found, err = i.Keys(ctx, table, "", 7); err != nil || len(found.Found) != 7 {
			t.Errorf("%s: %d keys, want 7: %v", table, len(found.Found), err)
		}
	}
	for _, c := range []struct{ table, key string }{{"plain", "key-3"}, {"plain", `"key-3"`}, {"places", `{"Row": 3, "Name": "n"}`}, {"coded", "3"}} {
		if found, err := i.Keys(ctx, c.table, c.key, 0); err != nil || len(found.Found) != 1 {
			t.Errorf("%s %s: %v, %v", c.table, c.key, found, err)
		}
	}
	if have != len(want) {
		t.Errorf("%d keys, want %d", have, len(want))
	}
	if _, err := i.Keys(ctx, "other", "", 0); err == nil || !strings.Contains(err.Error(), "plain, places, coded") {
		t.Errorf("a table that is not there: %v", err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// coding encodes a number as text.
type coding struct{}

func (coding) Name() string                               { return "text/1" }
func (coding) Append(dst []byte, v int64) ([]byte, error) { return fmt.Append(dst, v), nil }
func (coding) Decode(src []byte, v *int64) error          { _, err := fmt.Sscan(string(src), v); return err }

// TestInspectNumbersEventsAsTheirPartitionsDo: the log names each event once, with the
// sequence that Apply saw, also across generations, crashes and moves of a partition.
func TestInspectNumbersEventsAsTheirPartitionsDo(t *testing.T) {
	ctx := context.Background()
	table := engine.NewTable(engine.Spec[string, int64, int64, uint64]{
		Name:  "numbers",
		Apply: func(c *engine.Context[string], s *int64, e int64) uint64 { *s += e; return c.Sequence() },
	})
	o := smallStore()
	o.Partitions, o.SnapshotBytes = 4, 1<<30
	l := newLab(t, o, table)
	want := make(map[string]uint64) // sequence of each event
	send := func(from, to int64) {
		for i := from; i < to; i++ {
			key := fmt.Sprint("key-", i%16)
			want[fmt.Sprintf("%q %d", key, i)] = do(t, table, key, i)
		}
	}
	send(0, 50)
	for p := range 4 {
		for to := range 2 {
			must(t, l.engine.Move(ctx, p, to))
			send(50+10*int64(p)+5*int64(to), 55+10*int64(p)+5*int64(to))
		}
	}
	l.die(0)
	l.open()
	send(90, 130)
	l.die(0)
	l.broken = true
	i := l.inspector()
	defer func() { must(t, i.Close()) }()
	seen, commits := make(map[string]bool), 0
	for e, err := range i.Log(ctx, "", "") {
		must(t, err)
		if e.Kind != "event" {
			commits++
			continue
		}
		name := fmt.Sprintf("%s %s", e.Key, e.Event)
		if seen[name] || want[name] != e.Sequence || e.Table != "numbers" || e.Time.IsZero() {
			t.Errorf("%s: sequence %d, want %d; there before: %v", name, e.Sequence, want[name], seen[name])
		}
		seen[name] = true
	}
	if len(seen) != len(want) || commits < 8 {
		t.Errorf("%d events, want %d; %d records of adoptions", len(seen), len(want), commits)
	}
	of := 0
	for e, err := range i.Log(ctx, "numbers", "key-5") {
		must(t, err)
		if of++; string(e.Key) != `"key-5"` {
			t.Errorf("an event of %s", e.Key)
		}
	}
	if of != 8 {
		t.Errorf("%d events of key-5, want 8", of)
	}
}

// TestInspectReadsStoresOfOlderFormats: without types, as with them.
func TestInspectReadsStoresOfOlderFormats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	must(t, os.CopyFS(dir, os.DirFS("testdata/store-1")))
	must(t, os.Chmod(dir, 0o700)) // a checkout may let others write
	v, err := engine.Verify(context.Background(), dir, engine.VerifyOptions{})
	must(t, err)
	if v.Format != 1 || v.Locked || !v.Whole() || len(v.Tables) != 5 || v.Tables[0].Events == 0 {
		t.Errorf("%+v", v)
	}
	i, err := engine.Inspect(dir, engine.VerifyOptions{})
	must(t, err)
	for _, table := range i.Tables() {
		found, err := i.Keys(context.Background(), table, "", 0)
		if err != nil || len(found.Found) == 0 {
			t.Errorf("%s: %v, %v", table, found, err)
		}
	}
	for _, err := range i.Log(context.Background(), "", "") {
		must(t, err)
	}
	must(t, i.Close())
}

// TestInspectPassesOverClocks: a log of a table with timers has records that are of no
// key, and firings that have no event.
func TestInspectPassesOverClocks(t *testing.T) {
	table := engine.NewTable(engine.Spec[string, int64, int64, struct{}]{
		Name: "timed",
		Apply: func(c *engine.Context[string], s *int64, e int64) struct{} {
			*s += e
			c.SetTimer(c.Now())
			return struct{}{}
		},
		OnTimer: func(_ *engine.Context[string], s *int64) { *s = 0 },
	})
	l := newLab(t, smallStore(), table)
	for i := range int64(3) {
		do(t, table, "a", i)
		l.now.Add(1e9)
		must(t, l.moved(t.Context()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = l.engine.Shutdown(ctx) // without a snapshot
	i := l.inspector()
	defer func() { must(t, i.Close()) }()
	stamps := make(map[string]int)
	for e, err := range i.Log(context.Background(), "", "") {
		must(t, err)
		stamps[e.Kind+" "+e.Stamp]++
	}
	if stamps["event "] == 0 || stamps["event timer"] == 0 || len(stamps) != 2 {
		t.Errorf("%v", stamps)
	}
	if v, err := l.look(); err == nil {
		t.Errorf("there are two who look: %+v", v)
	}
}
