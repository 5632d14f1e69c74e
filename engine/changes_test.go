package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// counts folds changes by key.
type counts map[string]int64

// readOn folds what is durable behind from into c.
func (c counts) readOn(tb testing.TB, table *engine.Table[string, int64, int64, int64], from engine.Position, o engine.ChangesOptions) (engine.Position, uint64, error) {
	tb.Helper()
	o.Stop = true
	changes, err := table.Changes(context.Background(), from, o)
	must(tb, err)
	defer changes.Close()
	for change, err := range changes.All(context.Background()) {
		if err != nil {
			return changes.Position(), changes.Skipped(), err
		}
		c[change.Key] += change.Event
	}
	return changes.Position(), changes.Skipped(), nil
}

// now is the state of each key.
func now(tb testing.TB, table *engine.Table[string, int64, int64, int64]) counts {
	tb.Helper()
	c := make(counts)
	for e, err := range table.All(context.Background()) {
		must(tb, err)
		c[e.Key] = e.State
	}
	return c
}

func addSome(tb testing.TB, table *engine.Table[string, int64, int64, int64], n int) {
	tb.Helper()
	for i := range n {
		_, err := table.Do(context.Background(), fmt.Sprintf("key-%d", i%17), int64(i+1))
		must(tb, err)
	}
}

func TestAReaderWaitsForChangesAndIsWoken(t *testing.T) {
	table := counters("counts")
	l := newLab(t, smallStore(), table)
	changes, err := table.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{})
	must(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := changes.Next(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("with a context that has ended: %v", err)
	}
	got := make(chan engine.Change[string, int64])
	closed := make(chan error)
	go func() {
		for {
			change, err := changes.Next(context.Background())
			if err != nil {
				closed <- err
				return
			}
			got <- change
		}
	}()
	for i := range int64(20) {
		if i == 10 {
			must(t, l.engine.Resize(t.Context(), 3)) // and the reader waits for the new shard, too
		}
		_, err := table.Do(t.Context(), fmt.Sprint("key-", i), i)
		must(t, err)
		if change := <-got; change.Event != i || change.Key != fmt.Sprint("key-", i) || change.Time.UnixNano() != l.now.Load() {
			t.Fatalf("%+v, want event %d", change, i)
		}
	}
	must(t, l.engine.Close())
	if err := <-closed; !errors.Is(err, engine.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	must(t, changes.Close())
}

// Goal: a reader that comes too late is told, can begin with the states of now, and then
// misses nothing and gets nothing twice; or it skips what is gone.
func TestAReaderThatIsTooLateBeginsAgain(t *testing.T) {
	table := counters("counts")
	l := newLab(t, smallStore(), table)
	addSome(t, table, 100)
	for range 3 { // two snapshots are kept, and the log behind the older
		must(t, l.engine.Snapshot(t.Context()))
		addSome(t, table, 20)
	}
	if _, _, err := make(counts).readOn(t, table, engine.Position{}, engine.ChangesOptions{}); !errors.Is(err, engine.ErrTrimmed) {
		t.Fatalf("from the beginning: %v", err)
	}
	skipping := make(counts)
	_, skipped, err := skipping.readOn(t, table, engine.Position{}, engine.ChangesOptions{SkipTrimmed: true})
	if must(t, err); skipped != 120 {
		t.Fatalf("%d events were skipped, want the first 120", skipped)
	}
	have := make(counts)
	enough := errors.New("enough")
	if _, err := table.States(t.Context(), func(k string, s int64) error { have[k] = s; return enough }); err != enough || len(have) != 1 {
		t.Fatalf("%v behind %d keys", err, len(have))
	}
	at, err := table.States(t.Context(), func(k string, s int64) error { have[k] = s; return nil })
	must(t, err)
	addSome(t, table, 30)
	must(t, l.engine.Move(t.Context(), 5, 0))
	addSome(t, table, 30)
	if _, _, err = have.readOn(t, table, at, engine.ChangesOptions{}); err != nil || !maps.Equal(have, now(t, table)) {
		t.Fatalf("%v; the states and what came after are %v, want %v", err, have, now(t, table))
	}
}

// Goal: what KeepLog keeps is bounded by bytes and by age, and nothing is kept without it.
func TestKeptLogIsBounded(t *testing.T) {
	table := counters("counts")
	o := smallStore()
	o.Shards, o.KeepLog = 1, engine.KeepLog{Bytes: 24 << 10}
	l := newLab(t, o, table)
	round := func() {
		addSome(t, table, 200)
		must(t, l.engine.Snapshot(t.Context()))
	}
	logs := func() int64 { return l.logBytes(t) }
	for range 4 {
		round()
	}
	few := logs()
	for range 12 {
		round()
	}
	if many := logs(); many < 24<<10 || many > 24<<10+few {
		t.Fatalf("%d bytes of log after many rounds, %d after four: of those 24 KiB may be kept", many, few)
	}
	l.options.KeepLog = engine.KeepLog{Age: time.Hour}
	l.reopen()
	for range 6 {
		round()
	}
	aged := logs()
	l.now.Add(int64(2 * time.Hour))
	for range 3 {
		round()
	}
	if now := logs(); now >= aged {
		t.Fatalf("%d bytes two hours later, %d before: nothing was too old", now, aged)
	}
	l.options.KeepLog = engine.KeepLog{}
	l.reopen()
	l.reopen()
	if left := logs(); left > few {
		t.Fatalf("%d bytes are left without KeepLog, want %d at most", left, few)
	}
}

// logBytes is the size of the logs of a closed or idle store.
func (l *lab) logBytes(tb testing.TB) (total int64) {
	tb.Helper()
	must(tb, l.engine.Close())
	total = treeBytes(l.disk, "/store")
	l.open()
	return total
}

// treeBytes is the size of the files of logs below dir.
func treeBytes(disk *crashfs.FS, dir string) (total int64) {
	entries, err := disk.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		name := dir + "/" + entry.Name()
		total += treeBytes(disk, name)
		if info, err := disk.Lstat(name); err == nil && info.Mode().IsRegular() && strings.Contains(dir, "/log/") {
			total += info.Size()
		}
	}
	return total
}

// Goal: what was kept under former numbers of shards is read, half of what may be kept at
// most, and goes with the option.
func TestFormerLayoutsAreHistory(t *testing.T) {
	table := counters("counts")
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 20}
	l := newLab(t, o, table)
	for _, shards := range []int{1, 3, 2} {
		addSome(t, table, 100)
		l.options.Shards = shards
		l.reopen()
		addSome(t, table, 10)
		must(t, l.engine.Snapshot(t.Context()))
		l.crash(crashfs.Torn)
	}
	have := make(counts)
	if _, _, err := have.readOn(t, table, engine.Position{}, engine.ChangesOptions{}); err != nil || !maps.Equal(have, now(t, table)) {
		t.Fatalf("%v; all changes make %v, want %v", err, have, now(t, table))
	}
	must(t, l.engine.Snapshot(t.Context()))
	l.options.KeepLog.Bytes = 4 << 10
	l.reopen()
	if _, _, err := have.readOn(t, table, engine.Position{}, engine.ChangesOptions{}); !errors.Is(err, engine.ErrTrimmed) {
		t.Fatalf("with 4 KiB: %v", err)
	}
	l.options.KeepLog = engine.KeepLog{Bytes: 1 << 20}
	l.options.Shards = 1
	l.reopen()
	former := func() (n int) {
		entries, err := l.disk.ReadDir("/store")
		must(t, err)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "former-") {
				n++
			}
		}
		return n
	}
	for range 3 {
		addSome(t, table, 10)
		must(t, l.engine.Snapshot(t.Context()))
	}
	l.reopen()
	if former() == 0 {
		t.Fatal("no former layout is there to be removed")
	}
	l.options.KeepLog = engine.KeepLog{}
	if l.reopen(); former() != 0 {
		t.Fatalf("%d former layouts are left without KeepLog", former())
	}
}

func TestPositionsAreReadBackAndNothingElseIs(t *testing.T) {
	table := counters("counts")
	newLab(t, smallStore(), table)
	addSome(t, table, 10)
	at, _, err := make(counts).readOn(t, table, engine.Position{}, engine.ChangesOptions{})
	must(t, err)
	b, err := at.MarshalBinary()
	must(t, err)
	var again engine.Position
	must(t, again.UnmarshalBinary(b))
	if !again.Covers(at) || !at.Covers(again) || (engine.Position{}).Covers(at) || !at.Covers(engine.Position{}) {
		t.Fatalf("%+v was read back as %+v", at, again)
	}
	zero, err := engine.Position{}.MarshalBinary()
	must(t, err)
	must(t, again.UnmarshalBinary(zero))
	for i := range b {
		for _, bad := range [][]byte{b[:i], append(append([]byte(nil), b[:i]...), append([]byte{b[i] ^ 0x10}, b[i+1:]...)...)} {
			if err := again.UnmarshalBinary(bad); !errors.Is(err, engine.ErrPosition) {
				t.Fatalf("byte %d of %d: %v", i, len(b), err)
			}
		}
	}
	other := counters("counts")
	newLab(t, smallStore(), other)
	if _, err := other.Changes(t.Context(), at, engine.ChangesOptions{}); !errors.Is(err, engine.ErrPosition) {
		t.Fatalf("at another store: %v", err)
	}
}

// Goal: reading changes costs no memory for each event.
func TestReadingChangesDoesNotAllocate(t *testing.T) {
	table := engine.NewTable(engine.Spec[uint64, int64, int64, int64]{
		Name:  "counts",
		Apply: func(_ *engine.Context[uint64], s *int64, e int64) int64 { *s += e; return *s },
	})
	o := smallStore()
	o.Sync = engine.SyncInterval
	newLab(t, o, table)
	p, err := table.Producer(engine.ProducerOptions[uint64, int64]{})
	must(t, err)
	for i := range uint64(20_000) {
		must(t, p.Send(t.Context(), i%100, 1))
	}
	must(t, p.Flush(t.Context()))
	must(t, p.Close(t.Context()))
	for _, states := range []bool{false, true} {
		changes, err := table.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{Stop: true, States: states})
		must(t, err)
		defer changes.Close()
		for range 2000 { // until all keys are there
			_, err = changes.Next(t.Context())
			must(t, err)
		}
		if n := testing.AllocsPerRun(10_000, func() {
			if _, err := changes.Next(t.Context()); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}); n > 0.1 {
			t.Fatalf("%v allocations for each change; with states: %v", n, states)
		}
	}
}
