// Command projection keeps the revenue of each product beside a table of orders: the read
// side of a service, which lags behind a little and never counts an order twice.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/keyfold/keyfold/engine"
)

// An order is the state of an order's key.
type order struct{ Cents int64 }

// A placed is the event that an order was placed, or changed.
type placed struct{ Product, Cents int64 }

// reader is the name of the projection.
const reader = "revenue"

func newOrders() *engine.Table[int64, order, placed, struct{}] {
	return engine.Fold("orders", func(_ *engine.Context[int64], s *order, e placed) { s.Cents += e.Cents })
}

// newRevenue is the projection: cents by product. It remembers the ids of what was added.
func newRevenue() *engine.Table[int64, int64, int64, int64] {
	return engine.NewTable(engine.Spec[int64, int64, int64, int64]{
		Name:  "revenue",
		Apply: func(_ *engine.Context[int64], s *int64, cents int64) int64 { *s += cents; return *s },
		Once:  engine.Once{IDs: 1 << 12},
	})
}

// project brings revenue up to orders, n changes at most, and says how many it took. Where it
// ends without an error or is killed, the next call goes on, and adds nothing twice.
func project(ctx context.Context, eng *engine.Engine, orders *engine.Table[int64, order, placed, struct{}], revenue *engine.Table[int64, int64, int64, int64], n int) (took int, err error) {
	cursor, err := eng.Cursor(ctx, reader)
	if err != nil {
		return 0, err
	}
	changes, err := orders.Changes(ctx, cursor.Position(), engine.ChangesOptions{Stop: true})
	if err != nil {
		return 0, err
	}
	defer changes.Close()
	for ; took < n; took++ {
		change, err := changes.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return took, err
		}
		if _, err := revenue.DoOnce(ctx, change.ID(reader), change.Event.Product, change.Event.Cents); err != nil {
			return took, err
		}
		if took%64 == 63 { // far fewer than revenue remembers
			if err := cursor.Commit(ctx, changes.Position()); err != nil {
				return took, err
			}
		}
	}
	return took, cursor.Commit(ctx, changes.Position())
}

func main() {
	ctx := context.Background()
	orders, revenue := newOrders(), newRevenue()
	eng, err := engine.Open(ctx, "projection.keyfold", engine.Options{KeepLog: engine.KeepLog{Bytes: 64 << 20}}, orders, revenue)
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	for i := range int64(100) {
		if _, err := orders.Do(ctx, i, placed{Product: i % 3, Cents: 100 + i}); err != nil {
			log.Fatal(err)
		}
	}
	took, err := project(ctx, eng, orders, revenue, 1<<20)
	fmt.Println(took, "changes", err)
	for product := range int64(3) {
		cents, _, err := revenue.Get(ctx, product)
		fmt.Println("product", product, cents, err)
	}
}
