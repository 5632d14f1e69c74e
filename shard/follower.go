package shard

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// ErrTrimmed is returned when changes that are wanted were removed: KeepLog does not keep
// them any more.
var ErrTrimmed = errors.New("keyfold: changes behind the position were removed")

// A Follower reads the changes in the logs of all shards, each partition's in its order,
// from a position on: by partition, the sequence of the last event that is not wanted.
// It must be used by one goroutine at a time.
//
// A partition that was moved is in several logs, and a change waits in its log until the
// one before it was read from another. That never blocks all of them: take of the changes
// that trails wait with the one that was logged first. The one before it was logged, and
// is durable, earlier still, because a new owner's log gets a commit only when that of the
// old owner has all up to the image, durably, and the image and what came since are in
// front of the commit. So the trail of that log has not come to it, and if it is blocked
// it is so by a change that was logged earlier than the first one, which there is not.
// What a generation begins with counts like a change here: all that it names is durable,
// in this log or another one. So when all are blocked, what they wait for was removed.
type Follower struct {
	// Skip says that changes that were removed are left out, and counted in Skipped.
	Skip    bool
	Skipped uint64
	// Bridge, if it is not nil, is told of changes that were removed, instead. It says by
	// Gap.To where to go on, or with an error that it cannot.
	Bridge func(gaps []Gap) error

	trails   []*trail
	position []uint64
	turn     int
	more     func(have int) []TrailSource // that were added behind the first ones
	live     int                          // of the trails: those that are asked of more
}

// A Gap is changes of a partition that were removed, up to one that may be there.
type Gap struct {
	Partition uint32
	To        uint64 // sequence of the last one that is missing
}

// NewFollower reads from position on, which it takes over: of logs that nobody writes, and
// of those that more adds, given how many it has added before. It may be nil.
func NewFollower(former []TrailSource, more func(have int) []TrailSource, position []uint64) *Follower {
	f := &Follower{position: position, more: more}
	for _, source := range former {
		f.trails = append(f.trails, newTrail(source, len(position)))
	}
	f.grow()
	return f
}

// grow adds the trails of shards that are new, and says whether there are any.
func (f *Follower) grow() bool {
	if f.more == nil {
		return false
	}
	sources := f.more(f.live)
	for _, source := range sources {
		f.trails = append(f.trails, newTrail(source, len(f.position)))
	}
	f.live += len(sources)
	return len(sources) > 0
}

// Position is the sequence of the last change of each partition, borrowed.
func (f *Follower) Position() []uint64 { return f.position }

// GiveBack takes the change that was read last off the position: nobody has it. Nothing
// more can be read then.
func (f *Follower) GiveBack(c *Change) { f.position[c.Partition] = c.Sequence - 1 }

// Next reads the next change, or says that there is none that is durable. Then it may be
// called again. An error is ErrTrimmed, a *CorruptError, that of a shard that has failed,
// or one of the disk.
func (f *Follower) Next(c *Change) (bool, error) {
	quiet, blocked, rounds := 0, false, 0
	for {
		if quiet == len(f.trails) {
			if f.grow() {
				quiet, blocked, rounds = 0, false, 0
				continue
			}
			if !blocked {
				return false, f.failed()
			}
			// What they wait for may have become durable after its trail was looked at, but
			// not after they were blocked.
			if rounds++; rounds == 2 {
				if err := f.jump(); err != nil {
					return false, err
				}
				rounds = 0
			}
			quiet, blocked = 0, false
		}
		t := f.trails[f.turn]
		got, err := t.next(f.position, c)
		if err != nil {
			return false, err
		}
		t.blocked = got == stepBlocked
		if got == stepChange {
			f.position[c.Partition] = c.Sequence
			return true, nil
		}
		blocked = blocked || t.blocked
		f.turn = (f.turn + 1) % len(f.trails)
		quiet++
	}
}

// failed is the error of a shard that has stopped: what it has not synced stays unknown.
func (f *Follower) failed() error {
	for _, t := range f.trails {
		if t.source.Live != nil && t.source.Live.Err() != nil {
			return t.source.Live.Err()
		}
	}
	return nil
}

// jump goes on behind what was removed, if that is wanted.
func (f *Follower) jump() error {
	var first *trail
	for _, t := range f.trails {
		if t.blocked && (first == nil || t.body.now < first.body.now) {
			first = t
		}
	}
	if f.Bridge != nil {
		return f.bridge(first)
	}
	if !f.Skip {
		return fmt.Errorf("%w: partition %d, events %d to %d", ErrTrimmed,
			first.lacks.partition, f.position[first.lacks.partition]+1, first.lacks.sequence)
	}
	f.skip(first.lacks)
	for id, sequence := range first.base {
		f.skip(lack{id, sequence})
	}
	return nil
}

// bridge goes on where Bridge says.
func (f *Follower) bridge(first *trail) error {
	gaps := []Gap{{first.lacks.partition, first.lacks.sequence}}
	for id, sequence := range first.base {
		if id != first.lacks.partition && f.position[id] < sequence {
			gaps = append(gaps, Gap{id, sequence})
		}
	}
	if err := f.Bridge(gaps); err != nil {
		return err
	}
	for _, g := range gaps {
		f.position[g.Partition] = max(f.position[g.Partition], g.To)
	}
	return nil
}

func (f *Follower) skip(to lack) {
	if have := f.position[to.partition]; have < to.sequence {
		f.Skipped += to.sequence - have
		f.position[to.partition] = to.sequence
	}
}

// Close closes the files that are open.
func (f *Follower) Close() error {
	var errs []error
	for _, t := range f.trails {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

// followers are those who wait for changes of a shard.
type followers struct {
	count   atomic.Int32 // Follow's store publishes to TellFollowers' load, which needs no more
	mu      sync.Mutex
	waiting map[chan<- struct{}]bool
	// bar is how far the log may be read while a backup is cut; nil: as far as it is
	// durable. Bar's and Unbar's stores publish to readable.
	bar atomic.Pointer[mark]
}

// Follow has the shard send to tell, which must have room for one message, whenever more of
// its log has become durable, and when it fails, until Unfollow. A message that has no room
// is left out. It is safe for concurrent use.
func (s *Shard) Follow(tell chan<- struct{}) {
	w := &s.followers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = make(map[chan<- struct{}]bool)
	}
	w.waiting[tell] = true
	w.count.Store(int32(len(w.waiting)))
}

// Unfollow ends that.
func (s *Shard) Unfollow(tell chan<- struct{}) {
	w := &s.followers
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, tell)
	w.count.Store(int32(len(w.waiting)))
}

// TellFollowers wakes those who wait for changes. It never waits for them, and is safe for
// concurrent use.
func (s *Shard) TellFollowers() {
	w := &s.followers
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for tell := range w.waiting {
		select {
		case tell <- struct{}{}:
		default:
		}
	}
}
