package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// layered is a target that says what its layers have done.
type layered interface {
	bench.Target
	watched
	Again() store.Again
	NoteLives()
	Timers(ctx context.Context) (store.Timers, error)
	AwaitTimers(ctx context.Context) (store.Timers, error)
	Follow(fold, left bool) (store.Reader, error)
}

// layering is what a run has to do with the layers of its store. Without any it does
// nothing.
type layering struct {
	run    *run
	target layered
	reader store.Reader // nil without one
}

// beginLayers makes ready for the load.
func (r *run) beginLayers(t bench.Target) (*layering, error) {
	l := &layering{run: r}
	if r.description.Store.Layers == (store.Layers{}) {
		return l, nil
	}
	target, ok := t.(layered)
	if !ok {
		return nil, errors.New("the store has no layers")
	}
	l.target = target
	if r.flags.Verify {
		target.NoteLives()
	}
	var err error
	if r.flags.Changes {
		l.reader, err = target.Follow(r.flags.Verify, r.flags.States)
	}
	return l, err
}

// timerWaitMax is how long a timer may take to be waited for.
const timerWaitMax = time.Minute

// end tells what the layers have done under a load that has ended so, and ends them.
func (l *layering) end(err error) error {
	if l.target == nil {
		return err
	}
	if err != nil {
		if l.reader != nil {
			err = errors.Join(err, l.reader.Close())
		}
		return err
	}
	ctx, o := context.WithoutCancel(l.run.ctx), &l.run.description.Store
	out := &report.Layers{Name: o.Name}
	l.run.result.Layers = out
	if l.reader != nil {
		read, err := l.reader.Finish(ctx)
		if err != nil {
			return trimmed(err)
		}
		out.Changes = &read
	}
	stats, err := l.target.Stats(ctx)
	if err != nil {
		return err
	}
	if o.Once > 0 {
		out.Once = &report.Once{IDs: o.Once, Again: l.target.Again(), Skipped: stats.Skipped}
	}
	if o.Timer == 0 && o.Idle == 0 && o.Age == 0 {
		return nil
	}
	out.Time = &report.Time{Timer: o.Timer, Idle: o.Idle, Age: o.Age}
	if l.run.flags.Verify && o.Timer > 0 && o.Timer <= timerWaitMax {
		out.Time.Timers, err = l.target.AwaitTimers(ctx)
	} else {
		out.Time.Timers, err = l.target.Timers(ctx)
	}
	return err
}

// trimmed says what to do when a reader of changes was too slow.
func trimmed(err error) error {
	if errors.Is(err, engine.ErrTrimmed) {
		return fmt.Errorf("the reader of --changes fell behind what is kept of the log; give --keep-log more, or the load a --rate: %w", err)
	}
	return err
}

// check adds to a finding what the layers did wrong.
func (l *layering) check(f *workload.Finding) error {
	out := l.run.result.Layers
	if out == nil {
		return nil
	}
	if o := out.Once; o != nil && o.Different > 0 {
		f.Add(o.Different, "an event that was sent again was answered otherwise than the first time")
	}
	if t := out.Time; t != nil && t.Timer > 0 {
		if t.Wrong > 0 {
			f.Add(t.Wrong, "a timer has fired early, or twice")
		}
		if mortal := t.Idle > 0 || t.Age > 0; !mortal && t.Noted != t.Fired {
			f.Add(1, fmt.Sprintf("%d timers have fired, and the states know of %d", t.Fired, t.Noted))
		}
	}
	if l.reader == nil {
		return nil
	}
	if c := out.Changes; c.Wrong > 0 {
		f.Add(c.Wrong, "a change came with a state that it did not leave")
	}
	found, err := l.run.find(l.reader)
	f.Join("changes", &found)
	return err
}
