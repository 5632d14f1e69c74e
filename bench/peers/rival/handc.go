package rival

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/bench/limit"
)

func handC() *Rival {
	return &Rival{
		ByHand: true, Name: "handc", About: "by hand: as handb, but a channel send for each event", Lanes: always(2), Open: openHandC,
	}
}

// A sent is what travels to a shard of handc.
type sent struct {
	record
	lane  *handCLane // that is told, or nil
	reply chan error // that is told, or nil
}

// handCStore is handb before somebody has measured it.
type handCStore struct {
	shards  [handBShards]*handCShard
	replies sync.Pool // of chan error with room for one
	done    sync.WaitGroup
	tick    *ticker
}

type handCShard struct {
	in     chan sent
	states handStates
	log    *handLog
}

func openHandC(c Config) (Store, error) {
	s := new(handCStore)
	s.replies.New = func() any { return make(chan error, 1) }
	for i := range s.shards {
		sh := &handCShard{in: make(chan sent, groupEvents), states: make(handStates)}
		var err error
		sh.log, err = openHandLog(filepath.Join(c.Dir, fmt.Sprintf("shard-%d", i)), c.Sync, func(key []byte, value int64) {
			sh.states.of(key).Fold(value)
		})
		if err != nil {
			return nil, err
		}
		s.shards[i] = sh
	}
	for _, sh := range s.shards {
		s.done.Go(sh.run)
	}
	if c.Sync == Second {
		s.tick = everySecond(func() error { return errors.Join(s.shards[0].log.sync(), s.shards[1].log.sync()) })
	}
	return s, nil
}

// run commits what is in the channel, as much at a time as waits there, until it is
// closed.
func (sh *handCShard) run() {
	var group []sent
	for first := range sh.in {
		group = append(group[:0], first)
		for more := true; more && len(group) < groupEvents; {
			select {
			case next, ok := <-sh.in:
				if more = ok; ok {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		sh.commit(group)
	}
}

func (sh *handCShard) commit(group []sent) {
	for i := range group {
		r := &group[i].record
		sh.states.of(r.key[:]).Fold(r.event.Value)
		sh.log.add(&r.key, &r.event)
	}
	err := sh.log.commit()
	for i := range group {
		if group[i].reply != nil {
			group[i].reply <- err
			continue
		}
		group[i].lane.settle(err)
	}
}

// Lane sends events one by one.
func (s *handCStore) Lane(int) (Lane, error) {
	return &handCLane{store: s, wake: make(chan struct{}, 1)}, nil
}

// Do sends one event and waits for its reply.
func (s *handCStore) Do(_ int, key *limit.Key, event *limit.Event) error {
	reply := s.replies.Get().(chan error)
	s.shards[handBShardOf(key)].in <- sent{record: record{*key, *event}, reply: reply}
	err := <-reply
	s.replies.Put(reply)
	return err
}

// Each goes through the maps. The lanes must be flushed.
func (s *handCStore) Each(fn func(key []byte, s limit.State) error) error {
	for _, sh := range s.shards {
		if err := sh.states.each(fn); err != nil {
			return err
		}
	}
	return nil
}

// Processes are none.
func (s *handCStore) Processes() []int { return nil }

// Close ends the shards and closes their logs.
func (s *handCStore) Close() error {
	for _, sh := range s.shards {
		close(sh.in)
	}
	s.done.Wait()
	errs := []error{s.tick.stop()}
	for _, sh := range s.shards {
		errs = append(errs, sh.log.close())
	}
	return errors.Join(errs...)
}

type handCLane struct {
	store   *handCStore
	sent    uint64
	awaited atomic.Uint64         // the lane's Store publishes to a shard's Load
	settled atomic.Uint64         // a shard's Add publishes to the lane's Load
	failed  atomic.Pointer[error] // a shard's Store publishes to the lane's Load
	wake    chan struct{}
}

// Apply sends each event.
func (l *handCLane) Apply(batch limit.Stream) error {
	for i := range batch.Keys {
		key := &batch.Keys[i]
		l.store.shards[handBShardOf(key)].in <- sent{record: record{*key, batch.Events[i]}, lane: l}
	}
	l.sent += uint64(len(batch.Keys))
	return nil
}

// settle is called by a shard.
func (l *handCLane) settle(err error) {
	if err != nil {
		l.failed.Store(&err)
	}
	if l.settled.Add(1) != l.awaited.Load() {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Settled is what the shards have committed.
func (l *handCLane) Settled() uint64 { return l.settled.Load() }

// Flush waits for the shards.
func (l *handCLane) Flush() error {
	l.awaited.Store(l.sent)
	for l.settled.Load() < l.sent {
		<-l.wake
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}
