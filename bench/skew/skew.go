// Package skew drives loads whose hot keys change their place at given moments, and sees
// what rebalancing makes of it: how many events are settled in each moment, how long they
// took, and which partitions have moved when.
//
// Shards read the events themselves, from a source each, so that what the machine does
// besides is next to nothing: on two cores a load that another goroutine makes leaves no
// core that a second shard could gain. Phases follow each other by the clock. In the first
// the load is even; with every further one it shifts, all of what is hot to the partitions
// that one shard has at first, each shard in turn. A run that is Balanced shifts at the same
// moments, to partitions that belong to all shards alike: it is what the others are
// measured by.
package skew

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/seam"
)

// Options says what is driven, and how.
type Options struct {
	// Dir must be new or empty.
	Dir string
	// Engine is how the engine is opened. Its Shards must be given; Partitions, Rebalance,
	// Logger and Environment are those of the run.
	Engine engine.Options
	// Ack is how far events come before they count.
	Ack engine.Ack
	// Mode is what is done about the imbalance.
	Mode Mode
	// Load says which keys events have.
	Load Load
	// Work is how long Apply takes beyond its own, about.
	Work time.Duration
	// Even is how long the load is even, and Phase how long it stays after each of Shifts.
	Even, Phase time.Duration
	Shifts      int
	// Slice is the length of the parts of the time that are told apart.
	Slice time.Duration
	// InFlight is how many events of a source may be unsettled.
	InFlight int
}

// A Mode is what is done about the imbalance.
type Mode string

// The modes.
const (
	Balanced  Mode = "balanced"  // the load has none; rebalancing is off
	Off       Mode = "off"       // nothing
	Advised   Mode = "advised"   // what the engine advises is done by hand, Operator after it said so
	Automatic Mode = "automatic" // the engine sees to it
)

// Modes are all of them.
func Modes() []Mode { return []Mode{Balanced, Off, Advised, Automatic} }

// Operator is how long whoever follows advice takes to do so.
const Operator = time.Second

// Bounds of the options.
const (
	ShardsMax = 4
	slicesMax = 10_000
)

// Check says what is wrong with the options.
func (o *Options) Check() error {
	switch {
	case o.Engine.Shards < 2 || o.Engine.Shards > ShardsMax:
		return fmt.Errorf("skew: 2 to %d shards can be out of balance, not %d", ShardsMax, o.Engine.Shards)
	case o.Even <= 0 || o.Phase <= 0 || o.Shifts < 1:
		return fmt.Errorf("skew: an even phase and one shift are the least, not %v and %d of %v", o.Even, o.Shifts, o.Phase)
	case o.Slice <= 0 || o.total()/o.Slice > slicesMax:
		return fmt.Errorf("skew: %v cannot be told apart by %v", o.total(), o.Slice)
	case o.Work < 0 || o.InFlight < 0:
		return errors.New("skew: neither work nor events in flight can be fewer than none")
	}
	return nil
}

func (o *Options) total() time.Duration { return o.Even + time.Duration(o.Shifts)*o.Phase }

// phase is that of a time since the beginning: 0 is the even one.
func (o *Options) phase(at time.Duration) int {
	if at < o.Even {
		return 0
	}
	return min(1+int((at-o.Even)/o.Phase), o.Shifts)
}

// Begins is when a phase begins.
func (o *Options) Begins(phase int) time.Duration {
	if phase == 0 {
		return 0
	}
	return o.Even + time.Duration(phase-1)*o.Phase
}

// A Key is the key of an event.
type Key [16]byte

// An event says which of the events of its key and source it is.
type event struct{ From, Number uint64 }

// A state counts the events of a key by their source, and those that did not come in turn.
type state struct {
	Counts [ShardsMax]uint64
	Astray uint64
}

const (
	partitionBits = 12
	partitions    = 1 << partitionBits
)

type table = engine.Table[Key, state, event, uint64]

// newTable folds events. toil is how many steps Apply takes beyond that.
func newTable(toil int) *table {
	return engine.NewTable(engine.Spec[Key, state, event, uint64]{
		Name: "skew", Version: 1,
		Apply: func(_ *engine.Context[Key], s *state, e event) uint64 {
			if e.Number != s.Counts[e.From] {
				s.Astray++
			}
			s.Counts[e.From]++
			return steps(toil, e.Number)
		},
	})
}

// steps is work that takes as long each time.
func steps(n int, x uint64) uint64 {
	x |= 1
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// toilFor is how many steps take about as long as d.
func toilFor(d time.Duration) int {
	const probe = 1 << 20
	best := time.Duration(1 << 62)
	for range 5 {
		began := time.Now()
		if steps(probe, uint64(began.UnixNano())) == 0 {
			return 0 // it never is
		}
		best = min(best, time.Since(began))
	}
	return int(float64(d) / float64(best) * probe)
}

// A drive is one run under way.
type drive struct {
	*Options
	engine  *engine.Engine
	table   *table
	places  [][]uint32 // by phase and rank: the number of a key
	keys    []Key
	feeders []*feeder
	began   time.Time
	journal journal
}

// Run drives one run, and verifies every key.
func Run(ctx context.Context, o Options) (r Result, err error) {
	if err := o.Check(); err != nil {
		return r, err
	}
	d := &drive{Options: &o, table: newTable(toilFor(o.Work)), keys: o.Load.Keys}
	if err := d.open(ctx); err != nil {
		return r, err
	}
	defer func() {
		hurry, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel() // what it holds was looked at
		if closing := d.engine.Shutdown(hurry); !errors.Is(closing, context.Canceled) {
			err = errors.Join(err, closing)
		}
	}()
	if err := d.prepare(ctx); err != nil {
		return r, err
	}
	if err := d.drive(ctx); err != nil {
		return r, err
	}
	r = d.result()
	r.Keys, err = d.verify(ctx)
	return r, err
}

// open opens the engine of the run.
func (d *drive) open(ctx context.Context) (err error) {
	options := d.Engine
	options.Partitions, options.Rebalance = partitions, engine.RebalanceOff
	switch d.Mode {
	case Advised:
		options.Rebalance = engine.RebalanceAdvise
	case Automatic:
		options.Rebalance = engine.RebalanceAutomatic
	}
	options.Logger = slog.New(&d.journal)
	options.Environment = seam.System()
	options.Environment.Hash = d.Load.hash
	d.engine, err = engine.Open(ctx, d.Dir, options, d.table)
	return err
}

// prepare says which keys are hot in which phase, and inserts them all.
func (d *drive) prepare(ctx context.Context) error {
	stats, err := d.engine.Stats(ctx)
	if err != nil {
		return err
	}
	owners := make([]int, len(d.keys))
	for i := range d.keys {
		owners[i] = stats.Partitions[d.Load.hash(d.keys[i][:], 0)>>(64-partitionBits)].Shard
	}
	for phase := range d.Shifts + 1 {
		towards := -1
		if phase > 0 && d.Mode != Balanced {
			towards = (phase - 1) % d.Engine.Shards
		}
		d.places = append(d.places, d.Load.place(owners, d.Engine.Shards, phase, towards))
	}
	for i := range d.Engine.Shards {
		d.feeders = append(d.feeders, newFeeder(d, i))
	}
	return d.insert(ctx)
}

// insert sends one event to every key.
func (d *drive) insert(ctx context.Context) error {
	p, err := d.table.Producer(engine.ProducerOptions[Key, event]{})
	if err != nil {
		return err
	}
	for i := range d.keys {
		if err := p.Send(ctx, d.keys[i], event{}); err != nil {
			return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
		}
		d.feeders[0].sent[i]++
	}
	return p.Close(ctx)
}

// drive has the shards read until the time is over.
func (d *drive) drive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var feeds []*engine.Feed
	var errs []error
	d.began = time.Now()
	for _, f := range d.feeders {
		feed, err := d.table.Consume(ctx, f, engine.SourceOptions[Key, event]{Ack: d.Ack, Settled: f.settled, InFlightMax: d.InFlight})
		if err != nil {
			errs = append(errs, err)
			break
		}
		feeds = append(feeds, feed)
	}
	var operator sync.WaitGroup
	if d.Mode == Advised {
		operator.Go(func() { d.journal.failed(d.follow(ctx)) })
	}
	for _, feed := range feeds {
		err := feed.Wait(ctx)
		if err != nil {
			err = errors.Join(err, feed.Close(context.WithoutCancel(ctx)))
		}
		errs = append(errs, err)
	}
	cancel()
	operator.Wait()
	return errors.Join(append(errs, d.journal.err)...)
}

// verify compares every key with what was sent, and returns how many there are.
func (d *drive) verify(ctx context.Context) (keys int, err error) {
	numbers := make(map[Key]int, len(d.keys))
	for i, k := range d.keys {
		numbers[k] = i
	}
	for entry, err := range d.table.All(ctx) {
		if err != nil {
			return keys, err
		}
		i, ok := numbers[entry.Key]
		if !ok {
			return keys, fmt.Errorf("%w: key %q is there once more than it was sent", ErrWrong, entry.Key)
		}
		delete(numbers, entry.Key)
		keys++
		want := state{}
		for from, f := range d.feeders {
			want.Counts[from] = f.sent[i]
		}
		if entry.State != want {
			return keys, fmt.Errorf("%w: key %q is %+v, and must be %+v", ErrWrong, entry.Key, entry.State, want)
		}
	}
	if len(numbers) > 0 {
		return keys, fmt.Errorf("%w: %d keys are missing", ErrWrong, len(numbers))
	}
	return keys, nil
}

// ErrWrong says that a key is not what it must be: an event was lost, doubled or came out
// of turn.
var ErrWrong = errors.New("skew: a state is wrong")

// hashed is a hash whose highest bits are a partition.
func hashed(partition uint64, key []byte) uint64 {
	return partition<<(64-partitionBits) | xxh3.Hash(key)>>partitionBits
}
