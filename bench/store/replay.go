package store

import (
	"context"
	"errors"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/engine"
)

// Replay sends the events in the log of the store in o.Dir, which is not open, to a new
// store of the options into, and returns that one, open. It has no layers: what timers and
// times to live did in the old store is not replayed. workers is how many goroutines read
// and send; 0 is what the engine chooses.
func Replay(ctx context.Context, o, into Options, workers int) (bench.Target, engine.Replayed, error) {
	into.Layers = Layers{}
	return o.declare().replay(ctx, o.Dir, into, workers)
}

func (d *declaration[S, E, R]) replay(ctx context.Context, dir string, into Options, workers int) (bench.Target, engine.Replayed, error) {
	to := &declaration[plainState, E, struct{}]{d.plain(), itself, newJournal(), d.kind}
	t, err := to.open(ctx, into)
	if err != nil {
		return nil, engine.Replayed{}, err
	}
	step := engine.ReplayInto(engine.NewTable(d.spec), t.(*folded[plainState, E, struct{}]).table, func(c engine.Change[string, E]) (string, E, bool) {
		return c.Key, c.Event, true
	})
	r, err := engine.Replay(ctx, dir, engine.ReplayOptions{Workers: workers}, step)
	if err != nil {
		return nil, r, errors.Join(err, t.Close(context.WithoutCancel(ctx)))
	}
	return t, r, nil
}
