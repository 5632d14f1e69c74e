package drill

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// repeating is a store whose events have ids.
type repeating interface {
	Repeater(first uint64, window int) bench.Producer
}

// timing is a store whose keys have timers.
type timing interface {
	Timers(ctx context.Context) (store.Timers, error)
	AwaitTimers(ctx context.Context) (store.Timers, error)
}

// settle sends again, under their ids, the events of the child before of which nobody knows
// what became, and looks at the timers that have fired so far. A child that rests waits for
// those that have not.
func (o *Orders) settle(ctx context.Context, t bench.Target) error {
	if o.Again != nil {
		r, ok := t.(repeating)
		if !ok {
			return errors.New("drill: the store has no ids")
		}
		if err := o.Again.repeat(ctx, r.Repeater(o.Again.Store.First, o.Window)); err != nil {
			return fmt.Errorf("drill: send again: %w", err)
		}
	}
	timers, ok := t.(timing)
	if !ok || o.Store.Timer == 0 {
		return nil
	}
	look := timers.Timers
	if o.Rest {
		look = timers.AwaitTimers
	}
	found, err := look(ctx)
	if err == nil && found.Wrong > 0 {
		err = fmt.Errorf("drill: %d timers have fired early, or twice", found.Wrong)
	}
	return err
}

// repeat sends what was not acknowledged, in order.
func (o *Orders) repeat(ctx context.Context, p bench.Producer) error {
	var failed error
	err := o.replay(func(e workload.Event, acked bool) {
		if failed == nil && !acked {
			failed = p.Send(ctx, e)
		}
	})
	if err = errors.Join(err, failed); err == nil {
		err = p.Flush(ctx)
	}
	return errors.Join(err, p.Close(ctx))
}
