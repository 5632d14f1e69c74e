package shard

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/wal"
)

// A Shard owns partitions and folds events into them. Its inbox, control messages
// and stopping are safe for concurrent use; everything else belongs to the shard
// goroutine.
type Shard struct {
	cfg    Config
	inbox  *ring.Ring
	parker ring.Parker

	programs []Program
	parts    []*Partition // by partition; that of moving.nowhere: owned by another shard
	stores   [][]Store    // of parts, by table and partition: the shortest way to the memory of a key
	owned    []*Partition

	run    run
	clock  clock
	log    journal
	acks   acks
	round  round
	alarm  alarm
	moving moving

	feeds     []Feed // polled in every turn
	followers followers
	control   chan func()
	failure   atomic.Pointer[FailedError] // fail's store publishes to Err
	owner     owner
	life      life
	figures
}

// acks are the blocks that were carried out and are not acknowledged yet.
type acks struct {
	written queue
	durable queue
}

// life is how a shard ends.
type life struct {
	closing  bool          // the inbox is closed; when it is drained the shard ends
	hurried  atomic.Bool   // Hurry's store tells the shard to leave out the last snapshot
	stopped  chan struct{} // closed when the goroutine is gone
	finished bool          // the last turn was made
	last     *Survey       // of the end; published by closing stopped
	parking  bool          // the parker is prepared
	unsealed error         // why CURRENT does not say where the log ends, for want of room
	err      error         // of the end; published by closing stopped
}

// New makes a shard over a recovered or created state. It takes the partitions and
// the writer over. The shard runs nothing before Start.
func New(cfg Config, state *State) (*Shard, error) {
	inbox, err := ring.New(cfg.Inbox)
	if err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	s := &Shard{
		cfg:      cfg,
		inbox:    inbox,
		programs: state.programs,
		parts:    make([]*Partition, 1<<cfg.Routing.Bits),
		control:  make(chan func(), controlMessages),
	}
	s.life.stopped = make(chan struct{})
	s.meter = newMeter(len(cfg.Tables))
	for range cfg.Tables {
		s.stores = append(s.stores, make([]Store, len(s.parts)))
	}
	s.openMoving(state)
	s.clock = clock{now: cfg.Clock, mark: state.time}
	s.rates = ratesOf(&state.Report, max(1, cfg.Workers))
	s.log.open(s, state)
	s.round.open(s, state)
	s.alarm.open(s, state)
	return s, nil
}

// Config is what the shard was made with.
func (s *Shard) Config() Config { return s.cfg }

// Inbox is where blocks for this shard are claimed and published. Whoever published
// a block must call Wake.
func (s *Shard) Inbox() *ring.Ring { return s.inbox }

// Wake wakes the shard if it is parked. It is safe for concurrent use.
func (s *Shard) Wake() { s.parker.Wake() }

// Idle says that the shard is parked: nothing is under way that could be waited for.
func (s *Shard) Idle() bool { return s.parker.Parked() }

// Err is the error that the shard failed with, or nil. It is safe for concurrent use.
func (s *Shard) Err() error {
	if failure := s.failure.Load(); failure != nil {
		return failure
	}
	return nil
}

// Tell queues f for the shard goroutine, which runs it before it takes more
// operations, and waits until it has run. It returns an error if the shard stopped
// first or ctx ended; then f may still run, unless the shard has stopped.
func (s *Shard) Tell(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	message := func() { defer close(ran); f() }
	select {
	case s.control <- message:
	case <-s.life.stopped:
		return s.gone()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.Wake()
	return s.told(ctx, ran)
}

// told waits until a message has run. The shard may have stopped right behind it: whoever
// sent it must not think then that it has not.
func (s *Shard) told(ctx context.Context, ran <-chan struct{}) error {
	select {
	case <-ran:
		return nil
	case <-s.life.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ran:
		return nil
	default:
		return s.gone()
	}
}

func (s *Shard) gone() error {
	if err := s.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// turn does what there is to do and says whether that was anything.
func (s *Shard) turn() bool {
	busy := s.serveControl()
	busy = s.advanceMoves() || busy
	busy = s.pollLanes() || busy
	busy = s.heartbeat() || busy
	s.beginMeasure()
	fed := s.fire()
	drained := s.takeRun()
	worked := s.run.Filled > 0
	if worked {
		s.applyRun()
	}
	fed = s.pollFeeds() || fed
	s.endMeasure(worked || fed)
	busy = busy || worked
	busy = s.advanceRound() || busy || fed // first, because a round begins between two syncs
	busy = s.commit(drained && !fed) || busy
	return s.advanceEnd() || busy
}

func (s *Shard) serveControl() bool {
	for served := range controlMessages {
		select {
		case message := <-s.control:
			watch := s.meter.start()
			message()
			s.meter.stop(jobView, watch)
			s.letMoverGo()
		default:
			return served > 0
		}
	}
	return true
}

func (s *Shard) pollLanes() bool {
	busy := false
	if s.log.lane.poll() {
		watch := s.meter.start()
		s.synced()
		s.meter.stop(jobLog, watch)
		busy = true
	}
	if s.round.lane.poll() {
		s.roundWorked()
		busy = true
	}
	return busy
}

// fail stops the shard after an error: what was admitted and is not acknowledged
// has an unknown outcome, and what still comes is refused.
func (s *Shard) fail(err error) {
	if s.failure.Load() != nil {
		return
	}
	if mutant.ForgottenFailure {
		s.log.frame.Reset()
		return
	}
	s.failure.Store(&FailedError{Shard: s.cfg.Index, Err: err})
	s.notify(NoticeFailed, err)
	s.TellFollowers()
	s.inbox.Close()
	unknown := &FailedError{Shard: s.cfg.Index, Unknown: true, Err: err}
	s.acks.written.release(never, unknown)
	s.acks.durable.release(never, unknown)
	s.log.frame.Reset()
	s.round.fail(s.failure.Load())
	s.failMoves(s.failure.Load())
}

// never is an ordinal that no frame reaches.
const never = ^uint64(0)

func (s *Shard) failed() bool { return s.failure.Load() != nil }

// clock is the time as it is logged: it never runs back.
type clock struct {
	now  func() int64
	mark int64 // the time that events are applied at
}

// timeStep is how far the time moves on within a frame, in nanoseconds.
const timeStep = 1e6

// advance moves the mark on: by any distance at the start of a frame, by at least
// timeStep within one.
func (c *clock) advance(frameStart bool) {
	now := c.now()
	if now-c.mark >= timeStep || frameStart && now > c.mark {
		c.mark = now
	}
}

// A State is a shard that was not started yet, as recovery or creation left it.
type State struct {
	Partitions []*Partition // what the logs and snapshots of the shard hold
	Report     Report

	path string            // of the shard
	lost []*Partition      // that another shard holds at a higher epoch
	gone map[uint32]uint64 // epochs at which partitions were adopted elsewhere, durably
	left map[uint32]uint64 // the same for when all shards are durable as they were recovered

	programs []Program
	writer   *wal.Writer
	current  Current
	unsynced []frameEnd // frames of the last generation from its horizon on
	eras     []era      // of the last generation
	filled   int        // frames with records in the last generation
	time     int64
	clock    Clock // said to a shard that is made of the state
	paused   int64 // of the clock that the log holds
	log      int64 // bytes of log behind the newest snapshot
	snapshot int64 // bytes of the newest snapshot
	// snapshotAt is when it was written; zero: there is none.
	snapshotAt time.Time
}

// Time is the time of the last event, or later: in the partitions of this state it
// must not run back behind it.
func (state *State) Time() int64 { return state.time }

// Paused is how long the store was down, in all, as far as tables have counted that up to
// the end of the log.
func (state *State) Paused() int64 { return state.paused }

// Begin says what the clock says when a shard is made of the state. Neither time may be
// before what the state says of it.
func (state *State) Begin(c Clock) { state.clock = c }

// Close gives back what a state holds that no shard was made of.
func (state *State) Close() error {
	if state.writer == nil {
		return nil
	}
	return state.writer.Close()
}
