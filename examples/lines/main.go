// Command lines counts the flights in lines of JSON by their origin: it parses, sends
// without waiting for each line, and reads the result. Give it lines on its input.
package main

import (
	"bufio"
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

// Flight is an event, Airport the state of its key.
type (
	Flight  struct{ Delay int64 }
	Airport struct{ Flights, Late, Worst int64 }
)

var flights = engine.NewJSON(func(l *engine.Line) (string, Flight, error) {
	return l.Text("origin"), Flight{Delay: l.Int("delay")}, nil
})

func run(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	airports := engine.Fold("airports", func(_ *engine.Context[string], s *Airport, e Flight) {
		s.Flights++
		if e.Delay > 0 {
			s.Late++
		}
		s.Worst = max(s.Worst, e.Delay)
	})
	eng, err := engine.Open(ctx, dir, engine.Options{}, airports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	producer, err := airports.Producer(engine.ProducerOptions[string, Flight]{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close(ctx)) }()
	input := bufio.NewScanner(in)
	for number := 1; input.Scan(); number++ {
		origin, flight, err := flights.Parse(input.Bytes())
		if err != nil {
			fmt.Fprintf(out, "line %d was left out: %v\n", number, err)
			continue
		}
		if err := producer.Send(ctx, origin, flight); err != nil {
			return err
		}
	}
	if err := errors.Join(input.Err(), producer.Flush(ctx)); err != nil {
		return err // else all lines are on the disk
	}
	return report(ctx, airports, out)
}

func report(ctx context.Context, airports *engine.Table[string, Airport, Flight, struct{}], out io.Writer) error {
	var lines []string
	for entry, err := range airports.All(ctx) {
		if err != nil {
			return err
		}
		s := entry.State
		lines = append(lines, fmt.Sprintf("%s: %d flights, %d late, the worst by %d minutes", entry.Key, s.Flights, s.Late, s.Worst))
	}
	slices.Sort(lines)
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func main() {
	if err := run(context.Background(), "lines.keyfold", os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
