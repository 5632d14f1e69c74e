package shard

import "context"

// counters belong to the shard goroutine.
type counters struct {
	events, refused, reads uint64
	runs, parks            uint64
	frames, syncs          uint64
	logBytes               uint64
	snapshots              uint64
	pinned                 bool
}

// Stats are the figures of one shard at one moment. Counts begin at the open.
type Stats struct {
	Partitions  int
	Keys        int
	StateBytes  int    // memory of the keys and states, their index included
	Events      uint64 // accepted
	Refused     uint64
	Reads       uint64
	Runs        uint64 // Events+Refused+Reads over Runs is how many went together
	Parks       uint64
	Frames      uint64
	Syncs       uint64 // Frames over Syncs, Events over Syncs: how large the groups were
	LogBytes    uint64 // written to the log
	Replay      int64  // bytes of log that a recovery would have to read now
	Snapshots   uint64 // published
	InboxBytes  int    // waiting in the inbox
	Pinned      bool
	SnapshotNow bool // a snapshot round is under way
}

// Stats asks the shard for its figures.
func (s *Shard) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	err := s.Tell(ctx, func() { out = s.stats() })
	return out, err
}

func (s *Shard) stats() Stats {
	c := &s.counters
	out := Stats{
		Partitions: len(s.owned), Events: c.events, Refused: c.refused, Reads: c.reads,
		Runs: c.runs, Parks: c.parks, Frames: c.frames, Syncs: c.syncs, LogBytes: c.logBytes,
		Replay: s.log.bytes, Snapshots: c.snapshots, InboxBytes: s.inbox.Used(),
		Pinned: c.pinned, SnapshotNow: s.round.phase != roundIdle,
	}
	for _, p := range s.owned {
		for _, store := range p.Stores {
			out.Keys += store.Len()
			out.StateBytes += store.Bytes()
		}
	}
	return out
}

// Snapshot has the shard take a snapshot now, and waits until it is published.
func (s *Shard) Snapshot(ctx context.Context) error {
	result := make(chan error, 1)
	if err := s.Tell(ctx, func() { s.ask(func(err error) { result <- err }) }); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-s.life.stopped:
		return s.gone()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Freeze copies the states of one table in some of the shard's partitions.
func (s *Shard) Freeze(ctx context.Context, table uint16, partitions []uint32, each func(Image)) error {
	return s.Tell(ctx, func() {
		for _, id := range partitions {
			if p := s.parts[id]; p.Stores[table].Len() > 0 {
				each(p.Stores[table].Freeze(nil))
			}
		}
	})
}
