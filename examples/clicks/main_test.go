package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/enginetest"
)

func Example() {
	dir, err := os.MkdirTemp("", "clicks")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := run(context.Background(), filepath.Join(dir, "store")); err != nil {
		panic(err)
	}
	// Output:
	// ann: 10 clicks, the last on page 9
	// ann: 10 clicks, the last on page 9
}

// A failing queue crashes the store when it has delivered some batches.
type failing struct {
	memory
	batches int
	crash   func()
}

// Deliver crashes the store before a batch, which is then sent in vain.
func (f *failing) Deliver(from uint64) []Click {
	if f.batches--; f.batches == 0 {
		f.crash()
		return nil
	}
	return f.memory.Deliver(from)
}

// Goal: a click counts once, however often the tracker is killed and batches come again.
// Method: crashes of all kinds after one batch, two batches and so on.
func TestClickCountsOnceThroughCrashes(t *testing.T) {
	ctx := context.Background()
	sessions := newSessions()
	store := enginetest.Open(t, sessions)
	queue := &failing{}
	for i := range uint64(200) {
		queue.clicks = append(queue.clicks, Click{Offset: i + 1, User: fmt.Sprint("user-", i%7), Page: int64(i)})
	}
	for i := range 12 {
		queue.batches = 2 + i
		queue.crash = func() { store.CrashAndReopen(enginetest.Crash(i % 3)) }
		_ = track(ctx, sessions, queue) // its store is gone
		store.CrashAndReopen(enginetest.PowerLost)
	}
	queue.batches = -1
	if err := track(ctx, sessions, queue); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for e, err := range sessions.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		total += e.State.Clicks
	}
	if total != 200 {
		t.Fatalf("%d clicks, want 200", total)
	}
}
