package guest

import (
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

func small(t *testing.T) Options {
	return Options{
		Dir: t.TempDir(), Keys: 200, Dist: "zipf:0.99", Seed: 3, Part: 0.01,
		Rate: 2000, Round: 20 * time.Millisecond, Rounds: 3,
	}
}

// Goal: each round has all requests of both sides, and every event is in the states.
func TestRoundsHaveAllRequestsOfBothSides(t *testing.T) {
	o := small(t)
	var told []int
	o.Tell = func(round int, _ Pair) { told = append(told, round) }
	m, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Rounds) != 3 || len(told) != 3 || m.Peak <= 0 || m.Load != m.Peak*o.Part {
		t.Errorf("%d rounds, %v told, peak %v, load %v", len(m.Rounds), told, m.Peak, m.Load)
	}
	for _, r := range m.Rounds {
		for _, side := range []Times{r.Without, r.With} {
			if side.Response.TotalCount() != 40 || side.Service.TotalCount() != 40 || side.Lag.TotalCount() != 40 {
				t.Errorf("%d, %d, %d requests", side.Response.TotalCount(), side.Service.TotalCount(), side.Lag.TotalCount())
			}
		}
	}
	if n := m.Total().With.Response.TotalCount(); n != 120 {
		t.Errorf("%d requests in all rounds", n)
	}
}

// Goal: a request that is answered late does not move those after it: what the pause
// costs them is in their response times, and not in their service times.
func TestResponsesRunFromWhenTheyWereDue(t *testing.T) {
	times := newTimes()
	times.record(10*time.Millisecond, 30*time.Millisecond, 31*time.Millisecond)
	for of, want := range map[*int64]time.Duration{
		ptr(times.Response.Max()): 21 * time.Millisecond, ptr(times.Service.Max()): time.Millisecond, ptr(times.Lag.Max()): 20 * time.Millisecond,
	} {
		if got := time.Duration(*of); got < want || got > want+want/100 {
			t.Errorf("%v instead of %v", got, want)
		}
	}
}

func ptr(n int64) *int64 { return &n }

func TestMissingEventsAreFound(t *testing.T) {
	o := small(t)
	keys, stream, err := drawn(&o)
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
	if err := l.send(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	if err := l.producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.check(t.Context()); err != nil {
		t.Error(err)
	}
	l.sent++
	if err := l.check(t.Context()); err == nil || !strings.Contains(err.Error(), "500 events, and 501") {
		t.Errorf("%v", err)
	}
}

func TestOptionsAreRefusedInWords(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"of the peak":   func(o *Options) { o.Part = 0 },
		"at most 1":     func(o *Options) { o.Part = 1.5 },
		"requests lies": func(o *Options) { o.Rate = 0 },
		"rounds":        func(o *Options) { o.Rounds = 0 },
		"no request":    func(o *Options) { o.Round = time.Microsecond },
		"keys":          func(o *Options) { o.Keys = 0 },
	} {
		o := small(t)
		change(&o)
		if _, err := Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestAnEngineThatDoesNotOpenEndsTheMeasurement(t *testing.T) {
	o := small(t)
	o.Engine = engine.Options{Partitions: 3}
	if _, err := Measure(t.Context(), o); err == nil {
		t.Error("measured")
	}
}
