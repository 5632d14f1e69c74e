package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

func Example() {
	dir, err := os.MkdirTemp("", "fraud")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := run(context.Background(), filepath.Join(dir, "store")); err != nil {
		panic(err)
	}
	// Output:
	// p1: 50
	// p2: 20
	// p3: 100
	// p3: 100
}

// Goal: a payment that was sent again after a crash is booked once under each of its keys,
// and scored as at first. Method: payments whose callers go away at any moment, crashes
// that lose what was not synced, then all of them again.
func TestPaymentIsBookedOnceThroughCrashes(t *testing.T) {
	profiles := newProfiles()
	store := enginetest.Open(t, profiles)
	var payments []Payment
	scores := map[string]int{}
	for i := range 30 {
		p := Payment{fmt.Sprint("p", i), fmt.Sprint(i % 3), fmt.Sprint(i % 5), fmt.Sprint(i % 2), int64(100 * (i + 1))}
		payments = append(payments, p)
		ctx, cancel := context.WithCancel(context.Background())
		if i%2 == 0 {
			go cancel()
		}
		if points, err := score(ctx, profiles, store.Engine().Batch(), p); err == nil {
			scores[p.ID] = points
		}
		cancel()
		if i%4 == 0 {
			store.CrashAndReopen(enginetest.Crash(i % 3))
		}
		again(t, store, profiles, payments, scores)
	}
	booked := int64(0)
	for e, err := range profiles.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		booked += e.State.Payments
	}
	if booked != 3*30 {
		t.Fatalf("%d bookings, want %d", booked, 3*30)
	}
}

// again sends all payments so far again, and compares the scores.
func again(t *testing.T, store *enginetest.Store, profiles *engine.Table[string, Profile, int64, Profile], payments []Payment, scores map[string]int) {
	t.Helper()
	for _, p := range payments {
		points, err := score(context.Background(), profiles, store.Engine().Batch(), p)
		if err != nil {
			t.Fatal(err)
		}
		if first, known := scores[p.ID]; known && first != points {
			t.Fatalf("%s is scored %d, at first %d", p.ID, points, first)
		}
		scores[p.ID] = points
	}
}
