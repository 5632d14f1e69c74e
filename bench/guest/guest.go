package guest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// Options says what is measured.
type Options struct {
	// Dir is a directory on the disk that is to be used; "" is that of temporary files.
	Dir string
	// Engine is how the engine is opened, Ack what its producer waits for.
	Engine engine.Options
	Ack    engine.Ack
	// Keys are all inserted before a round. Events of them are drawn by Dist and Seed.
	Keys uint64
	Dist string
	Seed uint64
	// Part is the load of the engine, in parts of its peak.
	Part float64
	// Rate is how many requests a second are made, in rounds of length Round.
	Rate   float64
	Round  time.Duration
	Rounds int
	// Tell, if not nil, is told of each round.
	Tell func(round int, r Pair)
}

// Bounds of the options.
const (
	RateMax   = 1e6
	RoundsMax = 10_000
)

// Check says what is wrong with the options.
func (o *Options) Check() error {
	switch {
	case !(o.Part > 0 && o.Part <= 1):
		return fmt.Errorf("guest: the load is more than 0 and at most 1 of the peak, not %v", o.Part)
	case !(o.Rate >= 1 && o.Rate <= RateMax):
		return fmt.Errorf("guest: the rate of requests lies between 1 and %.0f a second, not %v", RateMax, o.Rate)
	case o.Rounds < 1 || o.Rounds > RoundsMax:
		return fmt.Errorf("guest: the count of rounds must lie between 1 and %d, not %d", RoundsMax, o.Rounds)
	case o.requests() < 1:
		return fmt.Errorf("guest: a round of %v has no request at %v a second", o.Round, o.Rate)
	case o.Keys < 1 || o.Keys > pair.KeysMax:
		return fmt.Errorf("guest: 1 to %d keys, whose states lie in memory, not %d", pair.KeysMax, o.Keys)
	}
	return nil
}

// requests is how many a round has.
func (o *Options) requests() int { return int(o.Rate * o.Round.Seconds()) }

// Pair is one round: the service without the engine, and with it.
type Pair struct{ Without, With Times }

// Measured is what came of it.
type Measured struct {
	// Peak is the rate of the engine alone, Load that of the rounds, in events a second.
	Peak, Load float64
	Rounds     []Pair
}

// Total are the times of all rounds.
func (m *Measured) Total() Pair {
	total := Pair{newTimes(), newTimes()}
	for _, r := range m.Rounds {
		total.Without.merge(r.Without)
		total.With.merge(r.With)
	}
	return total
}

const (
	streamEvents = 1 << 20
	peakLasts    = time.Second // or the length of a round, if that is shorter
)

// Measure measures. Every other round begins with the engine.
func Measure(ctx context.Context, o Options) (m Measured, err error) {
	if err := o.Check(); err != nil {
		return m, err
	}
	keys, stream, err := drawn(&o)
	if err != nil {
		return m, err
	}
	s, err := newService()
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	open := func() (*load, error) { return openLoad(ctx, &o, keys, stream) }
	if err := m.findPeak(ctx, o.Round, open); err != nil {
		return m, err
	}
	m.Load = o.Part * m.Peak
	every := time.Duration(float64(time.Second) / o.Rate)
	if _, err := s.ask(ctx, min(o.requests(), int(o.Rate)), every); err != nil { // connects
		return m, err
	}
	for round := range o.Rounds {
		var p Pair
		for turn := range 2 {
			runtime.GC()
			if turn == round%2 {
				p.Without, err = s.ask(ctx, o.requests(), every)
			} else {
				p.With, err = beside(ctx, open, m.Load, func() (Times, error) { return s.ask(ctx, o.requests(), every) })
			}
			if err != nil {
				return m, err
			}
		}
		m.Rounds = append(m.Rounds, p)
		if o.Tell != nil {
			o.Tell(round+1, p)
		}
	}
	return m, nil
}

// drawn are all keys, and what is sent to them.
func drawn(o *Options) ([]limit.Key, limit.Stream, error) {
	return pair.Draw(workload.Generated{Keys: o.Keys, Dist: o.Dist, Seed: o.Seed, Events: streamEvents})
}

// findPeak measures the engine alone.
func (m *Measured) findPeak(ctx context.Context, round time.Duration, open func() (*load, error)) error {
	l, err := open()
	if err != nil {
		return err
	}
	m.Peak, err = l.peak(ctx, min(peakLasts, round))
	if err == nil {
		err = l.check(ctx)
	}
	return errors.Join(err, l.close())
}

// beside asks beside a loaded engine.
func beside(ctx context.Context, open func() (*load, error), rate float64, ask func() (Times, error)) (t Times, err error) {
	l, err := open()
	if err != nil {
		return t, err
	}
	quit, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- l.pace(ctx, rate, quit) }()
	t, err = ask()
	close(quit)
	if err = errors.Join(err, <-ended); err == nil {
		err = l.check(ctx)
	}
	return t, errors.Join(err, l.close())
}
