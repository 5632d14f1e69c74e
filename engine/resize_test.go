package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

func TestResizeSharesPartitionsOut(t *testing.T) {
	table := lines("lines")
	l := newLab(t, smallStore(), table)
	next := map[string]int64{}
	for _, count := range []int{5, 1, 3, 64, 2} {
		feed(t, table, next, 300)
		must(t, l.engine.Resize(t.Context(), count))
		for i, s := range statsOf(t, l).Shards {
			if least := 64 / count; i < count && (s.Partitions < least || s.Partitions > least+1) || i >= count && s.Partitions != 0 {
				t.Errorf("%d shards: shard %d has %d of 64 partitions", count, i, s.Partitions)
			}
		}
		feed(t, table, next, 300)
		checkLines(t, table, next)
	}
	for _, wrong := range []int{-1, 0, 65} {
		if err := l.engine.Resize(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "1 to 64 shards") {
			t.Errorf("%d: %v", wrong, err)
		}
	}
	l.reopen()
	checkLines(t, table, next)
	if n := len(statsOf(t, l).Shards); n != 2 {
		t.Errorf("%d shards, the options say 2", n)
	}
}

// Goal: a crash at any point while the number of shards changes loses nothing that was
// acknowledged. Method: stop the disk after some of its operations, all of them in turn,
// and open what is left.
func TestCrashDuringResizeLosesNothing(t *testing.T) {
	step := 7
	if testing.Short() {
		step = 41
	}
	for n := 1; ; n += step {
		table := ordered("ordered")
		l := newLab(t, engine.Options{Shards: 1, Partitions: 8, SegmentBytes: 64 << 10}, table)
		acked := map[string]int64{}
		send := func() (failed bool) {
			for i := range 16 {
				k := fmt.Sprint("k", i)
				if _, err := table.Do(t.Context(), k, acked[k]+1); err != nil {
					return true
				}
				acked[k]++
			}
			return false
		}
		if send() {
			t.Fatal("the disk is whole")
		}
		l.disk.StopAfter(l.disk.Ops() + n)
		l.broken = true
		failed := false
		for _, count := range []int{3, 2, 4} {
			err := l.engine.Resize(context.Background(), count)
			failed = send() || failed || err != nil
		}
		l.options.Shards = 1 + n%4
		l.crash([]crashfs.Survival{crashfs.Lost, crashfs.Torn, crashfs.Reordered, crashfs.Kept}[n/step%4])
		for k, want := range acked {
			have, _, err := table.Get(t.Context(), k)
			must(t, err)
			if have < want || have > want+1 {
				t.Fatalf("after %d operations: %s is at %d, %d were acknowledged", n, k, have, want)
			}
		}
		must(t, l.engine.Close())
		if !failed {
			return
		}
	}
}
