// Package store puts the engine under the loads of package bench: one table that
// folds events into workload.Stats, and the options of a run.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// Options says how to open the store under load.
type Options struct {
	// Dir is its directory.
	Dir string `json:"dir"`
	// Shards is their count; 0 is what the engine chooses.
	Shards int `json:"shards"`
	// Ack is how far an event must have come: `durable`, `written` or `applied`.
	Ack string `json:"ack"`
	// Sync is when the log is synced: `commit`, `never`, or the time between syncs.
	Sync string `json:"sync"`
	// EventBytes is the size of an event without its key: EventBytesMin at least.
	EventBytes int `json:"event_bytes"`
	// Device is who writes the log: `direct` or `library`.
	Device string `json:"device"`
	// Read says that shards read the events of a producer themselves, as those of a
	// source, instead of being sent them.
	Read bool `json:"read,omitempty"`
	// QueuedSync says that syncs are handed to the kernel's queues.
	QueuedSync bool `json:"queued_sync,omitempty"`
	// SnapshotBytes is how much log starts a snapshot; 0 is what the engine chooses.
	SnapshotBytes int64 `json:"snapshot_bytes,omitempty"`
	// RecoveryBudget is how long a recovery should take; 0 is no budget.
	RecoveryBudget time.Duration `json:"recovery_budget,omitempty"`
}

// EventBytesMin and EventBytesMax bound the size of an event: an ordinal and a value
// are in each.
const (
	EventBytesMin = 16
	EventBytesMax = 1 << 20
)

// ShardsMax bounds the count of shards, as the engine does.
const ShardsMax = 1024

// Check says what is wrong with the options, as far as the engine need not be asked.
func (o *Options) Check() error {
	opts, err := o.options()
	ack, ackErr := o.ack()
	switch err := errors.Join(err, ackErr); {
	case err != nil:
		return err
	case o.Shards < 0 || o.Shards > ShardsMax:
		return fmt.Errorf("store: the count of shards must lie between 1 and %d, or be 0 for what the engine chooses, not %d", ShardsMax, o.Shards)
	case ack == engine.Durable && opts.Sync == engine.SyncNever:
		return errors.New("store: nothing is ever durable with sync never: ask for the ack written or applied, or another sync")
	case o.RecoveryBudget < 0:
		return fmt.Errorf("store: a recovery takes more than %v", o.RecoveryBudget)
	case o.SnapshotBytes < 0:
		return fmt.Errorf("store: a snapshot is taken after at least one byte of log, not %d", o.SnapshotBytes)
	}
	return nil
}

// Engine is what the options are to the engine, if Check finds nothing wrong.
func (o *Options) Engine() (engine.Options, engine.Ack, error) {
	if err := o.Check(); err != nil {
		return engine.Options{}, 0, err
	}
	opts, err := o.options()
	ack, ackErr := o.ack()
	return opts, ack, errors.Join(err, ackErr)
}

// options are those of the engine.
func (o *Options) options() (engine.Options, error) {
	opts := engine.Options{Shards: o.Shards, SnapshotBytes: o.SnapshotBytes, RecoveryBudget: o.RecoveryBudget, QueuedSync: o.QueuedSync}
	if o.EventBytes < EventBytesMin || o.EventBytes > EventBytesMax {
		return opts, fmt.Errorf("store: events have %d to %d bytes, not %d", EventBytesMin, EventBytesMax, o.EventBytes)
	}
	opts.EventBytesMax = max(o.EventBytes, 1<<10)
	switch o.Device {
	case "", "direct":
	case "library":
		opts.Device = engine.DeviceLibrary
	default:
		return opts, fmt.Errorf("store: unknown device %q: direct or library", o.Device)
	}
	return opts, o.sync(&opts)
}

func (o *Options) sync(opts *engine.Options) error {
	switch o.Sync {
	case "", "commit":
		return nil
	case "never":
		opts.Sync = engine.SyncNever
		return nil
	}
	every, err := time.ParseDuration(o.Sync)
	if err != nil || every <= 0 {
		return fmt.Errorf("store: unknown sync %q: commit, never, or a time such as 10ms", o.Sync)
	}
	opts.Sync, opts.SyncInterval = engine.SyncInterval, every
	return nil
}

func (o *Options) ack() (engine.Ack, error) {
	switch o.Ack {
	case "", "durable":
		return engine.Durable, nil
	case "written":
		return engine.Written, nil
	case "applied":
		return engine.Applied, nil
	}
	return 0, fmt.Errorf("store: unknown ack %q: durable, written or applied", o.Ack)
}

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

// Open opens a store, or makes one, with one table that folds events into
// workload.Stats by key.
func Open(ctx context.Context, o Options) (bench.Target, error) {
	if o.EventBytes == EventBytesMin {
		return openTable(ctx, o, plainSpec(), func(e workload.Event) event { return event{e.Ordinal, e.Value} })
	}
	size := int64(o.EventBytes)
	return openTable(ctx, o, paddedSpec(), func(e workload.Event) padded { return padded{event{e.Ordinal, e.Value}, size} })
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

// ReplayCheck is engine.ReplayCheck of the store that Open makes.
func ReplayCheck(ctx context.Context, o Options) (*engine.ReplayReport, error) {
	opts, err := o.options()
	if err != nil {
		return nil, err
	}
	table := engine.Definition(engine.NewTable(paddedSpec()))
	if o.EventBytes == EventBytesMin {
		table = engine.NewTable(plainSpec())
	}
	return engine.ReplayCheck(ctx, o.Dir, opts, table)
}

func openTable[E any](ctx context.Context, o Options, spec engine.Spec[string, workload.Stats, E, struct{}], of func(workload.Event) E) (bench.Target, error) {
	opts, err := o.options()
	if err != nil {
		return nil, err
	}
	ack, err := o.ack()
	if err != nil {
		return nil, err
	}
	t := engine.NewTable(spec)
	e, err := engine.Open(ctx, o.Dir, opts, t)
	if err != nil {
		return nil, err
	}
	return &folded[E]{engine: e, table: t, ack: ack, of: of, read: o.Read}, nil
}

// folded is the engine as a bench.Target.
type folded[E any] struct {
	engine *engine.Engine
	table  *engine.Table[string, workload.Stats, E, struct{}]
	ack    engine.Ack
	of     func(workload.Event) E
	read   bool // the shards read
}

// Producer leaves a quarter of the window for what the producer gathers.
func (s *folded[E]) Producer(window int) (bench.Producer, error) {
	if s.read {
		return newReading(s, window)
	}
	p := &producer[E]{of: s.of}
	var err error
	p.p, err = s.table.Producer(engine.ProducerOptions[string, E]{
		Ack: s.ack, Refused: p.refuse, InFlightMax: max(1, window-window/4),
	})
	return p, err
}

func (s *folded[E]) Do(ctx context.Context, e workload.Event) error {
	_, err := s.table.Do(ctx, string(e.Key), s.of(e), s.ack)
	return err
}

func (s *folded[E]) Get(ctx context.Context, key []byte) (workload.Stats, bool, error) {
	return s.table.Get(ctx, string(key))
}

func (s *folded[E]) All(ctx context.Context, fn func(key []byte, s *workload.Stats) error) error {
	var key []byte
	for e, err := range s.table.All(ctx) {
		if err != nil {
			return err
		}
		key = append(key[:0], e.Key...)
		if err := fn(key, &e.State); err != nil {
			return err
		}
	}
	return nil
}

func (s *folded[E]) Recovery() bench.Recovery {
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

func (s *folded[E]) Shards() int {
	stats, err := s.engine.Stats(context.Background())
	if err != nil {
		return 0 // closed
	}
	return len(stats.Shards)
}

// Move moves a partition to another shard.
func (s *folded[E]) Move(ctx context.Context, partition, shard int) error {
	return s.engine.Move(ctx, partition, shard)
}

// Resize makes another number of shards own the partitions.
func (s *folded[E]) Resize(ctx context.Context, shards int) error {
	return s.engine.Resize(ctx, shards)
}

// Stats are the figures of the engine.
func (s *folded[E]) Stats(ctx context.Context) (engine.Stats, error) { return s.engine.Stats(ctx) }

func (s *folded[E]) Close(ctx context.Context) error { return s.engine.Shutdown(ctx) }
