package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A journalist is a handler that keeps what it is told, after before has run.
type journalist struct {
	mu     sync.Mutex // guards lines
	lines  []string
	before func()
}

func (j *journalist) Enabled(context.Context, slog.Level) bool { return true }
func (j *journalist) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journalist) WithGroup(string) slog.Handler            { return j }

func (j *journalist) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	j.mu.Lock()
	j.lines = append(j.lines, line)
	j.mu.Unlock()
	if j.before != nil {
		j.before()
	}
	return nil
}

// told fails the test unless the lines have these parts, in this order, and are no more.
func (j *journalist) told(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(j.lines), len(want), strings.Join(j.lines, "\n"))
	}
	for i, line := range j.lines {
		for _, part := range strings.Split(want[i], "|") {
			if !strings.Contains(line, part) {
				t.Errorf("line %d is %q, want %q in it", i+1, line, part)
			}
		}
	}
}

func logged(j *journalist) engine.Options {
	options := smallStore()
	options.Shards, options.Logger = 1, slog.New(j)
	return options
}

// isSnapshot matches what a round writes.
func isSnapshot(op crashfs.Op) bool { return strings.Contains(op.Name, "/snapshot/") }

// Goal: the logger hears of everything that an operator must know, once and in order.
func TestLoggerHearsWhatAnOperatorMustKnow(t *testing.T) {
	j := &journalist{}
	table := sums("sums")
	l := newLab(t, logged(j), table)
	ctx := context.Background()
	do(t, table, "a", 1)
	l.failing(crashfs.ErrIO, isSnapshot)
	if err := l.engine.Snapshot(ctx); err == nil {
		t.Fatal("the snapshot has not failed")
	}
	l.disk.SetHook(nil)
	l.disk.SetCapacity(l.disk.Used())
	for range 1000 {
		_, _ = table.Do(ctx, "a", 1)
	}
	l.disk.SetCapacity(0)
	do(t, table, "a", 1)
	do(t, table, "a", 1)
	l.failing(crashfs.ErrIO, func(op crashfs.Op) bool { return op.Kind == crashfs.Sync })
	if _, err := table.Do(ctx, "a", 1); err == nil {
		t.Fatal("the shard has not failed")
	}
	l.die(crashfs.Lost)
	l.open()
	must(t, l.engine.Close())
	j.told(t,
		"INFO keyfold: store opened|dir=/store shards=1 created=true clean=false keys=0",
		"WARN keyfold: snapshot failed|shard=0 error=|input/output",
		"WARN keyfold: no room on the disk|dir=/store shard=0 error=|no space",
		"INFO keyfold: shard takes events again|shard=0",
		"ERROR keyfold: shard failed|shard=0 error=|input/output",
		"INFO keyfold: store opened|created=false clean=false keys=1 events_replayed=|torn_bytes=",
	)
}

func TestLoggerHearsOfMovesButNotOfThoseOfAResize(t *testing.T) {
	j := &journalist{}
	options := logged(j)
	options.Shards = 2
	l := newLab(t, options, sums("sums"))
	ctx := context.Background()
	stats, err := l.engine.Stats(ctx)
	must(t, err)
	from := stats.Partitions[5].Shard
	must(t, l.engine.Move(ctx, 5, 1-from))
	must(t, l.engine.Move(ctx, 5, 1-from)) // it is there
	must(t, l.engine.Resize(ctx, 3))
	must(t, l.engine.Close())
	j.told(t, "store opened", fmt.Sprintf("INFO keyfold: partition moved|partition=5 from=%d to=%d took=", from, 1-from))
}

// Goal: what was damaged and could be done without is told.
func TestLoggerHearsTheWarningsOfARecovery(t *testing.T) {
	j := &journalist{}
	table := sums("sums")
	l := newLab(t, logged(j), table)
	do(t, table, "a", 1)
	must(t, l.engine.Snapshot(context.Background()))
	do(t, table, "b", 1)
	must(t, l.engine.Close())
	damageNewest(t, l.disk)
	l.open()
	must(t, l.engine.Close())
	if len(j.lines) != 3 || !strings.Contains(j.lines[2], "WARN keyfold: recovery has left something out") || !strings.Contains(j.lines[2], "snapshot") {
		t.Errorf("%s", strings.Join(j.lines, "\n"))
	}
}

// Goal: a handler that panics, ends its goroutine or hangs holds up no event, and what is
// kept for it does not grow.
func TestAHandlerThatDoesNotReturnHoldsUpNothing(t *testing.T) {
	gate := make(chan struct{})
	for name, before := range map[string]func(){
		"panic": func() { panic("handler") }, "goexit": runtime.Goexit, "hang": func() { <-gate },
	} {
		t.Run(name, func(t *testing.T) {
			j := &journalist{before: before}
			table := sums("sums")
			l := newLab(t, logged(j), table)
			l.failing(crashfs.ErrIO, isSnapshot)
			const failures = 200
			for range failures {
				do(t, table, "a", 1)
				if err := l.engine.Snapshot(context.Background()); err == nil {
					t.Fatal("the snapshot has not failed")
				}
			}
			if name == "hang" {
				close(gate)
			}
			_ = l.engine.Close()
			lost := slices.ContainsFunc(j.lines, func(s string) bool { return strings.Contains(s, "reports_lost_before=") })
			if name == "hang" && (!lost || len(j.lines) > 100) || name != "hang" && len(j.lines) < 10 {
				t.Errorf("%d lines for %d failures, losses told: %v", len(j.lines), failures, lost)
			}
		})
	}
}

// damageNewest flips a bit in the newest snapshot of the first shard.
func damageNewest(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	const dir = "/store/layout-0001/shard-000/snapshot/"
	entries, err := disk.ReadDir(dir)
	must(t, err)
	f, err := disk.OpenFile(dir+entries[len(entries)-1].Name(), os.O_RDWR, 0)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 40)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, 40)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}
