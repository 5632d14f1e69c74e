package engine

import (
	"context"

	"github.com/keyfold/keyfold/shard"
)

// ShardStats are the figures of one shard at one moment.
type ShardStats = shard.Stats

// ShardRecovery is what recovery found and did in one shard.
type ShardRecovery = shard.Report

// Stats are the figures of an engine. Each shard's are of one moment; the shards' of
// different ones.
type Stats struct {
	Shards []ShardStats // by shard
	Failed []error      // by shard: why it has stopped, or nil
}

// Stats asks every shard for its figures and waits for the answers. The figures of a
// shard that has stopped are zero.
func (e *Engine) Stats(ctx context.Context) (Stats, error) {
	shards := e.shards()
	out := Stats{Shards: make([]ShardStats, len(shards)), Failed: make([]error, len(shards))}
	if e.inside() {
		return out, ErrInside
	}
	for i, s := range shards {
		var err error
		if out.Shards[i], err = s.Stats(ctx); err != nil {
			if out.Failed[i] = s.Err(); out.Failed[i] == nil {
				return out, err
			}
		}
	}
	return out, nil
}
