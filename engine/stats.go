package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyfold/keyfold/internal/hotkeys"
	"github.com/keyfold/keyfold/shard"
)

// ShardStats are the figures of one shard at one moment.
type ShardStats = shard.Stats

// FiredStats count what was due of keys.
type FiredStats = shard.FiredStats

// PartitionStats are the figures of one partition.
type PartitionStats = shard.PartitionStats

// ShardRecovery is what recovery found and did in one shard.
type ShardRecovery = shard.Report

// Stats are the figures of an engine. Those of a shard and of all that it owns are of one
// moment; those of different shards are of different ones. Counts, and times that say what
// something has taken, begin at Open and only grow, so that two Stats give rates.
type Stats struct { //tidy:ignore size: one flat set of figures, so that a reader finds any
	At           time.Time        // when they were asked for
	Keys         int              // in all tables
	StateBytes   int              // memory of the keys and states, their index included
	Events       uint64           // accepted
	Refused      uint64           // not done, for whatever reason
	Skipped      uint64           // told like an event, because it was done before: a retry, or one that was sent again
	Reads        uint64           // Get, View and reads of a Batch
	Fired        FiredStats       // timers and keys that were due
	TornBytes    int64            // of the logs, dropped when the store was opened
	RecoveryTime time.Duration    // that Open would take after a crash now: that of the slowest shard; a rough estimate
	Shards       []ShardStats     // by shard
	Failed       []error          // by shard: why it has stopped, or nil
	Partitions   []PartitionStats // by partition; one that changes its shard meanwhile may be shown without events and keys
	Tables       []TableStats     // in the order of their first use in the store
	Advice       Advice           // what would relieve the busiest shard
	Hot          []HotKey         // the keys that most operations go to, up to 16 of each shard, the hottest first
}

// TableStats are the figures of one table.
type TableStats struct {
	Name       string // of the table
	Operations uint64 // events, refused ones included, and reads; since Open
	Keys       int    // in it
	StateBytes int    // memory of the keys and states, their index included
}

// A HotKey is one of the keys that most operations of a shard go to. It is found in a
// sample of them, in which those of ten seconds ago count half: 1 of 64 where operations
// come one by one, 1 of 1,024 in a stream.
type HotKey struct {
	Table     string  // its name
	Key       string  // as fmt prints it, or the beginning of its encoding in hexadecimal
	Shard     int     // that owns it
	Partition uint32  // that it belongs to
	Share     float64 // of the operations of the shard: at most so much, but for the sampling
	Error     float64 // Share-Error: at least so much
}

// Stats asks every shard for its figures and waits for the answers. The figures of a
// shard that has stopped are the last that it had. A shard takes less than 100 µs for each
// thousand partitions that it owns (BenchmarkStats), between two turns.
func (e *Engine) Stats(ctx context.Context) (Stats, error) {
	owners := e.route.Load().owner
	shards := e.shards() // as they are behind the route: it names no others
	out := Stats{
		At: time.Now(), TornBytes: e.recovery.TornBytes, Advice: e.operator.advice(),
		Shards: make([]ShardStats, len(shards)), Failed: make([]error, len(shards)),
		Partitions: make([]PartitionStats, e.manifest.Partitions),
		Tables:     make([]TableStats, len(e.bindings)),
	}
	if e.inside() {
		return out, ErrInside
	}
	for i, t := range e.manifest.Tables[:len(out.Tables)] {
		out.Tables[i].Name = t.Name
	}
	for i, owner := range owners {
		out.Partitions[i].Partition, out.Partitions[i].Shard = uint32(i), int(owner)
	}
	for i, s := range shards {
		found, err := s.Survey(ctx)
		if err != nil {
			if out.Failed[i] = s.Err(); out.Failed[i] == nil {
				return out, err
			}
		}
		out.add(i, found)
		e.addHot(&out, i, found.Hot)
	}
	out.Tables = e.shown(out.Tables)
	return out, nil
}

// shown leaves out tables that were dropped, and the engine's own.
func (e *Engine) shown(tables []TableStats) []TableStats {
	kept := tables[:0]
	for id, t := range tables {
		if !e.manifest.Tables[id].Dropped && t.Name != positionsName {
			kept = append(kept, t)
		}
	}
	return kept
}

// add takes over what a shard has found.
func (s *Stats) add(index int, found *shard.Survey) {
	s.Shards[index] = found.Stats
	s.Keys += found.Keys
	s.StateBytes += found.StateBytes
	s.Events += found.Events
	s.Refused += found.Refused
	s.Skipped += found.Skipped
	s.Reads += found.Reads
	s.Fired.Timers += found.Fired.Timers
	s.Fired.Expired += found.Fired.Expired
	s.Fired.Lapsed += found.Fired.Lapsed
	s.RecoveryTime = max(s.RecoveryTime, found.RecoveryTime)
	for _, p := range found.Owned {
		s.Partitions[p.Partition] = p
	}
	for id, t := range found.Tables {
		to := &s.Tables[id]
		to.Operations += t.Operations
		to.Keys += t.Keys
		to.StateBytes += t.StateBytes
	}
}

func (e *Engine) addHot(s *Stats, index int, hot []hotkeys.Key) {
	for _, k := range hot {
		if s.Tables[k.Table].Name == positionsName {
			continue
		}
		s.Hot = append(s.Hot, HotKey{
			Table: s.Tables[k.Table].Name, Key: e.bindings[k.Table].show(k.Bytes, k.Whole), Shard: index,
			Partition: e.routing.Partition(k.Hash), Share: k.Share, Error: k.Error,
		})
	}
}

// show returns an encoded key as text.
func (b *binding) show(key []byte, whole bool) string {
	if !whole {
		return fmt.Sprintf("%x...", key)
	}
	return b.key.show(key)
}
