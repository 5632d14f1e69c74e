package rival

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

// keyValue is what a transactional store must do to be a rival. update is called by one
// goroutine for each lane; each when nothing else is called.
type keyValue interface {
	// update changes the states of different keys in one transaction, and returns when
	// that is as durable as the store was opened for.
	update(lane int, deltas []job.Delta) error
	each(fn func(key []byte, s limit.State) error) error
	// sync makes everything durable that was committed before.
	sync() error
	close() error
}

// kvStore makes a rival of a keyValue. A batch becomes one transaction that reads and
// writes each of its keys once.
type kvStore struct {
	db    keyValue
	crowd *crowd
	tick  *ticker
}

// newKVStore opens lanes to a store. When selfSyncing, the store syncs each second by
// itself.
func newKVStore(db keyValue, lanes int, c Config, selfSyncing bool) Store {
	s := &kvStore{db: db}
	doors := make([]Lane, lanes)
	for i := range doors {
		doors[i] = &kvLane{db: db, index: i}
	}
	s.crowd = newCrowd(doors)
	if c.Sync == Second && !selfSyncing {
		s.tick = everySecond(db.sync)
	}
	return s
}

// Lane is a door beside those of the crowd.
func (s *kvStore) Lane(index int) (Lane, error) { return &kvLane{db: s.db, index: index}, nil }

// Do commits the event together with those of other callers.
func (s *kvStore) Do(lane int, key *limit.Key, event *limit.Event) error {
	return s.crowd.do(lane, key, event)
}

// Each reads the whole store.
func (s *kvStore) Each(fn func(key []byte, s limit.State) error) error { return s.db.each(fn) }

// Processes are none.
func (s *kvStore) Processes() []int { return nil }

// Close ends the goroutines and closes the store.
func (s *kvStore) Close() error {
	s.crowd.stop()
	return errors.Join(s.tick.stop(), s.db.close())
}

// kvLane folds batches before they reach the store.
type kvLane struct {
	db      keyValue
	index   int
	folder  job.Folder
	settled uint64
}

// Apply is one transaction.
func (l *kvLane) Apply(batch limit.Stream) error {
	if err := l.db.update(l.index, l.folder.Fold(batch)); err != nil {
		return fmt.Errorf("rival: update: %w", err)
	}
	l.settled += uint64(len(batch.Keys))
	return nil
}

// Settled is every event.
func (l *kvLane) Settled() uint64 { return l.settled }

// Flush has nothing to wait for.
func (l *kvLane) Flush() error { return nil }

// changed is the encoding of a state after a delta. old is its encoding before, or
// empty.
func changed[B []byte | string](dst []byte, old B, d *job.Delta) ([]byte, error) {
	var s limit.State
	if len(old) > 0 {
		var err error
		if s, err = job.DecodeState(old); err != nil {
			return dst, err
		}
	}
	job.Merge(&s, d.State)
	return job.AppendState(dst, s), nil
}
