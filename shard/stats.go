package shard

import "context"

// counters belong to the shard goroutine.
type counters struct {
	events, refused, reads uint64
	runs, parks            uint64
	frames, syncs          uint64
	logBytes               uint64
	snapshots              uint64
	snapshotFailures       uint64
	movedIn, movedOut      uint64
	pinned                 bool
}

// Stats are the figures of one shard at one moment. Counts begin at the open.
type Stats struct {
	Partitions int    // that the shard owns
	Keys       int    // in all tables
	StateBytes int    // memory of the keys and states, their index included
	InboxBytes int    // waiting in the inbox
	Events     uint64 // accepted
	Refused    uint64 // not done, for whatever reason
	Reads      uint64 // Get, View and reads of a Batch
	Runs       uint64 // (Events+Refused+Reads)/Runs is how many went together
	Parks      uint64 // how often the shard went to sleep
	MovedIn    uint64 // partitions that came from another shard
	MovedOut   uint64 // partitions that went to another shard
	Pinned     bool   // to its CPU
	Log        LogStats
	Snapshots  SnapshotStats
}

// SnapshotStats are the figures of a shard's snapshots.
type SnapshotStats struct {
	Published uint64
	Failed    uint64
	Err       error // why the last one failed; nil if it was published. The log goes on growing
	UnderWay  bool
}

// LogStats are the figures of a shard's log.
type LogStats struct {
	Frames      uint64 // written; Events/Frames is the size of a group
	Syncs       uint64 // made; Frames/Syncs is how many groups a sync covered
	Bytes       uint64 // written
	ReplayBytes int64  // that a recovery would have to replay now
}

// Stats asks the shard for its figures.
func (s *Shard) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	if err := s.Tell(ctx, func() { out = s.stats() }); err != nil {
		return Stats{}, err // the shard may still write to out
	}
	return out, nil
}

func (s *Shard) stats() Stats {
	c := &s.counters
	out := Stats{
		Partitions: len(s.owned), Events: c.events, Refused: c.refused, Reads: c.reads,
		Runs: c.runs, Parks: c.parks, InboxBytes: s.inbox.Used(), Pinned: c.pinned,
		MovedIn: c.movedIn, MovedOut: c.movedOut,
		Log:       LogStats{Frames: c.frames, Syncs: c.syncs, Bytes: c.logBytes, ReplayBytes: s.log.bytes},
		Snapshots: SnapshotStats{Published: c.snapshots, Failed: c.snapshotFailures, Err: s.round.err, UnderWay: s.round.phase != roundIdle},
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
//
// It returns those that are not here: they have moved on, or not come yet.
func (s *Shard) Freeze(ctx context.Context, table uint16, partitions []uint32, each func(Image)) (elsewhere []uint32, err error) {
	froze := error(&PanicError{}) // a codec has ended the goroutine
	err = s.Tell(ctx, func() {
		for _, id := range partitions {
			p := s.parts[id]
			if astray := s.moving.astray[id]; astray != nil {
				froze = astray
				return
			}
			if t := s.moving.in; t != nil && t.Partition == id && s.moving.stuck != nil {
				p = t.parcel.Load().part
			}
			if p.ID == noPartition {
				elsewhere = append(elsewhere, id)
			} else if p.Stores[table].Len() > 0 {
				each(p.Stores[table].Freeze(nil))
			}
		}
		froze = nil
	})
	if err == nil {
		err = froze
	}
	if err != nil {
		return nil, err
	}
	return elsewhere, nil
}
