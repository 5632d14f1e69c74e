package drill

import (
	"context"
	"errors"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/internal/child"
)

// KillAt runs one child and kills it once so many of its events are acknowledged. It
// returns how many were, when it looked last; the marks know the rest.
func KillAt(ctx context.Context, o *Orders, command Commander, events uint64) (uint64, error) {
	killed, err := KillAfter(ctx, o, command, events, 0)
	return killed.Acked, err
}

// Killed is what a child had done when it was killed.
type Killed struct {
	// Acked is the ordinal below which every event was acknowledged.
	Acked uint64
	// Rate is how many events a second were in the time before.
	Rate float64
}

// KillAfter runs one child, waits until so many of its events are acknowledged, leaves
// it alone for so long, and kills it.
func KillAfter(ctx context.Context, o *Orders, command Commander, events uint64, live time.Duration) (k Killed, err error) {
	p, err := start(ctx, o, command)
	if err != nil {
		return k, err
	}
	reached, err := p.Until(readyWithin, func() (bool, error) {
		n, err := o.through()
		k.Acked = n
		return n >= events, err
	})
	began, before := time.Now(), k.Acked
	if err == nil && reached && live > 0 {
		_, err = p.Until(live, child.Never)
	}
	took := time.Since(began)
	if err = errors.Join(err, p.Kill(), ctx.Err()); err == nil && !reached {
		err = errors.New("drill: the child ended before it was killed")
	}
	if err != nil {
		return k, err
	}
	k.Acked, err = o.through()
	k.Rate = float64(k.Acked-before) / max(took.Seconds(), 1e-9)
	return k, err
}

// through is the ordinal below which every event is acknowledged.
func (o *Orders) through() (uint64, error) {
	marks, err := ReadMarks(o.file("marks"), o.Producers)
	if err != nil || len(marks) == 0 {
		return 0, err
	}
	least := marks[0].Acked
	for _, m := range marks {
		least = min(least, m.Acked)
	}
	return least, nil
}

// Judge compares the states of t with what the child with these orders sent. missing,
// if not nil, is told of each event of the stream, which must have an end, that t does
// not hold: what is to be sent now.
func (o *Orders) Judge(ctx context.Context, t bench.Target, missing func(workload.Event)) (workload.Finding, error) {
	marks, err := ReadMarks(o.file("marks"), o.Producers)
	if err != nil {
		return workload.Finding{}, err
	}
	a, err := workload.NewNumbered(o.Stream.Keys)
	if err != nil {
		return workload.Finding{}, err
	}
	a.Begin()
	if err := t.All(ctx, func(key []byte, s *workload.Stats) error { a.Have(key, s); return nil }); err != nil {
		return workload.Finding{}, err
	}
	stream, err := workload.NewGenerator(o.Stream)
	if err != nil {
		return workload.Finding{}, err
	}
	err = workload.ForEach(stream, func(e workload.Event) error {
		acked := o.survives() && len(marks) > 0 && e.Ordinal < marks[bench.ProducerOf(e.Key, o.Producers)].Acked
		if !a.Event(e, acked) && missing != nil {
			missing(e)
		}
		return nil
	})
	return a.End(), err
}

// Verify compares the states of t with what the child with these orders may have sent,
// by its marks. The stream need not have an end.
func (o *Orders) Verify(ctx context.Context, t bench.Target) (workload.Finding, error) {
	a, err := workload.NewNumbered(o.Stream.Keys)
	if err != nil {
		return workload.Finding{}, err
	}
	a.Begin()
	if err := t.All(ctx, func(key []byte, s *workload.Stats) error { a.Have(key, s); return nil }); err != nil {
		return workload.Finding{}, err
	}
	err = o.replay(func(e workload.Event, acked bool) { a.Event(e, o.mustHold(acked)) })
	return a.End(), err
}
