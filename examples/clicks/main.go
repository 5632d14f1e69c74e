// Command clicks tracks sessions from batches of clicks that a queue delivers at least
// once: a batch that was not confirmed comes again. Each click has its offset in the queue,
// and counts once.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/keyfold/keyfold/engine"
)

// A Click is a message of the queue.
type Click struct {
	Offset uint64 // its place in the queue, from 1 on
	User   string
	Page   int64
}

// A Session is what is known of a user.
type Session struct{ Clicks, LastPage int64 }

func newSessions() *engine.Table[string, Session, int64, struct{}] {
	return engine.Fold("sessions", func(_ *engine.Context[string], s *Session, page int64) {
		s.Clicks, s.LastPage = s.Clicks+1, page
	})
}

// A Queue delivers batches, at least once each, in the order of their offsets.
type Queue interface {
	// Deliver returns the next batch from an offset on; none at the end.
	Deliver(from uint64) []Click
}

// track folds the queue. It confirms nothing to the queue: the store knows how far it is.
func track(ctx context.Context, sessions *engine.Table[string, Session, int64, struct{}], queue Queue) error {
	p, err := sessions.Producer(engine.ProducerOptions[string, int64]{Name: "clicks"})
	if err != nil {
		return err
	}
	next, err := p.Resume(ctx)
	if err != nil {
		return err
	}
	for batch := queue.Deliver(next); len(batch) > 0; batch = queue.Deliver(next) {
		for _, c := range batch {
			if c.Offset < next {
				continue // delivered again, and sent already
			}
			if err := p.SendAt(ctx, c.Offset, c.User, c.Page); err != nil {
				return err
			}
			next = c.Offset + 1
		}
		if err := p.Flush(ctx); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

// memory is a queue for the demonstration.
type memory struct{ clicks []Click }

// Deliver delivers up to three clicks, and one of before again.
func (m *memory) Deliver(from uint64) []Click {
	if int(from) > len(m.clicks) {
		return nil
	}
	return m.clicks[max(1, from-1)-1 : min(int(from)+2, len(m.clicks))]
}

func run(ctx context.Context, dir string) error {
	queue := &memory{}
	for i := range uint64(10) {
		queue.clicks = append(queue.clicks, Click{Offset: i + 1, User: "ann", Page: int64(i)})
	}
	for range 2 { // the second time there is nothing left
		sessions := newSessions()
		eng, err := engine.Open(ctx, dir, engine.Options{}, sessions)
		if err != nil {
			return err
		}
		if err := track(ctx, sessions, queue); err != nil {
			return err
		}
		s, _, err := sessions.Get(ctx, "ann")
		if err != nil {
			return err
		}
		fmt.Printf("ann: %d clicks, the last on page %d\n", s.Clicks, s.LastPage)
		if err := eng.Close(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(context.Background(), "clicks.keyfold"); err != nil {
		log.Fatal(err)
	}
}
