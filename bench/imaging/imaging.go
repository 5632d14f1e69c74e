package imaging

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// Options says what is measured.
type Options struct {
	// Dir is a directory on the disk that is to be used; "" is that of temporary files.
	Dir string
	// Engine is how the engine is opened, but for snapshots, which are taken when they are
	// asked for. Ack is what the caller asks for.
	Engine engine.Options
	Ack    engine.Ack
	// Keys are all inserted before. Events of them are drawn by Dist and Seed.
	Keys uint64
	Dist string
	Seed uint64
	// Every is the time between two calls.
	Every  time.Duration
	Rounds int
	// Tell, if not nil, is told of each round.
	Tell func(round int, p Pair)
}

// RoundsMax bounds Options.Rounds.
const RoundsMax = 1000

// Check says what is wrong with the options.
func (o *Options) Check() error {
	switch {
	case o.Rounds < 1 || o.Rounds > RoundsMax:
		return fmt.Errorf("imaging: the count of rounds must lie between 1 and %d, not %d", RoundsMax, o.Rounds)
	case o.Every <= 0 || o.Every > time.Second:
		return fmt.Errorf("imaging: the time between two calls must be more than 0 and at most 1s, not %v", o.Every)
	case o.Keys < 1 || o.Keys > pair.KeysMax:
		return fmt.Errorf("imaging: 1 to %d keys, whose states lie in memory, not %d", pair.KeysMax, o.Keys)
	}
	return nil
}

// Figures are what came of a window.
type Figures struct {
	Events  uint64 // of the producer
	Seconds float64
	Calls   *hdr.Histogram // nanoseconds from when a call was due until its ack
	// RSSBytes is the most memory that the process held in the window, without what it
	// held before the engine was opened; 0 where the system does not say.
	RSSBytes uint64
}

// Rate is the throughput in events a second.
func (f *Figures) Rate() float64 { return float64(f.Events) / f.Seconds }

// Pair is a window without a round, and the one with a round.
type Pair struct{ Without, With Figures }

// Measured is what came of it.
type Measured struct {
	// RSSBytes is what the engine held at most before the first round, and MostBytes
	// beside a round: what is held for rounds is kept between them.
	RSSBytes, MostBytes uint64
	Rounds              []Pair
}

// Total are the calls of all rounds.
func (m *Measured) Total() (without, with *hdr.Histogram) {
	without, with = newHistogram(), newHistogram()
	for _, p := range m.Rounds {
		without.Merge(p.Without.Calls)
		with.Merge(p.With.Calls)
	}
	return without, with
}

const (
	streamEvents = 1 << 20
	// windowMin is how long a window without a round lasts at least.
	windowMin = time.Second
	// sampleEvery is how often memory is looked at.
	sampleEvery = 5 * time.Millisecond
)

func newHistogram() *hdr.Histogram { return hdr.New(1, int64(time.Hour), 3) }

// Measure measures, and checks that no event was lost. The first window, which warms up,
// is not counted.
func Measure(ctx context.Context, o Options) (m Measured, err error) {
	if err := o.Check(); err != nil {
		return m, err
	}
	keys, stream, err := pair.Draw(workload.Generated{Keys: o.Keys, Dist: o.Dist, Seed: o.Seed, Events: streamEvents})
	if err != nil {
		return m, err
	}
	debug.FreeOSMemory()
	own := machine.ResidentBytes()
	l, err := openLoad(ctx, &o, keys, stream)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	l.own = own
	l.start(ctx, &o)
	err = m.windows(ctx, &o, l)
	if err = errors.Join(err, l.stop()); err != nil {
		return m, err
	}
	return m, l.check(ctx)
}

// windows measures in turn without a round and with one.
func (m *Measured) windows(ctx context.Context, o *Options, l *load) error {
	for range 2 { // the first one warms up
		idle, err := l.window(ctx, func() error { return rest(ctx, windowMin) })
		if err != nil {
			return err
		}
		m.RSSBytes = idle.RSSBytes
	}
	for round := range o.Rounds {
		var p Pair
		began := time.Now()
		with, err := l.window(ctx, func() error { return l.engine.Snapshot(ctx) })
		if err != nil {
			return err
		}
		length := max(windowMin, time.Since(began))
		without, err := l.window(ctx, func() error { return rest(ctx, length) })
		if err != nil {
			return err
		}
		p.With, p.Without = with, without
		m.MostBytes = max(m.MostBytes, with.RSSBytes)
		m.Rounds = append(m.Rounds, p)
		if o.Tell != nil {
			o.Tell(round+1, p)
		}
	}
	return nil
}

// rest lets time go by.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
