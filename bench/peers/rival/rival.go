// Package rival holds the peers: for each a few lines that do the job of package job
// with it as well as its users could, and say with which settings.
//
// A store is streamed into through lanes, one goroutine each, and called with single
// events by any number of goroutines. Events with equal keys always come through the
// same lane.
package rival

import (
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

// Sync says when what was written is synced, and so what an acknowledgement means.
type Sync string

// The three that are compared.
const (
	// None never syncs: an acknowledged event is with the operating system, or on its
	// way there.
	None Sync = "none"
	// Second syncs once a second.
	Second Sync = "second"
	// Always syncs before it acknowledges.
	Always Sync = "always"
)

// Config says where and how to open a store.
type Config struct {
	// Dir is its directory. It may hold the store already.
	Dir  string
	Keys uint64
	Sync Sync
}

// A Door says how events come to a store.
type Door string

// The doors.
const (
	// Stream sends batches through each lane and waits for acknowledgements only as the
	// store itself does. A latency runs from the handing over of a batch to the moment when
	// its lane notices that it is acknowledged, which it looks for after each batch.
	Stream Door = "stream"
	// Window hands each lane its part of what may be in flight as one batch, and waits until
	// it is acknowledged. A latency is that of the batch.
	Window Door = "window"
	// Callers are goroutines that each send one event and wait for it. A latency is that of
	// the call.
	Callers Door = "callers"
)

// A Rival is one way to do the job.
type Rival struct {
	Name string
	// About says with what, and with which settings.
	About string
	// Missing says what is not there that it needs and what to do, or is empty. It may
	// be nil.
	Missing func() string
	// Ours says that it is Keyfold, ByHand that it is what a team writes instead.
	Ours, ByHand bool
	// Keeps is what of a state it keeps.
	Keeps job.Fields
	// Volatile says that it holds nothing after Close.
	Volatile bool
	// Forgets says that it holds nothing at all, so that nothing can be checked.
	Forgets bool
	// Procs is the GOMAXPROCS that serves it best; 0 is Go's own.
	Procs int
	// Lanes is how many stream into it.
	Lanes func(Sync) int
	// Pinned says that each lane is pinned to a CPU, if there are enough of them.
	Pinned bool
	// Only, if not empty, is the one Sync that it is there for, and Doors the doors; none
	// means all.
	Only  Sync
	Doors []Door
	Open  func(Config) (Store, error)
}

// A Store is an open rival.
type Store interface {
	// Lane returns the door of one lane.
	Lane(index int) (Lane, error)
	// Do folds one event of a lane's keys and returns when it is acknowledged. It is safe
	// for concurrent use, and keeps nothing of its arguments.
	Do(lane int, key *limit.Key, event *limit.Event) error
	// Each calls fn with every key and state. Both are borrowed.
	Each(fn func(key []byte, s limit.State) error) error
	// Processes are those that do the work beside this one.
	Processes() []int
	// Close ends what Open began. The lanes must be flushed.
	Close() error
}

// A Reader is a store that takes events itself, instead of being handed batches.
type Reader interface {
	// Read folds what next gives, lane by lane, until it gives nothing, and returns when
	// all of it is acknowledged. next gives up to max events, which are borrowed until it is
	// called again; settled tells how many of a lane are acknowledged. For each lane both
	// are called by one goroutine at a time.
	Read(next func(lane, most int) limit.Stream, settled func(lane int, events uint64)) error
}

// A Lane folds batches. It must be used by one goroutine at a time.
type Lane interface {
	// Apply folds a batch. It keeps nothing of its arguments, and need not wait for the
	// acknowledgement.
	Apply(batch limit.Stream) error
	// Settled is how many events are acknowledged.
	Settled() uint64
	// Flush waits until all are.
	Flush() error
}

// Names of the rivals that others are ratios of, or that a goal is about.
const (
	Limit  = "limit"
	Engine = "keyfold"
	Source = "keyfold-source"
)

// Rivals are all peers, the yardsticks first.
func Rivals() []*Rival {
	return []*Rival{
		limitRow(), nullRow(),
		keyfold(Engine, "Keyfold, Options{} but for Sync"), keyfoldLibrary(), keyfoldWide(), keyfoldSource(), keyfoldBatch(),
		handA(), handB(), handBProcs(), handC(),
		pebbleSet(), pebbleMerge(), badgerPeer(), bboltPeer(), buntPeer(), sqlitePeer(),
		redisCount(), redisScript(),
	}
}

// Find returns the rivals with these names, in the order of Rivals, and the names that
// there are not.
func Find(names []string) (found []*Rival, unknown []string) {
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	for _, r := range Rivals() {
		if wanted[r.Name] {
			found = append(found, r)
			delete(wanted, r.Name)
		}
	}
	for _, n := range names {
		if wanted[n] {
			unknown = append(unknown, n)
		}
	}
	return found, unknown
}

func always(lanes int) func(Sync) int { return func(Sync) int { return lanes } }
