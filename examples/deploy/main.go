// Command deploy goes through a deploy: version 1 of a program runs, version 2 has another
// state and one table less, and is checked against a copy of what version 1 has written
// before it may open that.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/engine"
)

// What version 1 keeps, and what version 2 makes of it. Both take the same event.
type (
	cardV1 struct{ Spent int64 }
	card   struct{ Euros, Cents int64 }
	pay    struct{ Cents int64 }
)

// versionOne are the tables of version 1.
func versionOne() (cards *engine.Table[string, cardV1, pay, struct{}], visits *engine.Table[string, int64, int64, struct{}]) {
	cards = engine.NewTable(engine.Spec[string, cardV1, pay, struct{}]{
		Name: "cards", Version: 1,
		Apply: func(_ *engine.Context[string], c *cardV1, e pay) (_ struct{}) { c.Spent += e.Cents; return },
	})
	visits = engine.Fold("visits", func(_ *engine.Context[string], n *int64, e int64) { *n += e })
	return cards, visits
}

// versionTwo is the table that version 2 still has. lift makes its states of those of
// version 1; the events mean what they meant.
func versionTwo(lift func(old cardV1) (card, error)) *engine.Table[string, card, pay, struct{}] {
	return engine.NewTable(engine.Spec[string, card, pay, struct{}]{
		Name: "cards", Version: 2,
		Upgrades: []engine.Upgrade{engine.UpgradeState(1, 2, lift), engine.SameEvents(1, 2)},
		Apply: func(_ *engine.Context[string], c *card, e pay) (_ struct{}) {
			cents := c.Euros*100 + c.Cents + e.Cents
			c.Euros, c.Cents = cents/100, cents%100
			return
		},
	})
}

// right and wrong are two ways to write the upgrade.
func right(old cardV1) (card, error) { return card{old.Spent / 100, old.Spent % 100}, nil }
func wrong(old cardV1) (card, error) { return card{Euros: old.Spent / 100}, nil }

// check says what a program makes of a copy of a store that is closed.
func check(ctx context.Context, store, scratch string, tables ...engine.Definition) error {
	defer os.RemoveAll(scratch)
	if err := os.CopyFS(scratch, os.DirFS(store)); err != nil {
		return err
	}
	report, err := engine.ReplayCheck(ctx, scratch, engine.Options{}, tables...)
	switch {
	case err != nil:
		return err
	case report.First != nil:
		d := report.First // is an error, which also says behind which event of which partition
		return fmt.Errorf("table %s, key %s: the log makes %s, the snapshot holds %s", d.Table, d.Key, d.First, d.Second)
	case report.Compared == 0:
		return fmt.Errorf("nothing was compared: %q", report.Notes)
	}
	fmt.Println("equal:", report.Compared, "states after", report.Events, "events")
	return nil
}

// deploy runs the story in a directory.
func deploy(ctx context.Context, dir string) error {
	store, scratch := filepath.Join(dir, "store"), filepath.Join(dir, "copy")
	cards, visits := versionOne()
	eng, err := engine.Open(ctx, store, engine.Options{Shards: 1, Partitions: 64}, cards, visits)
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close() }() // a second Close does nothing
	for i := range int64(100) {
		if i == 50 {
			if err := eng.Snapshot(ctx); err != nil { // what is to be compared lies between two
				return err
			}
		}
		if _, err := cards.Do(ctx, "card-3", pay{Cents: 31 * i}); err != nil {
			return err
		}
		if _, err := visits.Do(ctx, "home", 1); err != nil {
			return err
		}
	}
	before, _, err := cards.Get(ctx, "card-3")
	fmt.Printf("version 1: %+v %v\n", before, err)

	if err := eng.Close(); err != nil { // which takes another snapshot
		return err
	}

	gone := engine.Dropped("visits")
	fmt.Println("the wrong upgrade:", check(ctx, store, scratch, versionTwo(wrong), gone))
	fmt.Println("the right upgrade:", check(ctx, store, scratch, versionTwo(right), gone))
	next := versionTwo(right)
	_, err = engine.Open(ctx, store, engine.Options{}, next)
	fmt.Println("without a word about visits:", err)
	if eng, err = engine.Open(ctx, store, engine.Options{}, next, gone); err != nil {
		return err
	}
	after, _, err := next.Get(ctx, "card-3")
	fmt.Printf("version 2: %+v %v, %d states lifted\n", after, err, eng.Recovery().Lifted)
	return eng.Close()
}

func main() {
	dir, err := os.MkdirTemp("", "deploy.keyfold")
	if err == nil {
		err = deploy(context.Background(), dir)
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}
