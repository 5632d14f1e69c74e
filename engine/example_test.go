package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/keyfold/keyfold/engine"
)

// temporary is a directory for the store of an example.
func temporary() (dir string, remove func()) {
	parent, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	return filepath.Join(parent, "store"), func() { os.RemoveAll(parent) }
}

// check ends an example that does not work.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

type Session struct {
	Clicks uint32
	Last   int64
}

type Click struct{ At int64 }

func ExampleFold() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	sessions := engine.Fold("sessions", func(_ *engine.Context[string], s *Session, e Click) {
		s.Clicks++
		s.Last = e.At
	})
	for range 2 { // the second time it remembers
		eng, err := engine.Open(ctx, dir, engine.Options{}, sessions)
		check(err)
		_, err = sessions.Do(ctx, "user-42", Click{At: 1700000000})
		check(err)
		s, found, err := sessions.Get(ctx, "user-42")
		fmt.Println(s, found, err)
		check(eng.Close())
	}
	// Output:
	// {1 1700000000} true <nil>
	// {2 1700000000} true <nil>
}

func ExampleNewTable() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	errLimit := errors.New("over the limit")
	cards := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "cards",
		Init: func(_ *engine.Context[string], limit *int64) { *limit = 100 },
		Check: func(_ *engine.Context[string], limit *int64, pay int64) error {
			if pay > *limit {
				return fmt.Errorf("%w of %d", errLimit, *limit)
			}
			return nil
		},
		Apply: func(_ *engine.Context[string], limit *int64, pay int64) int64 {
			*limit -= pay
			return *limit
		},
	})
	eng, err := engine.Open(ctx, dir, engine.Options{}, cards)
	check(err)
	defer eng.Close()
	for _, pay := range []int64{60, 60, 40} {
		left, err := cards.Do(ctx, "4711", pay)
		fmt.Println(left, err, engine.OutcomeOf(err))
	}
	// Output:
	// 40 <nil> done
	// 0 over the limit of 40 not done
	// 0 <nil> done
}

func ExampleEngine_Batch() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	clicks, pages := counters("clicks"), counters("pages")
	eng, err := engine.Open(ctx, dir, engine.Options{}, clicks, pages)
	check(err)
	defer eng.Close()

	b := eng.Batch()
	var user, page engine.Result[int64]
	var seen engine.StateResult[int64]
	clicks.Put(b, "user-42", 1, &user)
	pages.Put(b, "/home", 1, &page)
	clicks.Read(b, "user-42", &seen) // sees the Put before it
	fmt.Println(b.Do(ctx))
	fmt.Println(user.Value, page.Value, seen.State, seen.Found)
	// Output:
	// <nil>
	// 1 1 1 true
}

func ExampleTable_Producer() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	clicks := counters("clicks")
	eng, err := engine.Open(ctx, dir, engine.Options{}, clicks)
	check(err)
	defer eng.Close()

	p, err := clicks.Producer(engine.ProducerOptions[string, int64]{
		Refused: func(k string, e int64, err error) { fmt.Println(k, e, "was not done:", err) },
	})
	check(err)
	for i := range 10_000 {
		check(p.Send(ctx, fmt.Sprint("user-", i%100), 1))
	}
	check(p.Flush(ctx)) // from here on they are on the disk
	check(p.Close(ctx))
	n, _, err := clicks.Get(ctx, "user-42")
	fmt.Println(n, err)
	// Output: 100 <nil>
}

// A logFile gives the lines of a file that is in memory already.
type logFile struct{ lines []string }

// Poll takes as many lines as there are, up to the number of records.
func (f *logFile) Poll(records []engine.Record[string, Click]) (int, error) {
	n := min(len(records), len(f.lines))
	for i, line := range f.lines[:n] {
		records[i] = engine.Record[string, Click]{Key: line, Event: Click{At: 1700000000}}
	}
	f.lines = f.lines[n:]
	if len(f.lines) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func ExampleTable_Consume() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	sessions := engine.Fold("sessions", func(_ *engine.Context[string], s *Session, e Click) { s.Clicks++ })
	eng, err := engine.Open(ctx, dir, engine.Options{}, sessions)
	check(err)
	defer eng.Close()

	source := &logFile{lines: []string{"user-42", "user-7", "user-42"}}
	feed, err := sessions.Consume(ctx, source, engine.SourceOptions[string, Click]{})
	check(err)
	check(feed.Wait(ctx)) // all three are durable
	s, _, err := sessions.Get(ctx, "user-42")
	fmt.Println(s.Clicks, err)
	// Output: 2 <nil>
}

func ExampleTable_All() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	clicks := counters("clicks")
	eng, err := engine.Open(ctx, dir, engine.Options{}, clicks)
	check(err)
	defer eng.Close()
	for i, user := range []string{"ann", "bob", "cid"} {
		_, err := clicks.Do(ctx, user, int64(i), engine.Applied)
		check(err)
	}
	var lines []string
	for entry, err := range clicks.All(ctx) {
		check(err)
		lines = append(lines, fmt.Sprint(entry.Key, " ", entry.State))
	}
	slices.Sort(lines) // All knows no order
	fmt.Println(lines)
	// Output: [ann 0 bob 1 cid 2]
}

func ExampleTable_View() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	clicks := counters("clicks")
	eng, err := engine.Open(ctx, dir, engine.Options{}, clicks)
	check(err)
	defer eng.Close()
	_, err = clicks.Do(ctx, "ann", 7)
	check(err)
	var doubled int64
	found, err := clicks.View(ctx, "ann", func(n *int64) { doubled = 2 * *n }) // on the shard
	fmt.Println(doubled, found, err)
	// Output: 14 true <nil>
}

func ExampleChanges_State() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	stock := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "stock",
		Apply: func(c *engine.Context[string], pieces *int64, more int64) int64 {
			if *pieces += more; *pieces == 0 {
				c.Delete()
			}
			return *pieces
		},
	})
	eng, err := engine.Open(ctx, dir, engine.Options{}, stock)
	check(err)
	defer eng.Close()
	for _, more := range []int64{5, -3, -2} {
		_, err := stock.Do(ctx, "bolts", more)
		check(err)
	}
	changes, err := stock.Changes(ctx, engine.Position{}, engine.ChangesOptions{Stop: true, States: true})
	check(err)
	defer changes.Close()
	for change, err := range changes.All(ctx) {
		check(err)
		pieces, there := changes.State()
		fmt.Println(change.Key, change.Event, "makes", pieces, there)
	}
	// Output:
	// bolts 5 makes 5 true
	// bolts -3 makes 2 true
	// bolts -2 makes 0 false
}
