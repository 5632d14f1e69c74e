package drill

import (
	"context"
	"errors"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
)

// KillAt runs one child and kills it once so many of its events are acknowledged. It
// returns how many were, when it looked last; the marks know the rest.
func KillAt(ctx context.Context, o *Orders, command Commander, events uint64) (uint64, error) {
	p, err := start(ctx, o, command)
	if err != nil {
		return 0, err
	}
	reached, err := p.until(readyWithin, func() (bool, error) {
		n, err := o.through()
		return n >= events, err
	})
	if err = errors.Join(err, p.kill(), ctx.Err()); err == nil && !reached {
		err = errors.New("drill: the child ended before it was killed")
	}
	if err != nil {
		return 0, err
	}
	return o.through()
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
