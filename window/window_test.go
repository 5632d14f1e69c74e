package window_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
	"github.com/keyfold/keyfold/window"
)

// A span is a window that has ended, as the tests keep it.
type span struct{ start, last, events, sum int64 }

// A visits is a state with windows of both kinds. It keeps what has ended outside.
type visits struct {
	Session  window.Session[int64]
	Tumbling window.Tumbling[int64]
}

type event struct{ at, value int64 }

const (
	gap   = 10 * time.Second
	width = time.Minute
)

// Goal: windows that timers end are those that a look at all times together finds.
// Method: random events of some keys on an engine with a clock that the test moves; the
// naive model sorts the times of each key and cuts them.
func TestWindowsAreThoseOfANaiveModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sessions, minutes := make(map[string][]span), make(map[string][]span)
	take := func(c *engine.Context[string], s *visits, now time.Time) {
		if old, ended := s.Session.End(now, gap); ended {
			sessions[c.Key()] = append(sessions[c.Key()], span{old.Start, old.Last, old.Events, old.Value})
		}
		if old, ended := s.Tumbling.End(now, width); ended {
			minutes[c.Key()] = append(minutes[c.Key()], span{old.Start, old.Start, old.Events, old.Value})
		}
		next := s.Session.Deadline(gap)
		if s.Session.Events == 0 || s.Tumbling.Events > 0 && s.Tumbling.Deadline(width).Before(next) {
			next = s.Tumbling.Deadline(width)
		}
		if s.Session.Events+s.Tumbling.Events > 0 {
			c.SetTimer(next)
		}
	}
	table := engine.NewTable(engine.Spec[string, visits, int64, int64]{
		Name: "visits",
		Apply: func(c *engine.Context[string], s *visits, e int64) int64 {
			s.Session.Add(c.Now(), gap)
			s.Tumbling.Add(c.Now(), width)
			s.Session.Value += e
			s.Tumbling.Value += e
			take(c, s, c.Now())
			return 0
		},
		OnTimer: func(c *engine.Context[string], s *visits) { take(c, s, c.Now()) },
	})
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
	all := make(map[string][]event)
	keys := []string{"a", "b", "c"}
	for range 400 {
		key, value := keys[random.IntN(len(keys))], random.Int64N(9)
		if _, err := table.Do(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		all[key] = append(all[key], event{store.Now().UnixNano(), value})
		for pause := time.Duration(random.ExpFloat64() * float64(3*time.Second)); pause > 0; pause -= time.Second / 2 {
			store.Advance(min(pause, time.Second/2))
		}
	}
	for range 200 {
		store.Advance(time.Second / 2)
	}
	for key, events := range all {
		wantSessions, wantMinutes := naive(events)
		if !slices.Equal(sessions[key], wantSessions) {
			t.Errorf("%s: sessions\n%v, want\n%v", key, sessions[key], wantSessions)
		}
		if !slices.Equal(minutes[key], wantMinutes) {
			t.Errorf("%s: minutes\n%v, want\n%v", key, minutes[key], wantMinutes)
		}
	}
}

// naive cuts events, in the order of their times, into sessions and minutes.
func naive(events []event) (sessions, minutes []span) {
	for _, e := range events {
		if n := len(sessions); n == 0 || e.at >= sessions[n-1].last+int64(gap) {
			sessions = append(sessions, span{start: e.at})
		}
		s := &sessions[len(sessions)-1]
		s.last, s.events, s.sum = e.at, s.events+1, s.sum+e.value
		start := e.at / int64(width) * int64(width)
		if n := len(minutes); n == 0 || minutes[n-1].start != start {
			minutes = append(minutes, span{start: start, last: start})
		}
		m := &minutes[len(minutes)-1]
		m.events, m.sum = m.events+1, m.sum+e.value
	}
	return sessions, minutes
}

func TestEventThatComesLateGoesWhereItBelongs(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	var s window.Session[int64]
	s.Add(at(100), gap)
	s.Add(at(95), gap)
	s.Add(at(50), gap)
	if s.Start != at(95).UnixNano() || s.Last != at(100).UnixNano() || s.Events != 3 {
		t.Errorf("%+v", s)
	}
	if old, ended := s.Add(at(111), gap); !ended || old.Events != 3 || s.Events != 1 || s.Start != at(111).UnixNano() {
		t.Errorf("%+v, %v; %+v", old, ended, s)
	}
	var w window.Tumbling[int64]
	w.Add(at(-1), width)
	if w.Start != at(-60).UnixNano() {
		t.Errorf("%+v", w)
	}
	if old, ended, ok := w.Add(at(60), width); !ended || !ok || old.Events != 1 {
		t.Errorf("%+v, %v, %v", old, ended, ok)
	}
	if _, ended, ok := w.Add(at(59), width); ended || ok || w.Late != 1 || w.Events != 1 {
		t.Errorf("%+v, %v, %v", w, ended, ok)
	}
}

// Goal: what is at the end of a window does not belong to it any more, and what is a
// nanosecond before does; the deadline is that end. The count of what came late lasts.
func TestWindowsEndAtTheirDeadlines(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	var s window.Session[int64]
	s.Add(at(100), gap)
	s.Add(at(105), gap)
	if end := s.Deadline(gap); !end.Equal(at(115)) {
		t.Errorf("a session of 100 and 105 ends at %v", end.Unix())
	}
	if _, ended := s.End(at(115).Add(-1), gap); ended {
		t.Error("it has ended before that")
	}
	if old, ended := s.Add(at(115), gap); !ended || old.Events != 2 || s.Events != 1 {
		t.Errorf("%+v, %v; %+v", old, ended, s)
	}
	var w window.Tumbling[int64]
	w.Add(at(60), width)
	w.Add(at(59), width)
	if end := w.Deadline(width); !end.Equal(at(120)) {
		t.Errorf("a window from 60 on ends at %v", end.Unix())
	}
	if _, ended := w.End(at(120).Add(-1), width); ended {
		t.Error("it has ended before that")
	}
	if old, ended := w.End(at(120), width); !ended || old.Events != 1 || old.Late != 1 || w.Late != 1 || w.Events != 0 {
		t.Errorf("%+v, %v; %+v", old, ended, w)
	}
	if old, ended, ok := w.Add(at(120), width); ended || !ok || w.Start != at(120).UnixNano() || w.Late != 1 {
		t.Errorf("%+v, %v, %v; %+v", old, ended, ok, w)
	}
}
