// Package bench drives loads into a store and says what came of it: how fast, with
// which latencies, and whether every state is what it must be.
//
// A load is a stream of events (package workload) that a feeder splits by key over
// producers, so that events with equal keys keep their order. A closed loop sends as
// fast as the store takes them; an open loop sends each event when it is due, and
// counts its latency from then, however late the event was sent: a store that
// stalls must not be excused from the events that it delayed.
package bench

import (
	"context"

	"github.com/keyfold/keyfold/bench/workload"
)

// Target is a store under load: a table from keys to workload.Stats. It is safe
// for concurrent use.
type Target interface {
	// Producer opens a door for many events, of which window may be unsettled.
	Producer(window int) (Producer, error)
	// Do sends one event and returns once it is acknowledged. It keeps nothing of e.
	Do(ctx context.Context, e workload.Event) error
	// Get is the state of a key, and whether there is one.
	Get(ctx context.Context, key []byte) (workload.Stats, bool, error)
	// All calls fn with each key and state, in any order, until fn returns an error.
	// Both are borrowed.
	All(ctx context.Context, fn func(key []byte, s *workload.Stats) error) error
	// Recovery says what opening the store took.
	Recovery() Recovery
	// Shards is how many the store has.
	Shards() int
	// Close drains the store and closes it.
	Close(ctx context.Context) error
}

// Producer sends many events. It must be used by one goroutine at a time.
type Producer interface {
	// Send sends an event, now or with those after it. It keeps nothing of e. It waits
	// while more events are unsettled than the store allows.
	Send(ctx context.Context, e workload.Event) error
	// Push sends off what Send has gathered, as far as there is room, and waits for
	// nothing.
	Push() error
	// Settled is how many events are acknowledged, or never will be; the next call of
	// Send or Flush returns an error then. With one shard they are the first that were
	// sent.
	Settled() uint64
	// Flush returns nil once every event that was sent is acknowledged.
	Flush(ctx context.Context) error
	// Close gives back what the producer holds of the store, after a Flush.
	Close(ctx context.Context) error
}

// Recovery says what opening a store took.
type Recovery struct {
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
	// Events is the count of logged events that were applied again.
	Events uint64 `json:"events"`
	// Keys is the count of keys afterwards, SnapshotKeys of those from snapshots.
	Keys         uint64 `json:"keys"`
	SnapshotKeys uint64 `json:"snapshot_keys"`
	// LogBytes is how much of the logs was read, SnapshotBytes of the snapshots.
	LogBytes      uint64 `json:"log_bytes"`
	SnapshotBytes uint64 `json:"snapshot_bytes"`
	// TornBytes is how much of the logs was dropped as torn.
	TornBytes uint64 `json:"torn_bytes"`
	// Clean says that the store had been closed: nothing had to be replayed.
	Clean bool `json:"clean"`
	// ShardsBefore is the former count of shards, if it has changed; else 0.
	ShardsBefore int `json:"shards_before,omitempty"`
	// Warnings say what was damaged and could be done without.
	Warnings []string `json:"warnings,omitempty"`
	// Live is how many events a second were acknowledged just before a kill, if there
	// was one.
	Live float64 `json:"live,omitempty"`
	// Cold says that the files were dropped from the page cache before.
	Cold bool `json:"cold,omitempty"`
	// Parts are nil if the store does not say what took the time.
	Parts *RecoveryParts `json:"parts,omitempty"`
}

// RecoveryParts are what the time of a recovery went into, in seconds. Load, Replay and
// Resume are those of the shard that took longest, as a clock shows them; the others
// are sums over all workers, which work side by side.
type RecoveryParts struct {
	Workers int `json:"workers"`
	// Load is the snapshots': Read for reading and verifying them, Build for the tables
	// made of them.
	Load  float64 `json:"load"`
	Read  float64 `json:"read"`
	Build float64 `json:"build"`
	// Replay is the logs': Scan for reading and verifying them, Apply for the events.
	Replay float64 `json:"replay"`
	Scan   float64 `json:"scan"`
	Apply  float64 `json:"apply"`
	// Resume is that of beginning new generations; Copy of it went into writing again,
	// and syncing, Copied frames that were not known to be durable.
	Resume float64 `json:"resume"`
	Copy   float64 `json:"copy"`
	Copied int     `json:"copied"`
}
