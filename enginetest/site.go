package enginetest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// trialBits are those of the partitions of a trial.
const trialBits = 3

// A site is where one run of a trial takes place: a disk, a clock, and a table of its own.
// It belongs to one goroutine.
type site[K comparable, S, E, R any] struct {
	disk   *crashfs.FS
	table  *engine.Table[K, S, E, R]
	engine *engine.Engine
	moved  func(context.Context) error // fires what is due
	now    atomic.Int64                // send's store publishes to the engine
	hashed atomic.Uint64               // the last hash of a key: route's store publishes to send
}

// newSite makes a site for tables of spec.
func newSite[K comparable, S, E, R any](spec engine.Spec[K, S, E, R], disk *crashfs.FS) *site[K, S, E, R] {
	s := &site[K, S, E, R]{disk: disk, table: engine.NewTable(spec)}
	s.now.Store(Epoch.UnixNano())
	return s
}

// open opens what is on the disk. No snapshot is taken that nobody asks for.
func (s *site[K, S, E, R]) open(shards int) (err error) {
	s.engine, err = engine.Open(context.Background(), "/store", engine.Options{
		Shards: shards, Partitions: 1 << trialBits, SegmentBytes: 16 << 10, SnapshotBytes: 1 << 40,
		Environment: &seam.Environment{
			FS: s.disk, Now: s.now.Load, Seed: 1, Hash: s.route,
			Hear: func(moved func(context.Context) error) { s.moved = moved },
		},
	}, s.table)
	return err
}

// route is the hash of keys.
func (s *site[K, S, E, R]) route(key []byte, seed uint64) uint64 {
	h := xxh3.HashSeed(key, seed)
	s.hashed.Store(h)
	return h
}

// advance moves the clock, and waits until nothing is due any more.
func (s *site[K, S, E, R]) advance(to time.Time) error {
	s.now.Store(to.UnixNano())
	return s.moved(context.Background())
}

// send sends an event at its time, and says to which partition.
func (s *site[K, S, E, R]) send(e sending[K, E]) (partition int, err error) {
	if err := s.advance(e.at); err != nil {
		return 0, err
	}
	err = send(s.table, e)
	return int(s.hashed.Load() >> (64 - trialBits)), err
}

// sendAll sends events and shows what came of them.
func (s *site[K, S, E, R]) sendAll(events []sending[K, E]) (partitions []int, err error) {
	for _, e := range events {
		p, err := s.send(e)
		if err != nil {
			return nil, err
		}
		partitions = append(partitions, p)
	}
	return partitions, nil
}

// end closes the engine, whatever became of its disk.
func (s *site[K, S, E, R]) end() {
	if s.engine != nil {
		_ = s.engine.Close()
		s.engine = nil
	}
}

// hurry closes the engine without a last snapshot, so that its log is needed.
func (s *site[K, S, E, R]) hurry() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.engine.Shutdown(ctx) // the error of ctx
	s.engine = nil
}

// crash ends the engine and gives what is left of its disk, as often as it is called.
func (s *site[K, S, E, R]) crash(model crashfs.Model) *crashfs.FS {
	left := s.disk.Crash(model)
	s.end()
	return left
}
