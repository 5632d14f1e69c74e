package engine_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// check runs ReplayCheck on what is on the disk, which must not change.
func (l *lab) check(tables ...engine.Definition) (*engine.ReplayReport, error) {
	l.tb.Helper()
	options := l.options
	options.Environment = &seam.Environment{FS: l.disk, Now: l.now.Load, Seed: 7}
	before := contentsOf(l.tb, l.disk, "/store")
	report, err := engine.ReplayCheck(context.Background(), "/store", options, tables...)
	if after := contentsOf(l.tb, l.disk, "/store"); after != before {
		l.tb.Error("the check has changed something")
	}
	return report, err
}

// contentsOf is all that is in a directory, but for what the lock file says.
func contentsOf(tb testing.TB, disk *crashfs.FS, dir string) string {
	tb.Helper()
	var all bytes.Buffer
	entries, err := disk.ReadDir(dir)
	must(tb, err)
	for _, entry := range entries {
		name := dir + "/" + entry.Name()
		if entry.Name() == "LOCK" { // which names the holder
			continue
		}
		all.WriteString(name + "\n")
		if entry.IsDir() {
			all.WriteString(contentsOf(tb, disk, name))
			continue
		}
		data, err := fsys.ReadFile(disk, name, 64<<20)
		must(tb, err)
		all.Write(data)
	}
	return all.String()
}

// agedSums is a store with two snapshots, moved partitions and a log behind them.
func agedSums(t *testing.T) *lab {
	t.Helper()
	a, b := sums("a"), lines("b")
	l := newLab(t, smallStore(), a, b)
	for i := range 400 {
		if i == 100 || i == 250 {
			must(t, l.engine.Snapshot(context.Background()))
		}
		if i == 150 || i == 300 {
			for p := range 16 {
				must(t, l.engine.Move(context.Background(), p, (p+i/150)%2))
			}
		}
		do(t, a, strings.Repeat("k", i%40), int64(i))
		do(t, b, strings.Repeat("n", i%30), 1)
	}
	l.die(crashfs.Lost)
	l.broken = true
	return l
}

// Goal: what a store's own program makes of its log is what it is, and two checks agree.
func TestReplayCheckFindsNothingWhereNothingIsWrong(t *testing.T) {
	l := agedSums(t)
	report, err := l.check(sums("a"), lines("b"))
	must(t, err)
	if report.First != nil || report.Different != 0 || report.Compared < 60 || report.Events < 500 || len(report.Notes) > 0 {
		t.Errorf("%+v", report)
	}
	if len(report.Tables) != 2 || report.Tables[0].Name != "a" || report.Tables[0].Keys != 40 || report.Tables[1].Keys != 30 {
		t.Errorf("%+v", report.Tables)
	}
	again, err := l.check(lines("b"), sums("a"))
	must(t, err)
	if again.Tables[0] != report.Tables[0] || again.Tables[1] != report.Tables[1] {
		t.Errorf("%+v, before %+v", again.Tables, report.Tables)
	}
}

// Goal: an Apply that is not deterministic is found, with the event.
func TestReplayCheckFindsWhatIsNotDeterministic(t *testing.T) {
	l := agedSums(t)
	var calls atomic.Int64
	wild := engine.Fold("a", func(_ *engine.Context[string], s *sum, e int64) {
		s.Count, s.Total = s.Count+1, s.Total+e
		if e == 333 {
			s.Last = calls.Add(1)
		}
	})
	report, err := l.check(wild, lines("b"))
	must(t, err)
	d := report.First
	if d == nil || d.Snapshot || d.Table != "a" || d.Key != strings.Repeat("k", 333%40) || d.Sequence == 0 || d.First == d.Second {
		t.Fatalf("%+v %v", report, d)
	}
	mustSay(t, d.Error(), "Last:1", "Last:2", "folded again")
}

// Goal: an Apply that has changed under the same version is found, by what the log
// itself holds, with the key and both states.
func TestReplayCheckFindsAnApplyThatHasChanged(t *testing.T) {
	l := agedSums(t)
	for what, total := range map[string]int64{"one event": 200, "many events": 0} {
		changed := engine.Fold("a", func(_ *engine.Context[string], s *sum, e int64) {
			s.Count, s.Total, s.Last = s.Count+1, s.Total+e, e
			if e == total || total == 0 {
				s.Total++
			}
		})
		report, err := l.check(changed, lines("b"))
		must(t, err)
		d := report.First
		if d == nil || !d.Snapshot || d.Table != "a" || d.First == d.Second || d.Sequence == 0 {
			t.Fatalf("%s: %+v %v", what, report, d)
		}
		if one := total != 0; one != (report.Different == 1) || one && d.Key != strings.Repeat("k", 200%40) {
			t.Errorf("%s: %d differ, first %v", what, report.Different, d)
		}
		mustSay(t, d.Error(), "the snapshot of then holds")
	}
	removing := engine.Fold("a", func(c *engine.Context[string], s *sum, e int64) {
		if s.Count, s.Total, s.Last = s.Count+1, s.Total+e, e; e == 200 {
			c.Delete()
		}
	})
	report, err := l.check(removing, lines("b"))
	must(t, err)
	if d := report.First; d == nil || report.Different != 1 || d.Key != "" || d.First == d.Second {
		t.Errorf("%+v", report)
	}
}

// A new version is checked by its own word; without it there is nothing to compare.
func TestReplayCheckGoesThroughUpgrades(t *testing.T) {
	one := cards1b()
	l := newLab(t, smallStore(), one)
	do(t, one, "a", paid1b{5, 1})
	must(t, l.engine.Snapshot(context.Background()))
	do(t, one, "a", paid1b{6, 0})
	must(t, l.engine.Close())
	lift := engine.UpgradeState(1, 2, stateTo2)
	report, err := l.check(cards2(lift))
	must(t, err)
	if report.First != nil || len(report.Notes) == 0 || !strings.Contains(report.Notes[0]+report.Notes[len(report.Notes)-1], "SameEvents(1, 2)") {
		t.Errorf("%+v", report)
	}
	// Lifting the events and folding them is not what lifting the states is.
	report, err = l.check(cards2(lift, engine.UpgradeEvent(1, 2, eventTo2)))
	must(t, err)
	if d := report.First; d == nil || d.First != "{Spent:11 Name:eur}" || d.Second != "{Spent:11 Name:limit 1}" {
		t.Errorf("%+v", report.First)
	}
	l.with(one).open()
}

// timedAnswers is a table with timers and a TTL that remembers ids. odd changes what the
// event 390 does: to the timer, to the answer, or nothing.
func timedAnswers(odd string) *engine.Table[string, sum, int64, int64] {
	var calls atomic.Int64
	return engine.NewTable(engine.Spec[string, sum, int64, int64]{
		Name: "a", TTL: engine.TTL{Idle: time.Hour}, Once: engine.Once{IDs: 1000},
		OnTimer: func(_ *engine.Context[string], s *sum) { s.Last = -1 },
		Apply: func(c *engine.Context[string], s *sum, e int64) int64 {
			s.Count, s.Total, s.Last = s.Count+1, s.Total+e, e
			at := c.Now().Add(time.Minute)
			if odd == "timer" && e == 390 {
				at = at.Add(time.Second)
			}
			if c.SetTimer(at); odd == "answer" && e == 390 {
				return 1
			}
			if odd == "wild answer" && e == 390 {
				return calls.Add(1)
			}
			if odd == "wild timer" && e == 390 {
				c.SetTimer(at.Add(time.Duration(calls.Add(1))))
			}
			return s.Total
		},
	})
}

// Goal: timers, and what ids are answered with, are compared like states: a program that
// makes the same states and other timers or answers is found, and the same program is not.
func TestReplayCheckComparesTimesAndAnswers(t *testing.T) {
	table := timedAnswers("")
	l := newLab(t, smallStore(), table)
	for i := range int64(400) {
		if i == 100 || i == 250 {
			must(t, l.engine.Snapshot(t.Context()))
		}
		l.now.Add(1e9)
		must(t, l.moved(t.Context()))
		_, err := table.DoOnce(t.Context(), engine.EventID{1, byte(i), byte(i >> 8)}, strings.Repeat("k", int(i%90)), i)
		must(t, err)
	}
	producer, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "stream"})
	must(t, err)
	must(t, producer.Send(t.Context(), "k", 1000))
	must(t, producer.Close(t.Context()))
	must(t, l.engine.Snapshot(t.Context()))
	l.die(crashfs.Lost)
	l.broken = true
	report, err := l.check(timedAnswers(""))
	must(t, err)
	if report.First != nil || report.Compared == 0 || len(report.Notes) > 0 {
		t.Fatalf("the program itself: %+v %v", report, report.First)
	}
	for odd, want := range map[string]struct {
		what     engine.ReplayWhat
		snapshot bool
		say      string
	}{
		"timer":       {engine.ReplayTimes, true, "its times: folding the log"},
		"answer":      {engine.ReplayIDs, true, "the ids that it remembers: folding the log"},
		"wild timer":  {engine.ReplayTimes, false, "its times: event"},
		"wild answer": {engine.ReplayIDs, false, "the ids that it remembers: event"},
	} {
		report, err := l.check(timedAnswers(odd))
		must(t, err)
		d := report.First
		if d == nil || d.What != want.what || d.Snapshot != want.snapshot || d.First == d.Second {
			t.Fatalf("%s: %+v %+v", odd, report, d)
		}
		mustSay(t, d.Error(), want.say)
	}
}

// Goal: a store that is open is not checked behind its back; one that lies still is, and is
// as it was.
func TestReplayCheckHonoursTheLock(t *testing.T) {
	table := sums("a")
	l := newLab(t, smallStore(), table)
	do(t, table, "k", 1)
	options := l.options
	options.Environment = &seam.Environment{FS: l.disk, Now: l.now.Load, Seed: 7}
	if _, err := engine.ReplayCheck(t.Context(), "/store", options, sums("a")); !errors.Is(err, engine.ErrLocked) {
		t.Fatalf("of a store that is open: %v", err)
	}
	if _, err := engine.ReplayCheck(t.Context(), "/nothing", options, sums("a")); !errors.Is(err, engine.ErrNoStore) {
		t.Fatalf("of none: %v", err)
	}
	must(t, l.engine.Close())
	_, err := l.check(sums("a"))
	must(t, err)
	l.open()
}
