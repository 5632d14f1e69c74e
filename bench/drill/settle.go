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

// resuming is a store whose producers have names.
type resuming interface {
	Resumer(first uint64, window int) (bench.Producer, error)
}

// timing is a store whose keys have timers.
type timing interface {
	Timers(ctx context.Context) (store.Timers, error)
	AwaitTimers(ctx context.Context) (store.Timers, error)
}

// settle sends again, under their ids, the events of the child before of which nobody knows
// what became, or by producers of the same names those that the store does not say it has, and
// looks at the timers that have fired so far. A child that rests waits for
// those that have not.
func (o *Orders) settle(ctx context.Context, t bench.Target) error {
	if o.Again != nil {
		if err := o.sendAgain(ctx, t); err != nil {
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

// sendAgain brings the store to where the child before has it settled.
func (o *Orders) sendAgain(ctx context.Context, t bench.Target) error {
	if o.Store.Name == "" {
		r, ok := t.(repeating)
		if !ok {
			return errors.New("the store has no ids")
		}
		return o.Again.repeat(ctx, r.Repeater(o.Again.Store.First, o.Window))
	}
	r, ok := t.(resuming)
	if !ok {
		return errors.New("the store has no producers with names")
	}
	var all []bench.Producer
	var err error
	for range o.Again.Producers { // each gets the name that its part of the keys had
		var p bench.Producer
		if p, err = r.Resumer(o.Again.Store.First, o.Window); err != nil {
			break
		}
		all = append(all, p)
	}
	if err == nil {
		err = o.Again.resume(ctx, all)
	}
	for _, p := range all {
		err = errors.Join(err, p.Close(ctx))
	}
	return err
}

// resume has the producers send all that there was, acknowledged or not.
func (o *Orders) resume(ctx context.Context, all []bench.Producer) error {
	var failed error
	err := o.replay(func(e workload.Event, _ bool) {
		if failed == nil {
			failed = all[bench.ProducerOf(e.Key, o.Producers)].Send(ctx, e)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, p := range all {
		err = errors.Join(err, p.Flush(ctx))
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
