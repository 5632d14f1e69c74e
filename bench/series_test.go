package bench

import (
	"testing"
	"testing/synctest"
	"time"
)

// Goal: each second of a load, and what is left at its end, is in the series, and
// together they hold every event.
func TestSeriesHasEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Load{Source: endless(t, 250), Producers: 1, Window: 100, Rate: 100, onlySleep: true}
		m, err := Run(t.Context(), newTimed(time.Millisecond), l)
		if err != nil || len(m.Series) != 3 {
			t.Fatalf("%+v, %v", m.Series, err)
		}
		last := m.Series[2]
		if last.Acked != 250 || m.Times.TotalCount() != 250 || last.Elapsed < 2400*time.Millisecond || last.Elapsed > 2700*time.Millisecond {
			t.Errorf("%+v, %d latencies", last, m.Times.TotalCount())
		}
		for _, p := range m.Series[:2] {
			if p.Rate < 90 || p.Rate > 110 || p.Latency.Max < int64(time.Millisecond) {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestSeriesKeepsTheLastHour(t *testing.T) {
	m := newMeter(&Load{Producers: 1})
	for range seriesMax + 2 {
		m.keep(Progress{})
	}
	if len(m.series) != seriesMax {
		t.Errorf("%d seconds are kept", len(m.series))
	}
}

// Goal: each latency above the limit is told of, and no other.
// Method: of 100 events the one in the middle is acknowledged late.
func TestSlowEventsAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTimed(0)
		f.when = func(ordinal uint64) time.Time {
			if ordinal == 50 {
				return time.Now().Add(300 * time.Millisecond)
			}
			return time.Now().Add(time.Millisecond)
		}
		var slow []time.Duration
		l := Load{Source: endless(t, 51), Producers: 1, Window: 1, Rate: 1, onlySleep: true, SlowAfter: 200 * time.Millisecond}
		l.Slow = func(d time.Duration) { slow = append(slow, d) }
		if _, err := Run(t.Context(), f, l); err != nil {
			t.Fatal(err)
		}
		if len(slow) != 1 || slow[0] < 300*time.Millisecond || slow[0] > 400*time.Millisecond {
			t.Errorf("%v", slow)
		}
	})
}
