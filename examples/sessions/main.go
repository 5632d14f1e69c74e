// Command sessions finds the sessions of users: clicks with less than a gap between one
// and the next. A timer of each user ends a session when no click comes any more.
//
//	go run ./examples/sessions
//	zstd -dc flights.ndjson.zst | go run ./examples/sessions -flights
//
// The first makes clicks of its own, for some seconds. The second reads flights, and finds
// the times in which each route was served without a pause of half a day; there the time
// is that of the flights, so that the next flight of a route ends its session.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/window"
)

// User is a state: the session that goes on, and what has become of those before.
type User struct {
	Open     window.Session[Clicks]
	Sessions int64 // that have ended
	Clicks   int64 // in them
	Longest  int64 // nanoseconds
}

type (
	// Clicks are the value of a session.
	Clicks struct{ LastPage int64 }
	// Click is an event. At is when it came, in nanoseconds of Unix time; 0: now.
	Click struct{ At, Page int64 }
)

// users declares the table.
func users(gap time.Duration) *engine.Table[string, User, Click, int64] {
	return engine.NewTable(engine.Spec[string, User, Click, int64]{
		Name: "users",
		Apply: func(c *engine.Context[string], u *User, e Click) int64 {
			at := time.Unix(0, e.At)
			if e.At == 0 {
				at = c.Now()
			}
			if before, ended := u.Open.Add(at, gap); ended {
				u.end(before)
			}
			u.Open.Value.LastPage = e.Page
			if e.At == 0 {
				c.SetTimer(u.Open.Deadline(gap))
			}
			return u.Sessions
		},
		OnTimer: func(c *engine.Context[string], u *User) {
			if before, ended := u.Open.End(c.Now(), gap); ended {
				u.end(before)
			}
		},
		TTL: engine.TTL{Idle: 90 * 24 * time.Hour, Downtime: engine.DowntimeStops},
	})
}

func (u *User) end(s window.Session[Clicks]) {
	u.Sessions++
	u.Clicks += s.Events
	u.Longest = max(u.Longest, s.Last-s.Start)
}

// click makes clicks of so many users until ctx ends, and returns how many.
func click(ctx context.Context, table *engine.Table[string, User, Click, int64], users int) (clicks int64, err error) {
	for ctx.Err() == nil {
		user := rand.IntN(users)
		for range 1 + rand.IntN(5) {
			if _, err := table.Do(ctx, fmt.Sprintf("user-%d", user), Click{Page: rand.Int64N(100)}); err != nil {
				if ctx.Err() != nil {
					return clicks, nil
				}
				return clicks, err
			}
			clicks++
		}
	}
	return clicks, nil
}

var flights = engine.NewJSON(func(l *engine.Line) (string, Click, error) {
	at, err := time.Parse(time.RFC3339, l.Text("date"))
	return l.Text("origin") + "-" + l.Text("destination"), Click{At: at.UnixNano()}, err
})

// read sends lines of flights.
func read(ctx context.Context, table *engine.Table[string, User, Click, int64], in io.Reader) error {
	producer, err := table.Producer(engine.ProducerOptions[string, Click]{})
	if err != nil {
		return err
	}
	input := bufio.NewScanner(in)
	for number := 1; input.Scan() && err == nil; number++ {
		route, flight, bad := flights.Parse(input.Bytes())
		if bad != nil {
			err = fmt.Errorf("line %d: %w", number, bad)
			break
		}
		err = producer.Send(ctx, route, flight)
	}
	return errors.Join(err, input.Err(), producer.Close(ctx))
}

// report shows those with the most sessions, and how many there are of all.
func report(ctx context.Context, table *engine.Table[string, User, Click, int64], out io.Writer) error {
	var all []engine.Entry[string, User]
	sessions, clicks, open := int64(0), int64(0), 0
	for entry, err := range table.All(ctx) {
		if err != nil {
			return err
		}
		all = append(all, entry)
		sessions, clicks = sessions+entry.State.Sessions, clicks+entry.State.Clicks
		if entry.State.Open.Events > 0 {
			open++
		}
	}
	slices.SortFunc(all, func(a, b engine.Entry[string, User]) int {
		return cmp.Or(cmp.Compare(b.State.Sessions, a.State.Sessions), cmp.Compare(a.Key, b.Key))
	})
	fmt.Fprintf(out, "%d keys, %d sessions that ended with %d events, %d that go on\n", len(all), sessions, clicks, open)
	for _, e := range all[:min(5, len(all))] {
		fmt.Fprintf(out, "%s: %d sessions, %d events, the longest took %v\n", e.Key, e.State.Sessions, e.State.Clicks, time.Duration(e.State.Longest).Round(time.Millisecond))
	}
	return nil
}

func run(ctx context.Context, dir string, in io.Reader, out io.Writer, lasting time.Duration) (err error) {
	gap := 300 * time.Millisecond
	if in != nil {
		gap = 12 * time.Hour
	}
	table := users(gap)
	eng, err := engine.Open(ctx, dir, engine.Options{}, table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if in != nil {
		if err := read(ctx, table, in); err != nil {
			return err
		}
		return report(ctx, table, out)
	}
	until, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	if _, err := click(until, table, 1000); err != nil {
		return err
	}
	fmt.Fprintln(out, "no more clicks: timers end the sessions that go on")
	if err := settle(ctx, table, gap); err != nil {
		return err
	}
	return report(ctx, table, out)
}

// settle waits until no session goes on.
func settle(ctx context.Context, table *engine.Table[string, User, Click, int64], gap time.Duration) error {
	for open := 1; open > 0; {
		<-time.After(gap / 2)
		open = 0
		for entry, err := range table.All(ctx) {
			if err != nil {
				return err
			}
			open += int(min(1, entry.State.Open.Events))
		}
	}
	return nil
}

func main() {
	byRoute := flag.Bool("flights", false, "read flights from the input, a JSON object a line")
	lasting := flag.Duration("for", 3*time.Second, "how long to make clicks")
	flag.Parse()
	dir, in := "sessions.keyfold", io.Reader(nil)
	if *byRoute {
		dir, in = "routes.keyfold", os.Stdin
	}
	if err := run(context.Background(), dir, in, os.Stdout, *lasting); err != nil {
		log.Fatal(err)
	}
}
