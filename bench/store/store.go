// Package store puts the engine under the loads of package bench: one table that
// folds events into workload.Stats, and the options of a run.
package store

import (
	"errors"
	"fmt"
	"time"

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
	// source, instead of being sent them; Batch that a producer sends them in batches, and
	// waits for each.
	Read  bool `json:"read,omitempty"`
	Batch bool `json:"batch,omitempty"`
	// QueuedSync says that syncs are handed to the kernel's queues.
	QueuedSync bool `json:"queued_sync,omitempty"`
	// SnapshotBytes is how much log starts a snapshot; 0 is what the engine chooses.
	SnapshotBytes int64 `json:"snapshot_bytes,omitempty"`
	// RecoveryBudget is how long a recovery should take; 0 is no budget.
	RecoveryBudget time.Duration `json:"recovery_budget,omitempty"`
	Layers
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
	case o.Batch && o.Read:
		return errors.New("store: shards read events, or are sent them in batches, not both")
	}
	return o.Layers.check(o, ack)
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
	opts.KeepLog = engine.KeepLog{Bytes: o.KeepBytes, Age: o.KeepAge}
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
