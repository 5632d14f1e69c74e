package shard

import (
	"context"
	"time"

	"github.com/keyfold/keyfold/internal/histogram"
	"github.com/keyfold/keyfold/internal/hotkeys"
)

// figures are what a shard knows of itself. They belong to the shard goroutine.
type figures struct {
	counters counters
	meter    meter
	rates    rates
}

// counters count what happened since the open.
type counters struct {
	events, refused, reads uint64
	skipped                uint64
	runs, parks            uint64
	frames, syncs          uint64
	logBytes               uint64
	snapshots              uint64
	snapshotFailures       uint64
	movedIn, movedOut      uint64
	timers, expired        uint64
	lapsed                 uint64
	pinned                 bool
}

// Stats are the figures of one shard at one moment. Counts and times begin at the open
// and only grow: two Stats give a rate.
type Stats struct { //tidy:ignore size: one flat set of figures, so that a reader finds any
	Partitions   int           // that the shard owns
	Keys         int           // in all tables
	StateBytes   int           // memory of the keys and states, their index included
	Events       uint64        // accepted
	Refused      uint64        // not done, for whatever reason
	Skipped      uint64        // told like an event, because it was done before
	Reads        uint64        // Get, View and reads of a Batch
	Fired        FiredStats    // what was due of keys
	Runs         uint64        // (Events+Refused+Skipped+Reads)/Runs is how many went together
	Parks        uint64        // how often the shard went to sleep
	Pinned       bool          // to its CPU
	RecoveryTime time.Duration // that an open would take after a crash now; a rough estimate
	Inbox        InboxStats
	Busy         BusyStats
	Log          LogStats
	Snapshots    SnapshotStats
	Moves        MoveStats
}

// FiredStats count what was due of keys, and was carried out. None of it is in Events.
type FiredStats struct {
	Timers  uint64 // OnTimer was called
	Expired uint64 // keys have come to the end of their TTL, those that OnExpire kept included
	Lapsed  uint64 // of both: the function did not return, or could not be called
}

// InboxStats are the figures of what waits for a shard.
type InboxStats struct {
	Bytes int // waiting
	// Delay is how long it took the shard to carry out what was in its inbox, looked at
	// once in a millisecond at most while there was anything: what an event that came
	// at such a moment has waited. The time in which a sleeping shard wakes up is not in
	// it.
	Delay histogram.Histogram
}

// BusyStats are what a shard goroutine has spent its time on. What is missing to the
// time that has passed it was idle, or waited for a processor. Apply is measured in one
// turn of 64 or so, and is an estimate; the others are exact.
type BusyStats struct {
	Apply    time.Duration // events and reads: polling sources, running the tables' functions, telling callers
	Log      time.Duration // writing frames, telling callers after a sync; not syncing
	Snapshot time.Duration // copying partitions
	View     time.Duration // copying for All, and figures
	Move     time.Duration // giving partitions to other shards, and taking theirs
}

// Total is the sum of all.
func (b BusyStats) Total() time.Duration { return b.Apply + b.Log + b.Snapshot + b.View + b.Move }

// MoveStats are how many partitions have changed their shard.
type MoveStats struct {
	In  uint64 // that came from another shard
	Out uint64 // that went to another shard
}

// LogStats are the figures of a shard's log.
type LogStats struct {
	Frames      uint64              // written; Events/Frames is the size of a group
	Syncs       uint64              // made; Frames/Syncs is how many groups a sync covered
	Bytes       uint64              // written
	ReplayBytes int64               // since the last snapshot: what a recovery would have to replay now
	SyncTime    histogram.Histogram // of the syncs
	ReadOnly    bool                // there was no room on the disk for the last event
}

// SnapshotStats are the figures of a shard's snapshots.
type SnapshotStats struct {
	Published uint64
	Failed    uint64
	Err       error // why the last one failed; nil if it was published. The log goes on growing
	UnderWay  bool
	At        time.Time // when the last one was published; zero: there is none
	Bytes     int64     // of the last one
}

// PartitionStats are the figures of one partition.
type PartitionStats struct {
	Partition  uint32
	Shard      int    // that owns it
	Events     uint64 // accepted since the store was made
	Keys       int
	StateBytes int
}

// TableStats are the figures of one table in the partitions of a shard.
type TableStats struct {
	Operations uint64 // events, refused ones included, and reads; since the open
	Keys       int
	StateBytes int
}

// A Survey is all that a shard says of itself, at one moment.
type Survey struct {
	Stats
	Owned  []PartitionStats // in no order
	Tables []TableStats     // by id
	Hot    []hotkeys.Key    // the keys that most operations go to, the hottest first
}

// Survey asks the shard for its figures. Of a shard that has stopped these are its last
// ones, beside the error that it stopped with.
func (s *Shard) Survey(ctx context.Context) (*Survey, error) {
	out := new(Survey)
	err := s.Tell(ctx, func() { *out = s.survey() })
	if err == nil {
		return out, nil
	}
	select {
	case <-s.life.stopped:
		return s.life.last, err
	default:
		return new(Survey), err // the shard may still write to out
	}
}

// A Load is what a shard has done so far, and for whom.
type Load struct {
	Busy  BusyStats
	Owned []PartitionLoad // in no order
}

// A PartitionLoad is what a partition has taken, and what a move would copy.
type PartitionLoad struct {
	Partition uint32
	Events    uint64 // accepted since the store was made
	Bytes     int    // of keys and states; 0 if nobody asked
}

// Load asks the shard for its load, and for the sizes of its partitions if they are
// wanted, which takes most of the time of a Survey.
func (s *Shard) Load(ctx context.Context, sizes bool) (*Load, error) {
	out := new(Load)
	err := s.Tell(ctx, func() {
		out.Busy, out.Owned = s.meter.stats(), make([]PartitionLoad, len(s.owned))
		for i, p := range s.owned {
			load := &out.Owned[i]
			load.Partition, load.Events = p.ID, p.Sequence
			for _, store := range p.Stores {
				if sizes {
					load.Bytes += store.Bytes()
				}
			}
		}
	})
	if err != nil {
		return nil, err // the shard may still write to out
	}
	return out, nil
}

func (s *Shard) survey() Survey {
	out := Survey{
		Stats:  s.stats(),
		Owned:  make([]PartitionStats, len(s.owned)),
		Tables: make([]TableStats, len(s.programs)),
		Hot:    s.meter.hot.Top(hotShown),
	}
	for i, p := range s.owned {
		part := &out.Owned[i]
		part.Partition, part.Shard, part.Events = p.ID, s.cfg.Index, p.Sequence
		for id, store := range p.Stores {
			keys, bytes := store.Len(), store.Bytes()
			part.Keys += keys
			part.StateBytes += bytes
			out.Tables[id].Keys += keys
			out.Tables[id].StateBytes += bytes
		}
		out.Keys += part.Keys
		out.StateBytes += part.StateBytes
	}
	for id := range out.Tables {
		out.Tables[id].Operations = s.meter.tables[id]
	}
	return out
}

func (s *Shard) stats() Stats {
	c, m, r := &s.counters, &s.meter, &s.round
	return Stats{
		Partitions: len(s.owned), Events: c.events, Refused: c.refused, Skipped: c.skipped, Reads: c.reads,
		Fired: FiredStats{Timers: c.timers, Expired: c.expired, Lapsed: c.lapsed},
		Runs:  c.runs, Parks: c.parks, Pinned: c.pinned,
		RecoveryTime: s.rates.recovery(r.last, s.log.bytes),
		Inbox:        InboxStats{Bytes: s.inbox.Used(), Delay: m.delays},
		Busy:         m.stats(),
		Log: LogStats{
			Frames: c.frames, Syncs: c.syncs, Bytes: c.logBytes, ReplayBytes: s.log.bytes,
			SyncTime: m.syncs, ReadOnly: s.log.readOnly,
		},
		Snapshots: SnapshotStats{
			Published: c.snapshots, Failed: c.snapshotFailures, Err: r.err, UnderWay: r.phase != roundIdle,
			At: r.at, Bytes: r.last,
		},
		Moves: MoveStats{In: c.movedIn, Out: c.movedOut},
	}
}

// rates are how fast a recovery is, in bytes a second.
type rates struct{ load, replay float64 }

const (
	// loadRate and replayRate are those of a worker in BenchmarkRecovery, for a shard
	// whose own recovery has read less than ratesBytesMin.
	loadRate      = 250e6
	replayRate    = 125e6
	ratesBytesMin = 4 << 20
)

// ratesOf are those that a recovery has had.
func ratesOf(r *Report, workers int) rates {
	out := rates{loadRate * float64(workers), replayRate * float64(workers)}
	if r.SnapshotBytes >= ratesBytesMin && r.Times.Load > 0 {
		out.load = float64(r.SnapshotBytes) / r.Times.Load.Seconds()
	}
	if r.LogBytes >= ratesBytesMin && r.Times.Replay > 0 {
		out.replay = float64(r.LogBytes) / r.Times.Replay.Seconds()
	}
	return out
}

// recovery is how long it would take to load a snapshot and replay a log.
func (r rates) recovery(snapshot, log int64) time.Duration {
	return time.Duration(float64(time.Second) * (float64(snapshot)/r.load + float64(log)/r.replay))
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
	return s.freeze(ctx, partitions, func(p *Partition) {
		if !p.Stores[table].Empty() {
			each(p.Stores[table].Freeze(nil))
		}
	})
}

// FreezeDurable is Freeze with what each image is of, and waits until the log has all that
// the images hold, durably. Of a partition without keys in the table there is no image. What
// a partition holds that has come and has no room here is in the log of its old owner.
func (s *Shard) FreezeDurable(ctx context.Context, table uint16, partitions []uint32, each func(partition uint32, sequence uint64, i Image)) (elsewhere []uint32, err error) {
	upTo, from := uint64(0), (*Shard)(nil)
	elsewhere, err = s.freeze(ctx, partitions, func(p *Partition) {
		if s.parts[p.ID] != p {
			from = s.moving.in.from
		}
		var i Image
		if !p.Stores[table].Empty() {
			i = p.Stores[table].Freeze(nil)
		}
		each(p.ID, p.Sequence, i)
		upTo = s.log.openOrdinal()
	})
	if err == nil {
		err = syncUpTo(s, func() uint64 { return upTo })
	}
	if err == nil && from != nil {
		err = syncUpTo(from, from.log.openOrdinal)
	}
	return elsewhere, err
}

// Sequences fills in the sequences of those of the partitions that the shard has, and
// returns the others: they are another shard's, or on their way.
func (s *Shard) Sequences(ctx context.Context, partitions []uint32, into []uint64) (elsewhere []uint32, err error) {
	return s.freeze(ctx, partitions, func(p *Partition) { into[p.ID] = p.Sequence })
}

// freeze shows some of the shard's partitions.
func (s *Shard) freeze(ctx context.Context, partitions []uint32, show func(*Partition)) ([]uint32, error) {
	var elsewhere []uint32        // the shard's, also when the caller has gone
	froze := error(&PanicError{}) // a codec has ended the goroutine
	err := s.Tell(ctx, func() {
		for _, id := range partitions {
			p := s.parts[id]
			if astray := s.moving.astray[id]; astray != nil {
				froze = astray
				return
			}
			if t := s.moving.in; t != nil && s.moving.stuck != nil {
				p = t.parcel.Load().find(id, p)
			}
			if p.ID == noPartition {
				elsewhere = append(elsewhere, id)
			} else {
				show(p)
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
