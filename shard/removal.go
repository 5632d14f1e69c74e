package shard

import (
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A removal is the job of the round's lane that removes what a snapshot has replaced,
// when the round has ended.
type removal struct {
	under bool // the lane is at it; of the shard goroutine
	holds int  // cuts that want nothing to be removed; of the shard goroutine
	owed  bool // there is something to remove
	// haste says that a round waits for the lane: advanceRound's store publishes to
	// restFromRemoval's load.
	haste atomic.Bool
}

// A disk that is given back a log file of 64 MiB at once holds up the syncs of that
// moment for 20 ms. In small steps with rests between them no sync waits for more than
// a step (BenchmarkRemoval).
const (
	removalBytes = 1 << 20
	removalPause = 4 * time.Millisecond
)

// removeReplaced has the lane remove what CURRENT does not name any more, unless a backup
// reads it.
func (s *Shard) removeReplaced() {
	r := &s.round
	if r.removal.owed = r.removal.holds > 0; r.removal.owed {
		return
	}
	r.removal.under = true
	r.removal.haste.Store(false)
	r.job = roundJob{frozen: r.job.frozen, remove: true, current: s.log.current}
	r.lane.begin(0)
}

// restFromRemoval is the pause between two steps of a removal, unless somebody waits
// for its end.
func (s *Shard) restFromRemoval() {
	if !s.inbox.Closed() && !s.round.removal.haste.Load() {
		time.Sleep(removalPause)
	}
}

// removeUnnamed removes the generations and snapshots that CURRENT does not name, in
// steps with rests between them. What cannot be removed now is tried again after the
// next round.
func removeUnnamed(c *Config, current *Current, rest func()) {
	for _, path := range unnamed(c, current) {
		_ = fsys.RemoveTreeInSteps(c.Log.FS, path, removalBytes, rest)
	}
}
