package pair

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// A Contestant is a side in a contest.
type Contestant struct {
	// Name tells it apart.
	Name string
	// Side is what is measured. The contest does not close it.
	Side Side
	// Events is how many it takes in a pass.
	Events int
	// Expected is what one pass comes to; Ordered says that the events of each key
	// have an order.
	Expected Expected
	Ordered  bool
}

// RoundsMax bounds a contest.
const RoundsMax = 1000

// Contest has each contestant make a pass in each round, each round beginning with
// another one, after a first round that is not measured. It returns the events per
// second of each round by contestant, and checks all states at the end. tell, if not
// nil, is told of each pass.
func Contest(ctx context.Context, all []Contestant, rounds int, tell func(round int, name string, perSecond float64)) ([][]float64, error) {
	if rounds < 1 || rounds > RoundsMax {
		return nil, fmt.Errorf("pair: the count of rounds must lie between 1 and %d, not %d", RoundsMax, rounds)
	}
	rates := make([][]float64, len(all))
	for round := range rounds + 1 {
		for i := range all {
			at := (i + round) % len(all)
			rate, err := all[at].pass(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[at].Name, err)
			}
			if round == 0 {
				continue
			}
			rates[at] = append(rates[at], rate)
			if tell != nil {
				tell(round, all[at].Name, rate)
			}
		}
	}
	return rates, check(ctx, all, rounds+1)
}

// pass is one pass, in events per second. The garbage of the sides before is collected
// first.
func (c *Contestant) pass(ctx context.Context) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	runtime.GC()
	took, err := c.Side.Pass(ctx)
	return float64(c.Events) / max(took.Seconds(), 1e-9), err
}

func check(ctx context.Context, all []Contestant, passes int) error {
	var errs []error
	for _, c := range all {
		if err := c.Expected.Check(ctx, c.Side, passes, c.Ordered); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}
