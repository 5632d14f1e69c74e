package main

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// Goal: each order counts once in the revenue, wherever the projection or the machine stops,
// and what was taken is not read again.
// Method: orders, projections of some changes that end before or behind a commit, snapshots,
// moves and crashes of all kinds, in random order; after a crash nobody has the cursor.
func TestRevenueCountsEveryOrderOnce(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	ctx := context.Background()
	orders, revenue := newOrders(), newRevenue()
	s := enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 64, KeepLog: engine.KeepLog{Bytes: 1 << 30}}, orders, revenue)
	want := map[int64]int64{}
	for range 400 {
		switch random.IntN(8) {
		case 0:
			s.CrashAndReopen(enginetest.Crash(random.IntN(3)))
		case 1:
			if err := s.Engine().Snapshot(ctx); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := s.Engine().Move(ctx, random.IntN(64), random.IntN(2)); err != nil {
				t.Fatal(err)
			}
		case 3:
			if _, err := project(ctx, s.Engine(), orders, revenue, random.IntN(10)); err != nil {
				t.Fatal(err)
			}
		case 4:
			forgetful(t, s, orders, revenue, random.IntN(6))
		default:
			e := placed{Product: random.Int64N(5), Cents: 1 + random.Int64N(1000)}
			if _, err := orders.Do(ctx, random.Int64N(50), e); err != nil {
				t.Fatal(err)
			}
			want[e.Product] += e.Cents
		}
	}
	if _, err := project(ctx, s.Engine(), orders, revenue, 1<<20); err != nil {
		t.Fatal(err)
	}
	s.CrashAndReopen(enginetest.PowerLost)
	if took, err := project(ctx, s.Engine(), orders, revenue, 1<<20); err != nil || took != 0 {
		t.Fatalf("%d changes again, %v", took, err)
	}
	for product, cents := range want {
		if have, _, err := revenue.Get(ctx, product); err != nil || have != cents {
			t.Fatalf("product %d: %d, %v; want %d", product, have, err, cents)
		}
	}
}

// forgetful is a projection that is killed before it commits.
func forgetful(t *testing.T, s *enginetest.Store, orders *engine.Table[int64, order, placed, struct{}], revenue *engine.Table[int64, int64, int64, int64], n int) {
	t.Helper()
	ctx := context.Background()
	cursor, err := s.Engine().Cursor(ctx, reader)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := orders.Changes(ctx, cursor.Position(), engine.ChangesOptions{Stop: true})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close()
	for change, err := range changes.All(ctx) {
		if n--; n < 0 {
			return
		}
		if err == nil {
			_, err = revenue.DoOnce(ctx, change.ID(reader), change.Event.Product, change.Event.Cents)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
