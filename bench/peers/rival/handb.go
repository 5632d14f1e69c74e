package rival

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/bench/limit"
)

const handBAbout = "by hand: goroutine, map[string]*State and tidwall/wal a shard, 2 shards, channels of 256-event slices; 2 lanes"

func handB() *Rival {
	return &Rival{ByHand: true, Name: "handb", About: handBAbout, Lanes: always(2), Open: openHandB}
}

// handBProcs is given Ps to spare, without which its shards block its callers while
// they sync.
func handBProcs() *Rival {
	return &Rival{ByHand: true, Name: "handb-4p", About: handBAbout + "; GOMAXPROCS 4", Lanes: always(2), Open: openHandB, Procs: 4, Only: Always}
}

const (
	handBShards = 2
	sliceEvents = 256
	handBSlices = 64 // that wait for a shard
)

// A record is an event with its key.
type record struct {
	key   limit.Key
	event limit.Event
}

// A slice is what travels to a shard. It belongs to the shard while it is in the
// channel, and is freed by it.
type slice struct {
	records []record
	lane    *handBLane // that is told, or nil
	reply   chan error // that is told, or nil
}

// handBStore is what a careful team writes.
type handBStore struct {
	shards [handBShards]*handBShard
	free   sync.Pool // of *slice with sliceEvents of room
	single sync.Pool // of *slice with a reply
	done   sync.WaitGroup
	tick   *ticker
}

type handBShard struct {
	in     chan *slice
	store  *handBStore
	states handStates
	log    *handLog
}

func openHandB(c Config) (Store, error) {
	s := new(handBStore)
	s.free.New = func() any { return &slice{records: make([]record, 0, sliceEvents)} }
	s.single.New = func() any { return &slice{records: make([]record, 0, 1), reply: make(chan error, 1)} }
	for i := range s.shards {
		sh := &handBShard{in: make(chan *slice, handBSlices), store: s, states: make(handStates)}
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

func handBShardOf(key *limit.Key) int { return int(key.Hash() % handBShards) }

// run commits what is in the channel, as much at a time as waits there, until it is
// closed.
func (sh *handBShard) run() {
	var group []*slice
	for first := range sh.in {
		group = append(group[:0], first)
		events := len(first.records)
		for more := true; more && events < groupEvents; {
			select {
			case next, ok := <-sh.in:
				if more = ok; ok {
					group, events = append(group, next), events+len(next.records)
				}
			default:
				more = false
			}
		}
		sh.commit(group)
	}
}

func (sh *handBShard) commit(group []*slice) {
	for _, sl := range group {
		for i := range sl.records {
			r := &sl.records[i]
			sh.states.of(r.key[:]).Fold(r.event.Value)
			sh.log.add(&r.key, &r.event)
		}
	}
	err := sh.log.commit()
	for _, sl := range group {
		if sl.reply != nil {
			sl.reply <- err // belongs to its caller again
			continue
		}
		sl.lane.settle(len(sl.records), err)
		sl.records = sl.records[:0]
		sh.store.free.Put(sl)
	}
}

// Lane is a producer with an open slice for each shard.
func (s *handBStore) Lane(int) (Lane, error) {
	return &handBLane{store: s, wake: make(chan struct{}, 1)}, nil
}

// Do sends a slice of one event.
func (s *handBStore) Do(_ int, key *limit.Key, event *limit.Event) error {
	sl := s.single.Get().(*slice)
	sl.records = append(sl.records[:0], record{*key, *event})
	s.shards[handBShardOf(key)].in <- sl
	err := <-sl.reply
	s.single.Put(sl)
	return err
}

// Each goes through the maps. The lanes must be flushed.
func (s *handBStore) Each(fn func(key []byte, s limit.State) error) error {
	for _, sh := range s.shards {
		if err := sh.states.each(fn); err != nil {
			return err
		}
	}
	return nil
}

// Processes are none.
func (s *handBStore) Processes() []int { return nil }

// Close ends the shards and closes their logs.
func (s *handBStore) Close() error {
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

type handBLane struct {
	store   *handBStore
	open    [handBShards]*slice
	sent    uint64
	settled atomic.Uint64         // a shard's Add publishes to the lane's Load
	failed  atomic.Pointer[error] // a shard's Store publishes to the lane's Load
	wake    chan struct{}
}

// Apply fills slices, and sends those that are full.
func (l *handBLane) Apply(batch limit.Stream) error {
	for i := range batch.Keys {
		shard := handBShardOf(&batch.Keys[i])
		sl := l.open[shard]
		if sl == nil {
			sl = l.store.free.Get().(*slice)
			sl.lane, l.open[shard] = l, sl
		}
		sl.records = append(sl.records, record{batch.Keys[i], batch.Events[i]})
		if len(sl.records) == sliceEvents {
			l.send(shard)
		}
	}
	l.sent += uint64(len(batch.Keys))
	return nil
}

func (l *handBLane) send(shard int) {
	l.store.shards[shard].in <- l.open[shard]
	l.open[shard] = nil
}

// settle is called by a shard.
func (l *handBLane) settle(events int, err error) {
	if err != nil {
		l.failed.Store(&err)
	}
	l.settled.Add(uint64(events))
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Settled is what the shards have committed.
func (l *handBLane) Settled() uint64 { return l.settled.Load() }

// Flush sends what is open and waits for the shards.
func (l *handBLane) Flush() error {
	for shard, sl := range l.open {
		if sl != nil {
			l.send(shard)
		}
	}
	for l.settled.Load() < l.sent {
		<-l.wake
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}
