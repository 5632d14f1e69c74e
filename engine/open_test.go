package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a crash at any moment of the creation of a store leaves a directory in which
// a store can be created, whatever the options and tables are then.
func TestCrashDuringCreationLeavesRoomForAnyStore(t *testing.T) {
	for _, survival := range []crashfs.Survival{crashfs.Kept, crashfs.Lost, crashfs.Torn} {
		for n, ready := 0, false; !ready; n++ {
			l := &lab{tb: t, disk: crashfs.New()}
			l.disk.StopAfter(n)
			e, err := l.tryOpen(engine.Options{Shards: 4, Partitions: 8}, sums("first"))
			ready = err == nil
			l.die0(survival, e)
			if ready {
				break
			}
			second := sums("second")
			e, err = l.tryOpen(engine.Options{Shards: 2, Partitions: 16}, second)
			if err != nil {
				// The last step may have made it a store of the first kind.
				if e, err = l.tryOpen(engine.Options{Shards: 4, Partitions: 8}, sums("first")); err != nil {
					t.Fatalf("%v after %d operations: %v", survival, n, err)
				}
				if e.Recovery().Created {
					t.Fatalf("%v after %d operations: there was no store yet, but another one was refused", survival, n)
				}
				must(t, e.Close())
				continue
			}
			do(t, second, "k", 1)
			must(t, e.Close())
		}
	}
}

// die0 is die for an engine that may not have come up.
func (l *lab) die0(data crashfs.Survival, e *engine.Engine) {
	next := l.disk.Crash(crashfs.Model{Data: data, Seed: 1})
	if e != nil {
		_ = e.Close()
	}
	l.disk = next
}

func TestOptionsOutOfRangeAreNamed(t *testing.T) {
	for _, c := range []struct {
		want    string
		options engine.Options
	}{
		{"Options.Shards", engine.Options{Shards: -1}},
		{"Options.Shards", engine.Options{Shards: 1 << 20}},
		{"Options.Partitions", engine.Options{Partitions: 3}},
		{"Options.Partitions", engine.Options{Partitions: -4}},
		{"Options.Partitions", engine.Options{Partitions: 1 << 20}},
		{"Options.Sync ", engine.Options{Sync: 9}},
		{"Options.SyncInterval", engine.Options{SyncInterval: -1}},
		{"Options.EventBytesMax", engine.Options{EventBytesMax: -1}},
		{"Options.EventBytesMax", engine.Options{EventBytesMax: math.MaxInt}},
		{"Options.KeyBytesMax", engine.Options{KeyBytesMax: 1 << 16}},
		{"Options.KeyBytesMax", engine.Options{KeyBytesMax: -1}},
		{"Options.InboxBytes", engine.Options{InboxBytes: -1}},
		{"Options.InboxBytes", engine.Options{InboxBytes: 100_000}},
		{"Options.InboxBytes", engine.Options{InboxBytes: math.MinInt}},
		{"Options.SnapshotBytes", engine.Options{SnapshotBytes: -1}},
		{"Options.SegmentBytes", engine.Options{SegmentBytes: 1}},
		{"Options.Pin", engine.Options{Pin: 7}},
		{"Device", engine.Options{Device: 7}},
	} {
		l := &lab{disk: crashfs.New()}
		e, err := l.tryOpen(c.options, sums("a"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want it to name %q", c.options, err, c.want)
		}
		if e != nil {
			must(t, e.Close())
		}
		if l.disk.Ops() != 0 {
			t.Errorf("%s: the disk was touched", c.want)
		}
	}
}

func TestInboxIsRaisedToHoldTheLargestEvents(t *testing.T) {
	table := engine.Fold("bytes", func(_ *engine.Context[string], s *int64, e []byte) { *s += int64(len(e)) })
	newLab(t, engine.Options{Shards: 1, Partitions: 2, InboxBytes: 1 << 10, EventBytesMax: 1 << 20}, table)
	do(t, table, "k", make([]byte, 1<<20))
	if s, _ := get(t, table, "k"); s != 1<<20 {
		t.Errorf("%d bytes came through", s)
	}
}

func TestTooLargeIsRefusedEverywhereAndNothingIsDone(t *testing.T) {
	table := engine.Fold("bytes", func(_ *engine.Context[string], s *int64, e []byte) { *s += int64(len(e)) })
	l := newLab(t, engine.Options{Shards: 1, Partitions: 2, KeyBytesMax: 8, EventBytesMax: 16}, table)
	ctx := context.Background()
	small, large, long := make([]byte, 16), make([]byte, 17), "123456789"
	errs := map[string]error{}
	_, errs["event"] = table.Do(ctx, "k", large)
	_, errs["key"] = table.Do(ctx, long, small)
	_, errs["try"] = table.TryDo(ctx, "k", large)
	_, _, errs["get"] = table.Get(ctx, long)
	p, err := table.Producer(engine.ProducerOptions[string, []byte]{})
	must(t, err)
	errs["send"] = p.Send(ctx, "k", large)
	must(t, p.Close(ctx))
	b := l.engine.Batch()
	var bad, good engine.Result[struct{}]
	table.Put(b, "k", large, &bad)
	table.Put(b, "k", small, &good)
	errs["batch"] = b.Do(ctx)
	errs["result"] = bad.Err
	for what, err := range errs {
		if !errors.Is(err, engine.ErrTooLarge) || engine.OutcomeOf(err) != engine.NotDone || !strings.Contains(err.Error(), "BytesMax") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s, _ := get(t, table, "k"); good.Err != nil || s != 16 {
		t.Errorf("beside the refused ones: %v, %d bytes", good.Err, s)
	}
}

func TestCallsBeforeOpenAndAfterCloseAreClosed(t *testing.T) {
	table := sums("a")
	ctx := context.Background()
	check := func(when string) {
		t.Helper()
		errs := map[string]error{}
		_, errs["do"] = table.Do(ctx, "k", 1)
		_, errs["try"] = table.TryDo(ctx, "k", 1)
		_, _, errs["get"] = table.Get(ctx, "k")
		_, errs["view"] = table.View(ctx, "k", func(*sum) {})
		_, errs["producer"] = table.Producer(engine.ProducerOptions[string, int64]{})
		for _, err := range table.All(ctx) {
			errs["all"] = err
		}
		if len(errs) != 6 {
			t.Errorf("%s: All showed nothing, not even an error", when)
		}
		for what, err := range errs {
			if !errors.Is(err, engine.ErrClosed) || engine.OutcomeOf(err) != engine.NotDone {
				t.Errorf("%s %s: %v", what, when, err)
			}
		}
	}
	check("before Open")
	l := newLab(t, smallStore(), table)
	b := l.engine.Batch()
	var result engine.Result[struct{}]
	table.Put(b, "k", 1, &result)
	p, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	must(t, l.engine.Close())
	check("after Close")
	if err := b.Do(ctx); !errors.Is(err, engine.ErrClosed) || !errors.Is(result.Err, engine.ErrClosed) {
		t.Errorf("batch: %v, %v", err, result.Err)
	}
	if err := errors.Join(p.Send(ctx, "k", 1), p.Flush(ctx)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("producer: %v", err)
	}
	if err := l.engine.Snapshot(ctx); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("snapshot: %v", err)
	}
	if _, err := l.engine.Stats(ctx); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("stats: %v", err)
	}
	l.open()
	if s, _ := get(t, table, "k"); s.Count != 0 {
		t.Errorf("%d events were done by a closed engine", s.Count)
	}
}

func TestCloseIsIdempotentAndConcurrent(t *testing.T) {
	table := sums("a")
	l := newLab(t, smallStore(), table)
	do(t, table, "k", 1)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := l.engine.Close(); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			if _, err := table.Do(context.Background(), "k", 1); err != nil && !errors.Is(err, engine.ErrClosed) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	must(t, l.engine.Close())
}

// Goal: what was acknowledged while Close ran is there, and what was refused is not.
func TestCloseAcknowledgesWhatItAdmits(t *testing.T) {
	table := counters("a")
	l := newLab(t, smallStore(), table)
	var group sync.WaitGroup
	done := make([]int64, 8)
	for i := range done {
		group.Go(func() {
			for {
				if _, err := table.Do(context.Background(), fmt.Sprint(i), 1); err != nil {
					if !errors.Is(err, engine.ErrClosed) {
						t.Error(err)
					}
					return
				}
				done[i]++
			}
		})
	}
	do(t, table, "x", 1)
	must(t, l.engine.Close())
	group.Wait()
	l.open()
	if r := l.engine.Recovery(); !r.Clean || r.Events != 0 {
		t.Errorf("a clean close left something to replay: %+v", r)
	}
	for i, want := range done {
		if n, _ := get(t, table, fmt.Sprint(i)); n != want {
			t.Errorf("key %d: %d events, %d were acknowledged", i, n, want)
		}
	}
}

func TestTableBelongsToOneEngine(t *testing.T) {
	table := sums("a")
	newLab(t, smallStore(), table)
	other := &lab{disk: crashfs.New()}
	if _, err := other.tryOpen(smallStore(), sums("b"), table); !errors.Is(err, engine.ErrTableInUse) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("in two engines: %v", err)
	}
	do(t, table, "k", 1)
	b := sums("b")
	if _, err := other.tryOpen(smallStore(), b, b); !errors.Is(err, engine.ErrTableInUse) {
		t.Errorf("twice in one: %v", err)
	}
	if _, err := other.tryOpen(smallStore(), b, sums("b")); !errors.Is(err, engine.ErrTableInUse) {
		t.Errorf("two of one name: %v", err)
	}
	e, err := other.tryOpen(smallStore(), b, sums("a"))
	must(t, err) // what was refused has taken nothing
	must(t, e.Close())
}

func TestSecondEngineIsLockedOutAndToldByWhom(t *testing.T) {
	for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
		dir := filepath.Join(t.TempDir(), "store")
		ctx := context.Background()
		e, err := engine.Open(ctx, dir, engine.Options{Device: device}, sums("a"))
		must(t, err)
		_, err = engine.Open(ctx, dir, engine.Options{Device: device}, sums("a"))
		if !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d since", os.Getpid())) {
			t.Errorf("%v", err)
		}
		must(t, e.Close())
		e, err = engine.Open(ctx, dir, engine.Options{}, sums("a"))
		must(t, err)
		must(t, e.Close())
	}
}

func TestDeclarationsThatCannotWorkAreErrorsOfOpen(t *testing.T) {
	type deep struct {
		Inner struct{ List []map[string]int }
	}
	type padded struct {
		Large [2 << 20]byte
		N     int64
		Flag  bool
	}
	fold := func(*engine.Context[string], *sum, int64) {}
	for _, c := range []struct {
		want  []string
		table engine.Definition
	}{
		{[]string{"name"}, engine.Fold("", fold)},
		{[]string{"name"}, engine.Fold(strings.Repeat("x", 256), fold)},
		{[]string{"name", "UTF-8"}, engine.Fold("caf\xe9", fold)},
		{[]string{`"t"`, "2097168 bytes"}, engine.Fold("t", func(*engine.Context[string], *padded, int64) {})},
		{[]string{`"t"`, "Apply"}, engine.NewTable(engine.Spec[string, sum, int64, int]{Name: "t"})},
		{[]string{`"t"`, "Apply"}, engine.Fold[string, sum, int64]("t", nil)},
		{[]string{`"t"`, "Inner.List", "StateCodec"}, engine.Fold("t", func(*engine.Context[string], *deep, int64) {})},
		{[]string{`"t"`, "Inner.List", "EventCodec"}, engine.Fold("t", func(*engine.Context[string], *sum, deep) {})},
		{[]string{`"t"`, "float64", "KeyCodec"}, engine.Fold("t", func(*engine.Context[float64], *sum, int64) {})},
		{[]string{`"t"`, "chan", "StateCodec"}, engine.Fold("t", func(*engine.Context[string], *chan int, int64) {})},
		{[]string{`"t"`, "StateCodec", "Name"}, engine.NewTable(engine.Spec[string, sum, int64, int]{
			Name: "t", StateCodec: nameless{}, Apply: func(*engine.Context[string], *sum, int64) int { return 0 },
		})},
	} {
		l := &lab{disk: crashfs.New()}
		_, err := l.tryOpen(smallStore(), c.table)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: want it to name %s", err, want)
			}
		}
	}
	l := &lab{disk: crashfs.New()}
	if _, err := l.tryOpen(smallStore()); err == nil {
		t.Error("Open without tables")
	}
}

type nameless struct{ document[sum] }

func (nameless) Name() string { return "" }

func TestOutcomeOfSaysWhatAnErrorMeansForTheEvent(t *testing.T) {
	for _, c := range []struct {
		err  error
		want engine.Outcome
	}{
		{nil, engine.Done},
		{engine.ErrClosed, engine.NotDone},
		{engine.ErrOverloaded, engine.NotDone},
		{engine.ErrReadOnly, engine.NotDone},
		{engine.ErrTooLarge, engine.NotDone},
		{engine.ErrInside, engine.NotDone},
		{engine.ErrNeverDurable, engine.NotDone},
		{engine.ErrPanicked, engine.NotDone},
		{context.Canceled, engine.NotDone},
		{errors.New("what a Check said"), engine.NotDone},
		{&engine.FailedError{}, engine.NotDone},
		{&engine.FailedError{Unknown: true}, engine.Unknown},
		{engine.ErrUnknownOutcome, engine.Unknown},
		{fmt.Errorf("wrapped: %w: %w", engine.ErrUnknownOutcome, context.Canceled), engine.Unknown},
	} {
		if got := engine.OutcomeOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// Goal: a store that was closed stands on its own: a copy of it elsewhere opens and
// holds the same, with either device, and so does one that was moved.
func TestClosedStoreCanBeCopiedAndMoved(t *testing.T) {
	ctx := context.Background()
	for _, device := range []engine.LogDevice{engine.DeviceLibrary, engine.DeviceDirect} {
		base := t.TempDir()
		at := func(name string) string { return filepath.Join(base, name) }
		table := sums("a")
		e, err := engine.Open(ctx, at("first"), engine.Options{Shards: 2, Partitions: 16, Device: device}, table)
		must(t, err)
		for i := range 100 {
			do(t, table, fmt.Sprint(i%10), int64(i))
		}
		want := everything(t, table)
		must(t, e.Close())
		must(t, os.CopyFS(at("copy"), os.DirFS(at("first"))))
		must(t, os.Rename(at("first"), at("moved")))
		for _, name := range []string{"copy", "moved"} {
			e, err := engine.Open(ctx, at(name), engine.Options{Shards: 3, Device: engine.DeviceLibrary - device}, table)
			must(t, err)
			if got := everything(t, table); !maps.Equal(got, want) || e.Recovery().Events != 0 {
				t.Errorf("%s: %v, want %v; %d events replayed", name, got, want, e.Recovery().Events)
			}
			must(t, e.Close())
		}
	}
}

// Goal: Shutdown whose context has ended leaves out the snapshot, says so, and loses
// nothing.
func TestShutdownUnderAnExpiredContextLosesNothing(t *testing.T) {
	table := counters("a")
	l := newLab(t, smallStore(), table)
	for i := range 200 {
		do(t, table, fmt.Sprint(i%20), 1, engine.Applied)
	}
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	if err := l.engine.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	l.open()
	if r := l.engine.Recovery(); r.Events != 200 {
		t.Errorf("%d events were replayed, want all 200: a snapshot was taken", r.Events)
	}
	if all := everything(t, table); len(all) != 20 || all["3"] != 10 {
		t.Errorf("%v", all)
	}
}

func TestOpenStopsWhenItsContextEnds(t *testing.T) {
	table := sums("a")
	store := enginetest.Open(t, table)
	must(t, store.Engine().Close())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := filepath.Join(t.TempDir(), "store")
	e, err := engine.Open(context.Background(), dir, engine.Options{}, table)
	must(t, err)
	must(t, e.Close())
	if _, err := engine.Open(ctx, dir, engine.Options{}, table); !errors.Is(err, context.Canceled) {
		t.Errorf("open under an ended context: %v", err)
	}
	e, err = engine.Open(context.Background(), dir, engine.Options{}, table)
	must(t, err)
	must(t, e.Close())
}

// Goal: a store whose syncs are handed to the kernel keeps what was acknowledged, and
// opens in the other way.
func TestQueuedSyncsAreSyncs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	table := counters("counters")
	for round, queued := range []bool{true, false, true} {
		e, err := engine.Open(t.Context(), dir, engine.Options{Shards: 2, Partitions: 16, QueuedSync: queued}, table)
		must(t, err)
		for i := range 100 {
			if n := do(t, table, fmt.Sprint(i), 1); n != int64(round+1) {
				t.Fatalf("key %d is at %d in round %d", i, n, round)
			}
		}
		must(t, e.Close())
	}
}

// Goal: options that mean nothing are refused, and not taken for something else.
func TestOptionsOfStreamsThatMeanNothingAreRefused(t *testing.T) {
	ctx := context.Background()
	table := counters("a")
	l := newLab(t, smallStore(), table)
	_, ack := table.Producer(engine.ProducerOptions[string, int64]{Ack: 9})
	_, producer := table.Producer(engine.ProducerOptions[string, int64]{InFlightMax: -1})
	_, source := table.Consume(ctx, &roll{}, engine.SourceOptions[string, int64]{InFlightMax: -1})
	_, workers := l.engine.Replay(ctx, engine.ReplayOptions{Workers: -1})
	for what, err := range map[string]error{"Ack": ack, "InFlightMax": producer, "InFlightMax of a source": source, "Workers": workers} {
		if word, _, _ := strings.Cut(what, " "); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
