package rival

import (
	"errors"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/bench/limit"
)

func handA() *Rival {
	return &Rival{
		ByHand: true, Name: "handa", About: "by hand: map[string]*State behind 256 mutexes, one tidwall/wal with an entry a batch; 2 lanes",
		Lanes: always(2), Open: openHandA,
	}
}

const handAShards = 256

// handAStore is what a team writes first: locks for the states, a lock for the log.
type handAStore struct {
	shards [handAShards]struct {
		mu     sync.Mutex
		states handStates
	}
	mu   sync.Mutex // of log
	log  *handLog
	tick *ticker
}

func openHandA(c Config) (Store, error) {
	s := new(handAStore)
	for i := range s.shards {
		s.shards[i].states = make(handStates)
	}
	var err error
	if s.log, err = openHandLog(c.Dir, c.Sync, s.fold); err != nil {
		return nil, err
	}
	if c.Sync == Second {
		s.tick = everySecond(s.log.sync)
	}
	return s, nil
}

func (s *handAStore) fold(key []byte, value int64) {
	shard := &s.shards[xxh3.Hash(key)%handAShards]
	shard.mu.Lock()
	shard.states.of(key).Fold(value)
	shard.mu.Unlock()
}

// apply folds a batch and logs it.
func (s *handAStore) apply(batch limit.Stream) error {
	for i := range batch.Keys {
		s.fold(batch.Keys[i][:], batch.Events[i].Value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch.Keys {
		s.log.add(&batch.Keys[i], &batch.Events[i])
	}
	return s.log.commit()
}

// Lane is a door that waits for its batch.
func (s *handAStore) Lane(int) (Lane, error) { return &handALane{store: s}, nil }

// Do logs one event.
func (s *handAStore) Do(_ int, key *limit.Key, event *limit.Event) error {
	return s.apply(limit.Stream{Keys: []limit.Key{*key}, Events: []limit.Event{*event}})
}

// Each goes through the maps.
func (s *handAStore) Each(fn func(key []byte, s limit.State) error) error {
	for i := range s.shards {
		if err := s.shards[i].states.each(fn); err != nil {
			return err
		}
	}
	return nil
}

// Processes are none.
func (s *handAStore) Processes() []int { return nil }

// Close closes the log.
func (s *handAStore) Close() error { return errors.Join(s.tick.stop(), s.log.close()) }

type handALane struct {
	store   *handAStore
	settled uint64
}

// Apply returns when the batch is logged.
func (l *handALane) Apply(batch limit.Stream) error {
	l.settled += uint64(len(batch.Keys))
	return l.store.apply(batch)
}

// Settled is every event.
func (l *handALane) Settled() uint64 { return l.settled }

// Flush has nothing to wait for.
func (l *handALane) Flush() error { return nil }
