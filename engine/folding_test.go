package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// withStates reads what is durable behind from, and says what each change has left of its
// key: "gone" if it is not there.
func withStates[S, E, R any](table *engine.Table[string, S, E, R], from engine.Position) (left []string, at engine.Position, err error) {
	changes, err := table.Changes(context.Background(), from, engine.ChangesOptions{Stop: true, States: true})
	if err != nil {
		return nil, from, err
	}
	defer changes.Close()
	for change, err := range changes.All(context.Background()) {
		if err != nil {
			return left, changes.Position(), err
		}
		s, exists := changes.State()
		if text := fmt.Sprint(change.Key, s); exists {
			left = append(left, text)
		} else {
			left = append(left, change.Key+" gone")
		}
	}
	return left, changes.Position(), nil
}

func mustLeave(t *testing.T, have []string, err error, want ...string) {
	t.Helper()
	if err != nil || !slices.Equal(have, want) {
		t.Fatalf("%q, %v; want %q", have, err, want)
	}
}

// Goal: what timers did to a key, and its end, are changes with the states that they left;
// the same from any of them on, with a snapshot in front of it or none, after a crash.
func TestTimersAndEndsLeaveStates(t *testing.T) {
	table := waits(func(s *engine.Spec[string, wait, int64, int64]) {
		s.TTL.Idle = time.Minute
		s.OnExpire = func(c *engine.Context[string], w *wait) {
			if w.Events++; w.Events == 3 {
				c.Keep()
			}
		}
	})
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, o, table)
	began := time.Unix(0, l.now.Load()).Unix()
	do(t, table, "a", 10)
	var at []engine.Position
	for _, seconds := range []int64{10, 50, 60} { // its timer, its end, which it outlives once, and its end
		l.now.Add(seconds * int64(time.Second))
		must(t, l.moved(t.Context()))
		if seconds == 10 {
			do(t, table, "a", -1)
			l.now.Add(10 * int64(time.Second))
			must(t, l.engine.Snapshot(t.Context()))
		}
		_, end, err := withStates(table, engine.Position{})
		must(t, err)
		at = append(at, end)
	}
	want := []string{"a{1 0 0}", fmt.Sprint("a", wait{1, 1, began + 10}), fmt.Sprint("a", wait{2, 1, began + 10}), fmt.Sprint("a", wait{3, 1, began + 10}), "a gone"}
	for range 2 {
		have, _, err := withStates(table, engine.Position{})
		mustLeave(t, have, err, want...)
		for i, n := range []int{3, 4, 5} {
			have, _, err := withStates(table, at[i])
			mustLeave(t, have, err, want[n:]...)
		}
		l.crash(crashfs.Torn)
	}
}

// Goal: states and events that an older version wrote come as what the present one makes of
// them; and one that does not know what old events mean still reads on from a state behind
// them.
func TestOlderVersionsLeaveStatesOfThePresentOne(t *testing.T) {
	one := cards1a()
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, o, one)
	do(t, one, "a", paid1a{5})
	do(t, one, "a", paid1a{7})
	left, end, err := withStates(one, engine.Position{})
	mustLeave(t, left, err, "a{5}", "a{12}")
	must(t, l.engine.Close())
	state := engine.UpgradeState(1, 2, stateTo2)
	two := cards2(state, engine.UpgradeEvent(1, 2, eventTo2))
	l.with(two).open()
	do(t, two, "a", paid2{6, "usd"})
	left, _, err = withStates(two, engine.Position{})
	mustLeave(t, left, err, "a{5 eur}", "a{12 eur}", "a{18 usd}")
	left, _, err = withStates(two, end)
	mustLeave(t, left, err, "a{18 usd}")
	must(t, l.engine.Close())
	two = cards2(state)
	l.with(two).open()
	left, _, err = withStates(two, end)
	mustLeave(t, left, err, "a{18 usd}")
	version := (*engine.VersionError)(nil)
	if left, _, err = withStates(two, engine.Position{}); !errors.As(err, &version) {
		t.Fatalf("%q, %v: it does not know the events of version 1", left, err)
	}
	for range 3 { // until no state in front of end is kept, and old events must be folded up to there
		must(t, l.engine.Snapshot(t.Context()))
	}
	if left, _, err = withStates(two, end); !errors.As(err, &version) {
		t.Fatalf("%q, %v: it does not know the events of version 1 that it has to fold", left, err)
	}
	must(t, l.engine.Close())
	broken := errors.New("not this one")
	two = cards2(state, engine.UpgradeEvent(1, 2, func(e paid1b) (paid2, error) { return paid2{}, broken }))
	l.with(two).open()
	if left, _, err = withStates(two, end); !errors.Is(err, broken) {
		t.Fatalf("%q, %v: an event in front of the reader cannot be lifted", left, err)
	}
}

// Goal: ids and names of producers do not matter to states; a reader's states take no part in
// what the table does.
func TestStatesOfEventsWithIDsAndNames(t *testing.T) {
	table := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "counts", Once: engine.Once{IDs: 100},
		Apply: func(c *engine.Context[string], s *int64, e int64) int64 {
			if *s += e; *s > 100 {
				c.Delete()
			}
			return *s
		},
	})
	newLab(t, smallStore(), table)
	for i := range byte(3) {
		for range 2 { // the second does nothing
			_, err := table.DoOnce(t.Context(), engine.EventID{i + 1}, "a", int64(i)+1)
			must(t, err)
		}
	}
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "p"})
	must(t, err)
	must(t, p.Send(t.Context(), "a", 10))
	must(t, p.Send(t.Context(), "a", 90))
	must(t, p.Send(t.Context(), "a", 1))
	must(t, p.Close(t.Context()))
	left, _, err := withStates(table, engine.Position{})
	mustLeave(t, left, err, "a1", "a3", "a6", "a16", "a gone", "a1")
}

// Goal: a function of the table that panics when it folds for a reader is an error of the
// reader, which keeps its place.
func TestAPanicInAFoldIsAnErrorOfTheReader(t *testing.T) {
	boom := false
	table := engine.NewTable(engine.Spec[string, int64, int64, int64]{Name: "counts", Apply: func(_ *engine.Context[string], s *int64, e int64) int64 {
		if *s += e; boom && *s == 5 {
			panic("boom")
		}
		return *s
	}})
	newLab(t, smallStore(), table)
	do(t, table, "a", 2)
	do(t, table, "a", 3)
	boom = true
	panicked := (*engine.PanicError)(nil)
	left, at, err := withStates(table, engine.Position{})
	if !errors.As(err, &panicked) || !slices.Equal(left, []string{"a2"}) {
		t.Fatalf("%q, %v", left, err)
	}
	if left, _, err := withStates(table, at); !errors.As(err, &panicked) || len(left) > 0 {
		t.Fatalf("from its place on: %q, %v", left, err)
	}
	boom = false
	left, _, err = withStates(table, at)
	mustLeave(t, left, err, "a5")
}

// tellStates has readers begin at positions of the past: some of their changes are there, and
// no state in front of them, which must be said; and no state may be another than that of now
// without what came since.
func tellStates(t *testing.T, table *engine.Table[string, int64, int64, int64], past []engine.Position) {
	t.Helper()
	stateless := 0
	for _, p := range past {
		changes, err := readAll(table, p, engine.ChangesOptions{Stop: true})
		if errors.Is(err, engine.ErrTrimmed) {
			continue
		}
		must(t, err)
		want := now(t, table)
		for _, c := range changes {
			want[c.Key] -= c.Event
		}
		left, _, err := withStates(table, p)
		if errors.Is(err, engine.ErrTrimmed) {
			stateless++
			continue
		}
		must(t, err)
		for i, c := range changes {
			if want[c.Key] += c.Event; left[i] != fmt.Sprint(c.Key, want[c.Key]) {
				t.Fatalf("change %d of %d, %+v, has left %q, want %d", i, len(changes), c, left[i], want[c.Key])
			}
		}
	}
	if stateless == 0 || stateless == len(past) {
		t.Fatalf("%d of %d readers were told that their states are not kept", stateless, len(past))
	}
}

// readAll reads what is durable behind a position.
func readAll(table *engine.Table[string, int64, int64, int64], from engine.Position, o engine.ChangesOptions) (all []engine.Change[string, int64], err error) {
	changes, err := table.Changes(context.Background(), from, o)
	if err != nil {
		return nil, err
	}
	defer changes.Close()
	for c, err := range changes.All(context.Background()) {
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Goal: a reader that is behind all states that are kept is told so, although its changes are
// there, and can begin again; what cannot be known is not asked for.
func TestAReaderThatIsBehindAllStatesBeginsAgain(t *testing.T) {
	table := counters("counts")
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 24 << 10}
	l := newLab(t, o, table)
	addSome(t, table, 200)
	for range 3 {
		must(t, l.engine.Snapshot(t.Context()))
	}
	behind, err := table.States(t.Context(), func(string, int64) error { return nil })
	must(t, err)
	var past []engine.Position
	for range 12 { // until the beginning is gone
		addSome(t, table, 100)
		p, err := table.States(t.Context(), func(string, int64) error { return nil })
		must(t, err)
		past = append(past, p)
		must(t, l.engine.Snapshot(t.Context()))
	}
	tellStates(t, table, past)
	for _, p := range []engine.Position{{}, behind} {
		if _, _, err := withStates(table, p); !errors.Is(err, engine.ErrTrimmed) {
			t.Fatalf("%v", err)
		}
	}
	addSome(t, table, 30) // the newest state is not at the position
	have := make(counts)
	at, err := table.States(t.Context(), func(k string, s int64) error { have[k] = s; return nil })
	must(t, err)
	addSome(t, table, 30)
	changes, err := table.Changes(t.Context(), at, engine.ChangesOptions{Stop: true, States: true})
	must(t, err)
	if s, exists := changes.State(); exists || !changes.Position().Covers(at) {
		t.Fatalf("state %d of no change, at %v", s, changes.Position())
	}
	for {
		change, err := changes.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		have[change.Key] += change.Event
		if s, exists := changes.State(); !exists || s != have[change.Key] {
			t.Fatalf("%+v has left %d, %v, want %d", change, s, exists, have[change.Key])
		}
	}
	must(t, changes.Close())
	if !maps.Equal(have, now(t, table)) {
		t.Fatalf("%v, want %v", have, now(t, table))
	}
	if _, err := table.Changes(t.Context(), at, engine.ChangesOptions{States: true, SkipTrimmed: true}); err == nil {
		t.Fatal("states behind changes that were skipped were promised")
	}
}
