package skew

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// A Move is a partition that got another shard.
type Move struct {
	At        time.Duration // since the beginning: when it ended
	Took      time.Duration
	Partition int
	From, To  int
}

// An Advice is what the engine advised.
type Advice struct {
	At            time.Duration // since the beginning
	Moves         int
	Before, After float64 // load of the busiest shard
}

// A journal hears of moves. It is a slog.Handler.
type journal struct {
	mu     sync.Mutex
	moves  []loggedMove
	advice []Advice
	err    error // of moves
}

type loggedMove struct {
	at time.Time
	Move
}

// Enabled says that everything is heard.
func (j *journal) Enabled(context.Context, slog.Level) bool { return true }

// Handle hears of a move, or that one has failed.
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch r.Message {
	case "keyfold: partition moved":
		m := loggedMove{at: r.Time}
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "partition":
				m.Partition = int(a.Value.Uint64())
			case "from":
				m.From = int(a.Value.Int64())
			case "to":
				m.To = int(a.Value.Int64())
			case "took":
				m.Took = a.Value.Duration()
			}
			return true
		})
		j.moves = append(j.moves, m)
	case "keyfold: partitions could not be moved", "keyfold: shard failed":
		j.err = errors.Join(j.err, errors.New(r.Message))
	}
	return nil
}

// WithAttrs is not used by the engine.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup is not used by the engine.
func (j *journal) WithGroup(string) slog.Handler { return j }

func (j *journal) failed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		j.err = errors.Join(j.err, err)
	}
}

// adviceEvery is how often the operator looks for advice.
const adviceEvery = 100 * time.Millisecond

// follow makes the moves that the engine advises, Operator after it first did.
func (d *drive) follow(ctx context.Context) error {
	ticker := time.NewTicker(adviceEvery)
	defer ticker.Stop()
	since := time.Duration(-1)
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		stats, err := d.engine.Stats(ctx)
		if err != nil {
			return err
		}
		a, now := stats.Advice, time.Since(d.began)
		switch {
		case len(a.Moves) == 0:
			since = -1
		case since < 0:
			since = now
			d.journal.advice = append(d.journal.advice, Advice{now, len(a.Moves), a.Before, a.After})
		case now-since >= Operator:
			if err := d.make(ctx, a.Moves); err != nil {
				return err
			}
			since = -1
		}
	}
}

// make makes moves by hand.
func (d *drive) make(ctx context.Context, moves []engine.Move) error {
	for _, m := range moves {
		if err := d.engine.Move(ctx, int(m.Partition), m.To); err != nil && !errors.Is(err, engine.ErrTooBusy) {
			return err
		}
	}
	return nil
}
