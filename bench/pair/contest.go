package pair

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/keyfold/keyfold/bench/machine"
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

// Contest is Measure without the processor time.
func Contest(ctx context.Context, all []Contestant, rounds int, tell func(round int, name string, perSecond float64)) ([][]float64, error) {
	passes, err := Measure(ctx, all, rounds, tell)
	if passes == nil {
		return nil, err
	}
	rates := make([][]float64, len(all))
	for i := range passes {
		for _, p := range passes[i] {
			rates[i] = append(rates[i], p.PerSecond)
		}
	}
	return rates, err
}

// A Pass is what one pass took.
type Pass struct {
	// PerSecond is the events per second, until the last one was acknowledged.
	PerSecond float64
	// CPUNanos is the processor time of the process for each event, until the side was quiet
	// again; 0 where the system does not say.
	CPUNanos float64
}

// Measure has each contestant make a pass in each round, each round beginning with
// another one, after a first round that is not measured. It returns the passes of each
// round by contestant, and checks all states at the end. tell, if not nil, is told of each
// pass.
func Measure(ctx context.Context, all []Contestant, rounds int, tell func(round int, name string, perSecond float64)) ([][]Pass, error) {
	if rounds < 1 || rounds > RoundsMax {
		return nil, fmt.Errorf("pair: the count of rounds must lie between 1 and %d, not %d", RoundsMax, rounds)
	}
	passes := make([][]Pass, len(all))
	for round := range rounds + 1 {
		for i := range all {
			at := (i + round) % len(all)
			p, err := all[at].pass(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[at].Name, err)
			}
			if round == 0 {
				continue
			}
			passes[at] = append(passes[at], p)
			if tell != nil {
				tell(round, all[at].Name, p.PerSecond)
			}
		}
	}
	return passes, check(ctx, all, rounds+1)
}

// pass is one pass. The garbage of the sides before is collected first.
func (c *Contestant) pass(ctx context.Context) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	runtime.GC()
	before := machine.CPUTime()
	took, err := c.Side.Pass(ctx)
	used, events := machine.CPUTime()-before, float64(c.Events)
	return Pass{events / max(took.Seconds(), 1e-9), float64(used) / max(events, 1)}, err
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
