package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// sizes is a table of another key, state and Apply than counters: how many events were of
// each number of digits.
func sizes() *engine.Table[int64, sum, int64, struct{}] {
	return engine.NewTable(engine.Spec[int64, sum, int64, struct{}]{
		Name:  "sizes",
		Check: func(_ *engine.Context[int64], _ *sum, e int64) error { return refuseIf(e == 13) },
		Apply: func(_ *engine.Context[int64], s *sum, e int64) struct{} {
			s.Count, s.Total, s.Last = s.Count+1, s.Total+e, max(s.Last, e)
			return struct{}{}
		},
	})
}

func refuseIf(refused bool) error {
	if refused {
		return errors.New("unwanted")
	}
	return nil
}

// bySize is what an event of counters is to sizes.
func bySize(c engine.Change[string, int64]) (int64, int64, bool) {
	return int64(len(fmt.Sprint(c.Event))), c.Event, c.Event%5 != 0
}

// sized is what sizes must hold after events.
func sized(events []int64) map[int64]sum {
	want := make(map[int64]sum)
	for _, e := range events {
		if e%5 != 0 && e != 13 {
			s := want[int64(len(fmt.Sprint(e)))]
			want[int64(len(fmt.Sprint(e)))] = sum{s.Count + 1, s.Total + e, max(s.Last, e)}
		}
	}
	return want
}

func holds(t *testing.T, table *engine.Table[int64, sum, int64, struct{}], want map[int64]sum) {
	t.Helper()
	have := make(map[int64]sum)
	for e, err := range table.All(t.Context()) {
		must(t, err)
		have[e.Key] = e.State
	}
	if !maps.Equal(have, want) {
		t.Fatalf("%v, want %v", have, want)
	}
}

// Goal: a replay folds every event of a log, or those of a range of time, once into tables
// of another key, of a store that is closed, has crashed, or runs.
func TestAReplayFoldsALogIntoAnotherTable(t *testing.T) {
	table, into := counters("counts"), sizes()
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, o, table)
	var all, late, latest []int64
	var inside time.Time // a generation
	half := time.Unix(0, l.now.Load()).Add(time.Hour)
	for round := range int64(6) {
		for i := range int64(40) {
			e := round*97 + i
			_, err := table.Do(t.Context(), fmt.Sprint("key-", i%7), e)
			must(t, err)
			if all = append(all, e); round >= 3 {
				late = append(late, e)
			}
			if round == 4 && i == 20 {
				l.now.Add(int64(time.Minute))
				inside = time.Unix(0, l.now.Load())
			} else if !inside.IsZero() {
				latest = append(latest, e)
			}
		}
		if must(t, l.engine.Move(t.Context(), int(round)*7, int(round)%2)); round == 1 {
			l.options.Shards = 3
			l.reopen()
		}
		must(t, l.engine.Snapshot(t.Context()))
		if round == 2 {
			l.now.Add(int64(2 * time.Hour))
		}
	}
	step := engine.ReplayInto(table, into, bySize)
	replays := map[string]struct {
		options engine.ReplayOptions
		want    []int64
	}{
		"all": {engine.ReplayOptions{}, all}, "one worker": {engine.ReplayOptions{Workers: 1}, all},
		"since": {engine.ReplayOptions{Since: half, Workers: 3}, late}, "since the middle": {engine.ReplayOptions{Since: inside}, latest}, "until": {engine.ReplayOptions{Until: half}, all[:len(all)-len(late)]},
	}
	run := func(how string, replay func(o engine.ReplayOptions) (engine.Replayed, error)) {
		for name, r := range replays {
			t.Run(how+"/"+name, func(t *testing.T) {
				newLab(t, smallStore(), into)
				report, err := replay(r.options)
				must(t, err)
				holds(t, into, sized(r.want))
				if n := uint64(len(r.want)); report.Sent != n-n/5 && name == "all" || report.Refused > 1 || report.Changes < n {
					t.Fatalf("%+v, of %d events", report, n)
				}
			})
		}
	}
	closed := func(o engine.ReplayOptions) (engine.Replayed, error) {
		o.Environment = &seam.Environment{FS: l.disk, Now: l.now.Load}
		return engine.Replay(context.Background(), "/store", o, step)
	}
	run("running", func(o engine.ReplayOptions) (engine.Replayed, error) {
		return l.engine.Replay(context.Background(), o, step)
	})
	if _, err := closed(engine.ReplayOptions{}); !errors.Is(err, engine.ErrLocked) {
		t.Fatalf("of a store that is open: %v", err)
	}
	l.die(crashfs.Kept)
	defer l.open()
	run("crashed", closed)
	replaysNothingElse(t, l, into, step)
}

// replaysNothingElse replays what is not there.
func replaysNothingElse(t *testing.T, l *lab, into *engine.Table[int64, sum, int64, struct{}], step engine.ReplayStep) {
	t.Helper()
	if _, err := engine.Replay(t.Context(), "/nothing", engine.ReplayOptions{Environment: &seam.Environment{FS: l.disk, Now: l.now.Load}}, step); err == nil {
		t.Fatal("a store was found that is not there")
	}
	other := engine.ReplayInto(counters("others"), into, bySize)
	if _, err := engine.Replay(t.Context(), "/store", engine.ReplayOptions{Environment: &seam.Environment{FS: l.disk, Now: l.now.Load}}, other); err == nil {
		t.Fatal("a table was found that is not there")
	}
}

// Goal: a replay of a store that runs ends with what was durable when it was called, and
// leaves out what timers did.
func TestAReplayEndsWhereItBegan(t *testing.T) {
	table, into := waits(), sums("totals")
	o := smallStore()
	o.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, o, table, into)
	for i := range int64(20) {
		do(t, table, fmt.Sprint("key-", i), 5)
	}
	l.now.Add(int64(time.Minute))
	must(t, l.moved(t.Context()))
	step := engine.ReplayInto(table, into, func(c engine.Change[string, int64]) (string, int64, bool) {
		if c.Event >= 100 {
			return c.Key, c.Event, true
		}
		_, err := table.Do(t.Context(), c.Key, 100) // which must not be replayed
		return c.Key, c.Event, err == nil
	})
	report, err := l.engine.Replay(t.Context(), engine.ReplayOptions{Workers: 1}, step)
	must(t, err)
	for key, s := range everything(t, into) {
		if s.Count != 1 || s.Total != 5 {
			t.Fatalf("%s: %+v", key, s)
		}
	}
	if report.Sent != 20 {
		t.Fatalf("%+v, want 20 events sent", report)
	}
}
