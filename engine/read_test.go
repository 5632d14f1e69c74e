package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// Goal: TryDo says ErrOverloaded where Do waits for room, and neither loses an event
// that it took or does one that it refused.
func TestTryDoIsOverloadedWhereDoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := counters("a")
		newLab(t, engine.Options{Shards: 1, Partitions: 4, EventBytesMax: 64, KeyBytesMax: 64, InboxBytes: 64 << 10}, table)
		ctx := context.Background()
		do(t, table, "k", 0)
		gate := make(chan struct{})
		viewed := make(chan error, 1)
		go func() { _, err := table.View(ctx, "k", func(*int64) { <-gate }); viewed <- err }()
		synctest.Wait() // the shard sits in the View

		admitted := int64(0)
		told := make(chan error, 1<<10)
		for full := false; !full; {
			go func() { _, err := table.TryDo(ctx, "k", 1); told <- err }()
			synctest.Wait()
			if full = len(told) > 0; !full {
				admitted++
			}
			if admitted > 1<<13 {
				t.Fatal("the inbox is never full")
			}
		}
		if err := <-told; !errors.Is(err, engine.ErrOverloaded) || engine.OutcomeOf(err) != engine.NotDone {
			t.Errorf("full: %v", err)
		}
		short, cancel := context.WithCancel(ctx)
		waiting := make(chan error, 2)
		go func() { _, err := table.Do(short, "k", 1); waiting <- err }()
		synctest.Wait()
		if len(waiting) != 0 {
			t.Fatalf("Do did not wait for room: %v", <-waiting)
		}
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) || engine.OutcomeOf(err) != engine.NotDone {
			t.Errorf("cancelled while it waited for room: %v", err)
		}
		go func() { _, err := table.Do(ctx, "k", 1); waiting <- err }()
		synctest.Wait()
		close(gate)
		must(t, <-viewed)
		must(t, <-waiting)
		for range admitted {
			must(t, <-told)
		}
		if n, _ := get(t, table, "k"); n != admitted+1 {
			t.Errorf("%d events were done, %d were admitted", n, admitted+1)
		}
	})
}

func TestViewShowsTheStateOnlyWhenThereIsOne(t *testing.T) {
	table := sums("a")
	enginetest.Open(t, table)
	called := 0
	ok, err := table.View(context.Background(), "k", func(*sum) { called++ })
	if ok || err != nil || called != 0 {
		t.Errorf("no key: %v %v, called %d times", ok, err, called)
	}
	do(t, table, "k", 7)
	ok, err = table.View(context.Background(), "k", func(s *sum) { called += int(s.Total) })
	if !ok || err != nil || called != 7 {
		t.Errorf("%v %v, %d", ok, err, called)
	}
	if s, found := get(t, table, "k"); !found || s.Total != 7 {
		t.Errorf("%+v", s)
	}
}

func TestAllShowsEveryKeyOnceAndStopsWhenTold(t *testing.T) {
	table := sums("a")
	enginetest.OpenOptions(t, engine.Options{Shards: 3, Partitions: 128}, table)
	for i := range 500 {
		do(t, table, fmt.Sprint(i), int64(i), engine.Applied)
	}
	all := everything(t, table)
	for i := range 500 {
		if all[fmt.Sprint(i)].Total != int64(i) {
			t.Errorf("%d: %+v", i, all[fmt.Sprint(i)])
		}
	}
	if len(all) != 500 {
		t.Errorf("%d keys", len(all))
	}
	seen := 0
	for range table.All(context.Background()) {
		if seen++; seen == 7 {
			break
		}
	}
	if seen != 7 {
		t.Errorf("%d pairs after a break at 7", seen)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, err := range table.All(ctx) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("an ended context: %v", last)
	}
}

// Goal: All shows each partition at one moment while writers go on: a batch on one
// key is never shown in part.
func TestAllShowsAPartitionBetweenTwoEvents(t *testing.T) {
	table := sums("a")
	enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 8}, table)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		for i := int64(0); ; i++ {
			if _, err := table.Do(ctx, fmt.Sprint(i%50), 3, engine.Applied); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 50 {
		for k, s := range everything(t, table) {
			if s.Total != 3*s.Count {
				t.Errorf("%s: %+v", k, s)
			}
		}
	}
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
