package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

var errNotNow = errors.New("not now")

// tickets answer the number of the event of a key, in words, and refuse what is negative.
func tickets(once engine.Once) *engine.Table[string, int64, int64, string] {
	return engine.NewTable(engine.Spec[string, int64, int64, string]{
		Name: "tickets", Once: once,
		Check: func(_ *engine.Context[string], _ *int64, e int64) error {
			if e < 0 {
				return errNotNow
			}
			return nil
		},
		Apply: func(_ *engine.Context[string], s *int64, e int64) string {
			*s++
			if e == 0 {
				panic("on purpose")
			}
			return fmt.Sprintf("number %d: %s", *s, strings.Repeat("x", int(e)))
		},
	})
}

// again is a retry that must give want.
func again(t *testing.T, table *engine.Table[string, int64, int64, string], id engine.EventID, key, want string, ack ...engine.Ack) {
	t.Helper()
	if have, err := table.DoOnce(context.Background(), id, key, 7, ack...); err != nil || have != want {
		t.Fatalf("again: %q, %v, want %q", have, err, want)
	}
}

// Goal: an event with an id is done once and answered as at first, wherever the retry
// meets it. Method: retries at once, after crashes, a snapshot, moves, with another number
// of shards; and the same id with another key.
func TestRetryGetsTheFirstAnswer(t *testing.T) {
	table := tickets(engine.Once{IDs: 100})
	l := newLab(t, smallStore(), table)
	id := engine.NewEventID()
	again(t, table, id, "a", "number 1: xxxxxxx")
	again(t, table, id, "a", "number 1: xxxxxxx")
	again(t, table, id, "b", "number 1: xxxxxxx") // of another key it is another event
	again(t, table, engine.EventIDOf("2"), "a", "number 2: xxxxxxx")
	check := func() {
		t.Helper()
		again(t, table, id, "a", "number 1: xxxxxxx")
		again(t, table, engine.EventIDOf("2"), "a", "number 2: xxxxxxx")
		if s, _ := get(t, table, "a"); s != 2 {
			t.Fatalf("%d events were done, want 2", s)
		}
	}
	check()
	l.crash(crashfs.Lost)
	check()
	must(t, l.engine.Snapshot(context.Background()))
	for partition := range 64 {
		must(t, l.engine.Move(context.Background(), partition, partition%2))
	}
	check()
	l.crash(crashfs.Kept)
	check()
	l.options.Shards = 3
	l.reopen()
	check()
	stats, err := l.engine.Stats(context.Background())
	must(t, err)
	if stats.Skipped != 2 || stats.Events != 0 {
		t.Fatalf("%d skipped, %d events", stats.Skipped, stats.Events)
	}
}

// Goal: a retry is told no earlier than the ack that it asks for allows. Method: the event
// is applied, the disk holds every sync; a durable retry must wait.
func TestRetryWaitsForTheFirstEvent(t *testing.T) {
	table := tickets(engine.Once{IDs: 100})
	l := newLab(t, smallStore(), table)
	id := engine.NewEventID()
	release := l.holdSyncs()
	again(t, table, id, "a", "number 1: xxxxxxx", engine.Applied)
	again(t, table, id, "a", "number 1: xxxxxxx", engine.Applied)
	again(t, table, id, "a", "number 1: xxxxxxx", engine.Written)
	told := make(chan error, 1)
	var released atomic.Bool
	go func() {
		_, err := table.DoOnce(context.Background(), id, "a", 7)
		if !released.Load() {
			err = errors.Join(err, errors.New("the retry was told before the event was synced"))
		}
		told <- err
	}()
	for range 100 { // turns of the shard, in which it could be told
		get(t, table, "a")
		runtime.Gosched()
	}
	released.Store(true)
	release()
	must(t, <-told)
}

// Goal: what was not done is not remembered. Method: a refusal and a panic, then the same
// id again.
func TestRefusedEventIsNotRemembered(t *testing.T) {
	table := tickets(engine.Once{IDs: 100})
	newLab(t, smallStore(), table)
	id := engine.NewEventID()
	if _, err := table.DoOnce(context.Background(), id, "a", -1); !errors.Is(err, errNotNow) {
		t.Fatal(err)
	}
	if _, err := table.DoOnce(context.Background(), id, "a", 0); !errors.Is(err, engine.ErrPanicked) {
		t.Fatal(err)
	}
	again(t, table, id, "a", "number 1: xxxxxxx")
	// Check is not asked about what was done.
	if have, err := table.DoOnce(context.Background(), id, "a", -1); err != nil || have != "number 1: xxxxxxx" {
		t.Fatal(have, err)
	}
}

// Goal: ids are forgotten in their order, by number and by logged time, in the same way
// before and after a crash. Method: one partition, both windows.
func TestIdsAreForgottenInOrder(t *testing.T) {
	table := tickets(engine.Once{IDs: 3, For: time.Minute})
	options := smallStore()
	options.Partitions, options.Shards = 1, 1
	l := newLab(t, options, table)
	ids := make([]engine.EventID, 4)
	for i := range ids {
		ids[i] = engine.EventIDOf(fmt.Sprint(i))
		again(t, table, ids[i], "a", fmt.Sprintf("number %d: xxxxxxx", i+1))
	}
	for range 2 {
		again(t, table, ids[1], "a", "number 2: xxxxxxx")
		again(t, table, ids[3], "a", "number 4: xxxxxxx")
		l.crash(crashfs.Lost)
	}
	again(t, table, ids[0], "a", "number 5: xxxxxxx") // the oldest was forgotten; now 1 is
	again(t, table, ids[1], "a", "number 6: xxxxxxx")
	l.now.Add(int64(time.Minute))
	again(t, table, ids[1], "a", "number 6: xxxxxxx")
	l.now.Add(int64(time.Millisecond))
	again(t, table, ids[1], "a", "number 7: xxxxxxx")
	l.crash(crashfs.Kept)
	again(t, table, ids[1], "a", "number 7: xxxxxxx")
}

func TestOnceSaysWhatItCannotDo(t *testing.T) {
	ctx := context.Background()
	off, on := counters("off"), tickets(engine.Once{IDs: 10})
	l := newLab(t, smallStore(), off, on)
	if _, err := off.DoOnce(ctx, engine.NewEventID(), "a", 1); !errors.Is(err, engine.ErrOnceOff) {
		t.Error(err)
	}
	if _, err := on.DoOnce(ctx, engine.EventID{}, "a", 1); !errors.Is(err, engine.ErrNoID) {
		t.Error(err)
	}
	large := int64(70_000) // its answer is not kept
	id := engine.NewEventID()
	if have, err := on.DoOnce(ctx, id, "a", large); err != nil || len(have) < 70_000 {
		t.Error(len(have), err)
	}
	if _, err := on.DoOnce(ctx, id, "a", large); !errors.Is(err, engine.ErrAnswerLost) || engine.OutcomeOf(err) != engine.Done {
		t.Error(err)
	}
	if s, _ := get(t, on, "a"); s != 1 {
		t.Errorf("%d events were done, want 1", s)
	}
	for _, spec := range []engine.Spec[string, int64, int64, map[string]int]{{Once: engine.Once{IDs: 1}}, {Once: engine.Once{IDs: -1}}, {Once: engine.Once{For: -1}}} {
		spec.Name = "wrong"
		spec.Apply = func(*engine.Context[string], *int64, int64) map[string]int { return nil }
		if _, err := l.tryOpen(l.options, engine.NewTable(spec)); err == nil {
			t.Errorf("%+v was taken", spec.Once)
		}
	}
}

// Goal: what was done stays done when the type of the answers changes, or the window
// shrinks, in a deploy. Method: the same store, opened by tables that differ in that.
func TestAnswerOfAnotherTypeIsLostButNotTheId(t *testing.T) {
	ctx := context.Background()
	first := tickets(engine.Once{IDs: 10})
	l := newLab(t, smallStore(), first)
	id := engine.NewEventID()
	again(t, first, id, "a", "number 1: xxxxxxx")
	next := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "tickets", Once: engine.Once{IDs: 10},
		Apply: func(_ *engine.Context[string], s *int64, _ int64) int64 { *s++; return *s },
	})
	l.tables = []engine.Definition{next}
	l.reopen() // by the snapshot
	if _, err := next.DoOnce(ctx, id, "a", 1); !errors.Is(err, engine.ErrAnswerLost) {
		t.Fatal(err)
	}
	if s, _ := get(t, next, "a"); s != 1 {
		t.Fatalf("%d events were done, want 1", s)
	}
	other := engine.EventIDOf("other") // whose answer another type of the same size could read
	if n, err := next.DoOnce(ctx, other, "a", 1); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	spec := engine.Spec[string, int64, int64, float64]{
		Name: "tickets", Once: engine.Once{IDs: 10},
		Apply: func(_ *engine.Context[string], s *int64, _ int64) float64 { *s++; return float64(*s) },
	}
	floats := engine.NewTable(spec)
	l.with(floats).reopen()
	if n, err := floats.DoOnce(ctx, other, "a", 1); !errors.Is(err, engine.ErrAnswerLost) {
		t.Fatalf("%v, %v", n, err)
	}
	spec.Once.IDs = 1
	floats = engine.NewTable(spec)
	l.with(floats).reopen()
	if _, err := floats.DoOnce(ctx, id, "a", 1); err != nil { // the older one was forgotten
		t.Fatal(err)
	}
}

// deadEnd encodes answers, and decodes none: it ends the goroutine.
type deadEnd struct{}

func (deadEnd) Name() string                                { return "dead end" }
func (deadEnd) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (deadEnd) Decode([]byte, *string) error                { runtime.Goexit(); return nil }

func TestAnswerWhoseCodecEndsTheGoroutineIsLostButNotTheEvent(t *testing.T) {
	ctx := context.Background()
	table := engine.NewTable(engine.Spec[string, int64, int64, string]{
		Name: "tickets", Once: engine.Once{IDs: 10}, ResultCodec: deadEnd{},
		Apply: func(_ *engine.Context[string], s *int64, _ int64) string { *s++; return "done" },
	})
	newLab(t, smallStore(), table)
	id := engine.NewEventID()
	for n := range 3 {
		if _, err := table.DoOnce(ctx, id, "a", 1); n > 0 && (!errors.Is(err, engine.ErrAnswerLost) || engine.OutcomeOf(err) != engine.Done) {
			t.Fatal(err)
		}
	}
	if s, _ := get(t, table, "a"); s != 1 {
		t.Fatalf("%d events were done, want 1", s)
	}
}

// Goal: a batch does what has an id once, and mixes it with what has none.
func TestBatchDoesAnIdOnce(t *testing.T) {
	table := tickets(engine.Once{IDs: 10})
	l := newLab(t, smallStore(), table)
	id := engine.NewEventID()
	b := l.engine.Batch()
	for range 3 {
		var first, second, plain engine.Result[string]
		table.PutOnce(b, id, "a", 1, &first)
		table.PutOnce(b, id, "a", 2, &second)
		table.Put(b, "b", 1, &plain)
		must(t, b.Do(context.Background()))
		if first.Value != "number 1: x" || second.Value != "number 1: x" {
			t.Fatalf("%q and %q", first.Value, second.Value)
		}
	}
	if s, _ := get(t, table, "b"); s != 3 {
		t.Fatalf("%d events without an id were done, want 3", s)
	}
	var none engine.Result[string]
	table.PutOnce(b, engine.EventID{}, "a", 1, &none)
	if err := b.Do(context.Background()); !errors.Is(err, engine.ErrNoID) || !errors.Is(none.Err, engine.ErrNoID) {
		t.Fatal(err, none.Err)
	}
}

// Goal: a full disk does not keep the answer of what was done from a retry.
func TestRetryIsAnsweredOnAFullDisk(t *testing.T) {
	ctx := context.Background()
	table := tickets(engine.Once{IDs: 10})
	l := newLab(t, smallStore(), table)
	id := engine.NewEventID()
	again(t, table, id, "a", "number 1: xxxxxxx")
	l.disk.SetCapacity(l.disk.Used())
	var err error
	for range 4000 { // while there is room that had been reserved
		if _, err = table.Do(ctx, "a", 7); err != nil {
			break
		}
	}
	if _, err = table.DoOnce(ctx, engine.NewEventID(), "a", 7); !errors.Is(err, engine.ErrReadOnly) {
		t.Fatal(err)
	}
	again(t, table, id, "a", "number 1: xxxxxxx")
	l.disk.SetCapacity(0)
}
