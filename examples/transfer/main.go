// Command transfer keeps the money of some accounts and a log of what was tried: two
// tables in one store, events that may be refused, and batches.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/keyfold/keyfold/engine"
)

var errPoor = errors.New("not enough money")

// A Booking adds to an account, or takes from it.
type Booking struct{ Cents int64 }

// Tries are what an account has seen.
type Tries struct{ Done, Refused int64 }

type bank struct {
	accounts *engine.Table[string, int64, Booking, int64]
	tries    *engine.Table[string, Tries, bool, struct{}]
	engine   *engine.Engine
}

func open(ctx context.Context, dir string) (b bank, err error) {
	b.accounts = engine.NewTable(engine.Spec[string, int64, Booking, int64]{
		Name: "accounts",
		Check: func(_ *engine.Context[string], cents *int64, e Booking) error {
			if *cents+e.Cents < 0 {
				return fmt.Errorf("%w: there are %d cents", errPoor, *cents)
			}
			return nil
		},
		Apply: func(_ *engine.Context[string], cents *int64, e Booking) int64 {
			*cents += e.Cents
			return *cents
		},
	})
	b.tries = engine.Fold("tries", func(_ *engine.Context[string], s *Tries, done bool) {
		if done {
			s.Done++
		} else {
			s.Refused++
		}
	})
	b.engine, err = engine.Open(ctx, dir, engine.Options{}, b.accounts, b.tries)
	return b, err
}

// move takes from one account and, only if that worked, adds to the other. A crash in
// between leaves the money taken and not added: two keys are two events.
func (b *bank) move(ctx context.Context, from, to string, cents int64) error {
	_, err := b.accounts.Do(ctx, from, Booking{-cents})
	batch := b.engine.Batch()
	b.tries.Put(batch, from, err == nil, nil)
	if err == nil {
		b.accounts.Put(batch, to, Booking{cents}, nil)
	}
	return errors.Join(err, batch.Do(ctx))
}

func run(ctx context.Context, dir string, out io.Writer) error {
	b, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer b.engine.Close()
	if _, err := b.accounts.Do(ctx, "ann", Booking{1000}); err != nil {
		return err
	}
	for _, cents := range []int64{700, 700, 300} {
		if err := b.move(ctx, "ann", "bob", cents); err != nil {
			fmt.Fprintf(out, "ann cannot pay %d: %v (%v)\n", cents, err, engine.OutcomeOf(err))
		}
	}
	var lines []string
	for entry, err := range b.accounts.All(ctx) {
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s has %d cents", entry.Key, entry.State))
	}
	slices.Sort(lines) // All knows no order
	fmt.Fprintln(out, strings.Join(lines, "\n"))
	tries, _, err := b.tries.Get(ctx, "ann", engine.OnlyDurable)
	fmt.Fprintf(out, "ann paid %d times and was refused %d times\n", tries.Done, tries.Refused)
	return err
}

func main() {
	if err := run(context.Background(), "transfer.keyfold", os.Stdout); err != nil {
		log.Fatal(err)
	}
}
