package store

import (
	"context"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// event is what the table under load folds: a value and its place in the stream.
type event struct {
	Ordinal uint64
	Value   float64
}

// padded is an event of more than EventBytesMin bytes.
type padded struct {
	event
	Bytes int64
}

// plainSpec declares the table of events of EventBytesMin.
func plainSpec() engine.Spec[string, workload.Stats, event, struct{}] {
	return engine.Spec[string, workload.Stats, event, struct{}]{
		Name: tableName, Version: tableVersion,
		Apply: func(_ *engine.Context[string], s *workload.Stats, e event) (none struct{}) {
			s.Fold(e.Ordinal, e.Value)
			return none
		},
	}
}

// paddedSpec declares the table of larger events.
func paddedSpec() engine.Spec[string, workload.Stats, padded, struct{}] {
	return engine.Spec[string, workload.Stats, padded, struct{}]{
		Name: tableName, Version: tableVersion,
		Apply: func(_ *engine.Context[string], s *workload.Stats, e padded) (none struct{}) {
			s.Fold(e.Ordinal, e.Value)
			return none
		},
		EventCodec: padding{},
	}
}

const (
	tableName    = "load"
	tableVersion = 1
)

// Open opens a store, or makes one, with one table that folds events into workload.Stats
// by key.
func Open(ctx context.Context, o Options) (bench.Target, error) { return o.declare().open(ctx, o) }

// ReplayCheck is engine.ReplayCheck of the store that Open makes.
func ReplayCheck(ctx context.Context, o Options) (*engine.ReplayReport, error) {
	opts, err := o.options()
	if err != nil {
		return nil, err
	}
	return engine.ReplayCheck(ctx, o.Dir, opts, o.declare().definition())
}

// declared is the table under load, of whatever types.
type declared interface {
	open(ctx context.Context, o Options) (bench.Target, error)
	definition() engine.Definition
	replay(ctx context.Context, dir string, into Options, workers int) (bench.Target, engine.Replayed, error)
}

// declaration is a table under load.
type declaration[S, E any, R comparable] struct {
	spec    engine.Spec[string, S, E, R]
	stats   func(*S) *workload.Stats // in a state
	journal *journal
	kind[E]
}

// kind is a kind of event: how one is made, what of it is folded, and the table of it
// without layers.
type kind[E any] struct {
	of    func(workload.Event) E
	sent  func(*E) *event
	plain func() engine.Spec[string, plainState, E, struct{}]
}

// plainState is the state of a table without timers.
type plainState = workload.Stats

func itself(s *plainState) *workload.Stats { return s }

// declare says which table the options want.
func (o *Options) declare() declared {
	if o.EventBytes == EventBytesMin {
		return withTimers(o, kind[event]{
			func(e workload.Event) event { return event{e.Ordinal, e.Value} }, func(e *event) *event { return e }, plainSpec,
		})
	}
	size := int64(o.EventBytes)
	return withTimers(o, kind[padded]{
		func(e workload.Event) padded { return padded{event{e.Ordinal, e.Value}, size} }, func(e *padded) *event { return &e.event }, paddedSpec,
	})
}

// withTimers adds timers to a table, if the options want them.
func withTimers[E any](o *Options, k kind[E]) declared {
	note := newJournal()
	if o.Timer > 0 {
		return withIDs(o, timing(k.plain(), o.Timer, note), func(s *timed) *workload.Stats { return &s.Stats }, k, note)
	}
	return withIDs(o, k.plain(), itself, k, note)
}

// withIDs adds answers to a table whose events have ids.
func withIDs[S, E any](o *Options, spec engine.Spec[string, S, E, struct{}], stats func(*S) *workload.Stats, k kind[E], note *journal) declared {
	if o.Once > 0 {
		return withTTL(o, answering(spec, o.Once, stats), stats, k, note)
	}
	return withTTL(o, spec, stats, k, note)
}

// withTTL adds a time to live to a table, if the options want one.
func withTTL[S, E any, R comparable](o *Options, spec engine.Spec[string, S, E, R], stats func(*S) *workload.Stats, k kind[E], note *journal) declared {
	if o.Idle > 0 || o.Age > 0 {
		spec.TTL = engine.TTL{Idle: o.Idle, Age: o.Age}
		spec.OnExpire = func(c *engine.Context[string], s *S) { note.expired(c.KeyBytes(), stats(s)) }
	}
	return &declaration[S, E, R]{spec, stats, note, k}
}

func (d *declaration[S, E, R]) definition() engine.Definition { return engine.NewTable(d.spec) }

func (d *declaration[S, E, R]) open(ctx context.Context, o Options) (bench.Target, error) {
	opts, err := o.options()
	if err != nil {
		return nil, err
	}
	ack, err := o.ack()
	if err != nil {
		return nil, err
	}
	s := &folded[S, E, R]{declaration: d, table: engine.NewTable(d.spec), options: o, ack: ack}
	if s.engine, err = engine.Open(ctx, o.Dir, opts, s.table); err != nil {
		return nil, err
	}
	s.journal.open.Store(true)
	return s, nil
}

// folded is the engine as a bench.Target.
type folded[S, E any, R comparable] struct {
	*declaration[S, E, R]
	engine  *engine.Engine
	table   *engine.Table[string, S, E, R]
	options Options
	ack     engine.Ack
	names   names
	again   againCounts
}

// Producer leaves a quarter of the window for what a producer gathers.
func (s *folded[S, E, R]) Producer(window int) (bench.Producer, error) {
	switch {
	case s.options.Batch:
		return newBatches(s, window), nil
	case s.options.Read && s.options.Name != "":
		return newNamedReading(s, window)
	case s.options.Read:
		return openReading(s, newReading(s), window, engine.SourceOptions[string, E]{})
	}
	return newProducer(s, window)
}

// Do sends an event, with its id if events have one.
func (s *folded[S, E, R]) Do(ctx context.Context, e workload.Event) error {
	if s.options.Once > 0 {
		return s.doOnce(ctx, e)
	}
	_, err := s.table.Do(ctx, string(e.Key), s.of(e), s.ack)
	return err
}

func (s *folded[S, E, R]) Get(ctx context.Context, key []byte) (workload.Stats, bool, error) {
	state, ok, err := s.table.Get(ctx, string(key))
	return *s.stats(&state), ok, err
}

func (s *folded[S, E, R]) All(ctx context.Context, fn func(key []byte, s *workload.Stats) error) error {
	var key []byte
	for e, err := range s.table.All(ctx) {
		if err != nil {
			return err
		}
		key = append(key[:0], e.Key...)
		if err := fn(key, s.stats(&e.State)); err != nil {
			return err
		}
	}
	return nil
}

func (s *folded[S, E, R]) Recovery() bench.Recovery {
	r := s.engine.Recovery()
	out := bench.Recovery{
		Seconds: r.Duration.Seconds(), Events: r.Events, Keys: uint64(r.Keys),
		TornBytes: uint64(r.TornBytes), Clean: r.Clean, ShardsBefore: r.ShardsBefore, Warnings: r.Warnings,
		Parts: &bench.RecoveryParts{},
	}
	for _, sh := range r.Shards {
		out.LogBytes += uint64(sh.LogBytes)
		out.SnapshotBytes += uint64(sh.SnapshotBytes)
		out.SnapshotKeys += uint64(sh.SnapshotKeys)
		addParts(out.Parts, &sh)
	}
	return out
}

// addParts adds what one shard took its time for.
func addParts(to *bench.RecoveryParts, sh *engine.ShardRecovery) {
	t := &sh.Times
	to.Workers += t.Workers
	to.Copied += sh.Copied
	to.Load, to.Replay = max(to.Load, t.Load.Seconds()), max(to.Replay, t.Replay.Seconds())
	to.Resume = max(to.Resume, t.Resume.Seconds())
	to.Read += t.Read.Seconds()
	to.Build += t.Build.Seconds()
	to.Scan += t.Scan.Seconds()
	to.Apply += t.Apply.Seconds()
	to.Copy += t.Copy.Seconds()
}

func (s *folded[S, E, R]) Shards() int {
	stats, err := s.engine.Stats(context.Background())
	if err != nil {
		return 0 // closed
	}
	return len(stats.Shards)
}

// Move moves a partition to another shard.
func (s *folded[S, E, R]) Move(ctx context.Context, partition, shard int) error {
	return s.engine.Move(ctx, partition, shard)
}

// Resize makes another number of shards own the partitions.
func (s *folded[S, E, R]) Resize(ctx context.Context, shards int) error {
	return s.engine.Resize(ctx, shards)
}

// Stats are the figures of the engine.
func (s *folded[S, E, R]) Stats(ctx context.Context) (engine.Stats, error) {
	return s.engine.Stats(ctx)
}

func (s *folded[S, E, R]) Close(ctx context.Context) error { return s.engine.Shutdown(ctx) }
