package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/shard"
)

// ReplayOptions says what of a log is replayed, and how. The zero value replays all of it
// and fails with ErrTrimmed if its beginning is gone.
type ReplayOptions struct {
	// From leaves out what a reader at this position has.
	From Position
	// Since and Until leave out events from before and not from before these times, by the
	// time that is logged; zero: no bound. Since implies SkipTrimmed.
	Since, Until time.Time
	// SkipTrimmed begins with the oldest events that are there.
	SkipTrimmed bool
	// Workers is how many goroutines read and send, each some of the partitions. 0 means
	// GOMAXPROCS.
	Workers int
	// Environment has the disk of a log that is not open; nil means the operating system's.
	Environment *Environment
}

// A Replayed says what a replay did.
type Replayed struct {
	Changes  uint64        // read from the log, of all tables
	Sent     uint64        // events that were sent to the new tables
	Refused  uint64        // of those: by Check, or for their size
	Skipped  uint64        // events that were not in the log any more, or left out with their files for Since
	Duration time.Duration // of all of it
}

// A ReplayStep says what becomes of the events of one table. [ReplayInto] makes one.
type ReplayStep struct {
	table string
	begin func(m *manifest) (id uint16, begin func() (replaySender, error), err error)
}

// A replaySender sends the changes of one table for one worker.
type replaySender interface {
	send(ctx context.Context, c *shard.Change) (sent bool, err error)
	flush(ctx context.Context) error
	refusals() uint64 // so far
	close()
}

// ReplayInto says that the events of from are sent to into, a table of an open engine, as
// convert turns them into events of it, perhaps of another key; those for which it says
// false are left out. Of from only the declaration counts: it need not be open. Events that
// older versions of it wrote are lifted by its Upgrades first.
//
// Events of one key arrive in their order. Events of different keys that get one key are in
// no order, unless their old keys were of one partition. What timers did is not replayed.
func ReplayInto[K comparable, S, E, R any, K2 comparable, S2, E2, R2 any](
	from *Table[K, S, E, R], into *Table[K2, S2, E2, R2], convert func(Change[K, E]) (K2, E2, bool),
) ReplayStep {
	return ReplayStep{table: from.Name(), begin: func(m *manifest) (uint16, func() (replaySender, error), error) {
		id, err := m.idOf(from.Name())
		if err != nil {
			return 0, nil, err
		}
		stored := m.Tables[id]
		return id, func() (replaySender, error) {
			decoder, err := from.declaration.changeDecoder(stored)
			if err != nil {
				return nil, err
			}
			s := &replaySending[K, E, K2, S2, E2, R2]{convert: convert, decoder: decoder}
			options := ProducerOptions[K2, E2]{Refused: func(K2, E2, error) { s.refused++ }}
			if b, err := into.declaration.bound(); err == nil && b.engine.options.Sync == SyncNever {
				options.Ack = Written
			}
			s.producer, err = into.Producer(options)
			return s, err
		}, nil
	}}
}

// idOf finds a table by its name.
func (m *manifest) idOf(table string) (id uint16, err error) {
	for id := range m.Tables {
		if m.Tables[id].Name == table {
			return uint16(id), nil
		}
	}
	return 0, fmt.Errorf("keyfold: the store has no table %q", table)
}

type replaySending[K comparable, E any, K2 comparable, S2, E2, R2 any] struct {
	decoder  *changeDecoder
	key      K // of the change, as its event; here so that they do not escape
	event    E
	convert  func(Change[K, E]) (K2, E2, bool)
	producer *Producer[K2, S2, E2, R2]
	refused  uint64
}

func (s *replaySending[K, E, K2, S2, E2, R2]) send(ctx context.Context, c *shard.Change) (bool, error) {
	if c.Stamp == shard.StampTimer {
		return false, nil
	}
	var key K
	var event E
	s.key, s.event = key, event
	if err := s.decoder.decode(c, unsafe.Pointer(&s.key), unsafe.Pointer(&s.event)); err != nil {
		return false, err
	}
	k, e, ok := s.convert(changeOf(c, s.key, s.event))
	if !ok {
		return false, nil
	}
	return true, s.producer.Send(ctx, k, e)
}

func (s *replaySending[K, E, K2, S2, E2, R2]) flush(ctx context.Context) error {
	return s.producer.Flush(ctx)
}

func (s *replaySending[K, E, K2, S2, E2, R2]) refusals() uint64 { return s.refused }

func (s *replaySending[K, E, K2, S2, E2, R2]) close() {
	_ = s.producer.Close(context.Background())
}

// Replay sends the events in the log of the store in dir to tables of an open engine, each
// as its step says, and returns when all are durable there. The store must not be open; it
// is locked meanwhile, and not changed. Workers share the partitions: each reads all of the
// log and takes its own.
//
// After an error some events were sent, and others not: begin again with new tables. Errors
// are those of Open for a store that is damaged or locked, ErrTrimmed, a *[VersionError] for
// events of another version or type that the declaration does not lift, and those of sending.
func Replay(ctx context.Context, dir string, options ReplayOptions, steps ...ReplayStep) (Replayed, error) {
	o, err := Options{Environment: options.Environment}.complete()
	if err != nil {
		return Replayed{}, err
	}
	e := &Engine{dir: filepath.Clean(dir), options: o}
	if _, err := o.Environment.FS.Lstat(e.path(manifestName)); err != nil {
		return Replayed{}, fmt.Errorf("%w in %s: %w", ErrNoStore, e.dir, err)
	}
	if _, err := e.enter(); err != nil {
		return Replayed{}, err
	}
	report, err := e.replayClosed(ctx, &options, steps)
	return report, errors.Join(err, e.lock.Close())
}

func (e *Engine) replayClosed(ctx context.Context, options *ReplayOptions, steps []ReplayStep) (report Replayed, err error) {
	if e.manifest, _, err = readManifest(e.options.Environment.FS, e.dir); err != nil {
		return report, err
	}
	e.routing = shard.Routing{Seed: e.manifest.Seed, Bits: e.manifest.partitionBits(), Hash: xxh3.HashSeed}
	if hash := e.options.Environment.Hash; hash != nil {
		e.routing.Hash = hash
	}
	trails := e.formerTrails()
	for _, c := range e.layoutShards(e.manifest.Layout) {
		trails = append(trails, shard.TrailSource{FS: c.Log.FS, ID: c.ID, Routing: e.routing, Dir: func() string { return c.Dir }})
	}
	return e.replay(ctx, options, steps, trails, nil)
}

// Replay is [Replay] from the log of the engine while it runs: of what was durable when it
// was called, and what was applied then as far as it is durable when the log is read. The
// tables may be of this engine, too.
func (e *Engine) Replay(ctx context.Context, options ReplayOptions, steps ...ReplayStep) (Replayed, error) {
	if e.inside() {
		return Replayed{}, ErrInside
	}
	if err := e.goesOn(ctx); err != nil {
		return Replayed{}, err
	}
	return e.replay(ctx, &options, steps, e.history.trails, e.trails)
}

// A replaying is a replay under way.
type replaying struct {
	options *ReplayOptions
	since   int64
	until   int64
	end     []uint64 // by partition: events behind it are left out; nil: none are
	ids     []uint16
	begins  []func() (replaySender, error)

	// The adds of the workers publish to the report, which is made when they have ended.
	changes, sent, refused, skipped atomic.Uint64
}

func (e *Engine) replay(ctx context.Context, options *ReplayOptions, steps []ReplayStep, former []shard.TrailSource, live func(int) []shard.TrailSource) (report Replayed, err error) {
	began := time.Now()
	if options.Workers < 0 {
		return report, fmt.Errorf("keyfold: ReplayOptions.Workers must not be negative, as %d is", options.Workers)
	}
	r := &replaying{options: options, since: -1 << 63, until: 1<<63 - 1}
	if !options.Since.IsZero() {
		r.since = options.Since.UnixNano()
	}
	if !options.Until.IsZero() {
		r.until = options.Until.UnixNano()
	}
	for _, step := range steps {
		id, begin, err := step.begin(e.manifest)
		if err != nil {
			return report, err
		}
		r.ids, r.begins = append(r.ids, id), append(r.begins, begin)
	}
	if live != nil {
		r.end = make([]uint64, e.manifest.Partitions)
		err := e.eachPartition(func(s *shard.Shard, part []uint32) ([]uint32, error) {
			return s.Sequences(ctx, part, r.end)
		})
		if err != nil {
			return report, err
		}
	}
	workers := options.Workers
	setDefault(&workers, runtime.GOMAXPROCS(0))
	workers = min(workers, e.manifest.Partitions)
	err = eachShard(workers, func(i int) error {
		position, err := e.startAt(options.From)
		if err != nil {
			return err
		}
		mine := func(id uint32) bool { return int(id)%workers == i }
		follower := shard.NewFollower(shared(former, mine, r.since), func(have int) []shard.TrailSource {
			if live == nil {
				return nil
			}
			return shared(live(have), mine, r.since)
		}, position)
		defer follower.Close()
		follower.Skip = options.SkipTrimmed || !options.Since.IsZero()
		err = r.work(ctx, follower, r.unread(mine, position))
		r.skipped.Add(follower.Skipped)
		return err
	})
	report = Replayed{
		Changes: r.changes.Load(), Sent: r.sent.Load(), Refused: r.refused.Load(), Skipped: r.skipped.Load(), Duration: time.Since(began),
	}
	return report, err
}

// shared are trails of which one worker reads some partitions.
func shared(sources []shard.TrailSource, mine func(uint32) bool, since int64) (all []shard.TrailSource) {
	for _, source := range sources {
		source.Mine, source.Since = mine, since
		all = append(all, source)
	}
	return all
}

// unread is how many of a worker's partitions have events in front of the end that a reader
// at position does not have; -1 if there is no end.
func (r *replaying) unread(mine func(uint32) bool, position []uint64) (n int) {
	if r.end == nil {
		return -1
	}
	for id, end := range r.end {
		if mine(uint32(id)) && position[id] < end {
			n++
		}
	}
	return n
}

// work reads all changes of one worker and sends them. It ends when that many partitions were
// read to the end, or nothing more is durable: in a store that goes on there is always more.
func (r *replaying) work(ctx context.Context, follower *shard.Follower, unread int) error {
	senders := make([]replaySender, len(r.begins))
	defer func() {
		for _, s := range senders {
			if s != nil {
				s.close()
			}
		}
	}()
	for i, begin := range r.begins {
		s, err := begin()
		if err != nil {
			return err
		}
		senders[i] = s
	}
	changes, sent := uint64(0), uint64(0)
	defer func() { r.changes.Add(changes); r.sent.Add(sent) }()
	var c shard.Change
	for unread != 0 {
		ok, err := follower.Next(&c)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if changes++; changes%lookEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.end != nil && c.Sequence == r.end[c.Partition] {
			unread--
		}
		if c.Time < r.since || c.Time >= r.until || r.end != nil && c.Sequence > r.end[c.Partition] {
			continue
		}
		for i, id := range r.ids {
			if c.Table != id {
				continue
			}
			did, err := senders[i].send(ctx, &c)
			if err != nil {
				return err
			}
			if did {
				sent++
			}
		}
	}
	for _, s := range senders {
		err := s.flush(ctx)
		r.refused.Add(s.refusals())
		if err != nil {
			return err
		}
	}
	return nil
}
