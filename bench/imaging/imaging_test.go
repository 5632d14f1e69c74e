package imaging

import (
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

func small(t *testing.T) Options {
	return Options{Dir: t.TempDir(), Keys: 2000, Dist: "uniform", Seed: 3, Ack: engine.Durable, Every: time.Millisecond, Rounds: 2}
}

// Goal: each round has events and calls of both windows, the process holds memory in both,
// and no event is lost beside snapshots.
func TestRoundsHaveBothWindows(t *testing.T) {
	o := small(t)
	told := 0
	o.Tell = func(int, Pair) { told++ }
	m, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Rounds) != 2 || told != 2 {
		t.Fatalf("%d rounds, %d told", len(m.Rounds), told)
	}
	for _, p := range m.Rounds {
		if p.Without.Events == 0 || p.Without.Calls.TotalCount() == 0 || p.Without.Seconds < windowMin.Seconds() || p.With.Seconds <= 0 {
			t.Errorf("%+v", p)
		}
	}
	without, _ := m.Total()
	if want := m.Rounds[0].Without.Calls.TotalCount() + m.Rounds[1].Without.Calls.TotalCount(); without.TotalCount() != want {
		t.Errorf("%d calls in all, not %d", without.TotalCount(), want)
	}
}

func TestMissingEventsAreFound(t *testing.T) {
	o := small(t)
	keys, stream, err := pair.Draw(workload.Generated{Keys: o.Keys, Dist: o.Dist, Seed: o.Seed, Events: 100})
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLoad(t.Context(), &o, keys, stream)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	l.start(t.Context(), &o)
	if _, err := l.window(t.Context(), func() error { return l.engine.Snapshot(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if err := l.check(t.Context()); err != nil {
		t.Error(err)
	}
	l.made++
	if err := l.check(t.Context()); err == nil || !strings.Contains(err.Error(), "were acknowledged") {
		t.Errorf("%v", err)
	}
}

// Goal: the process has memory, without what it held before.
func TestMemoryIsThatOfTheEngine(t *testing.T) {
	l := load{calls: newHistogram()}
	held := machine.ResidentBytes()
	if held == 0 {
		t.Skip("the system does not say")
	}
	l.own = held / 2
	f, err := l.window(t.Context(), func() error { return nil })
	if err != nil || f.RSSBytes == 0 || f.RSSBytes > 3*held {
		t.Fatalf("%d bytes of %d, %v", f.RSSBytes, held, err)
	}
}
