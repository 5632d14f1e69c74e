package shard

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"

	"github.com/keyfold/keyfold/internal/affinity"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/ring"
)

// Start starts the shard's goroutine and its two lanes. Stop ends them.
func (s *Shard) Start() {
	s.startPulse()
	s.startAlarm()
	go func() { s.label("sync"); s.log.lane.loop() }()
	go func() { s.label("snapshot"); s.round.lane.loop() }()
	go s.main()
}

// main is the body of the shard goroutine. If a function of a table ends the
// goroutine, another one takes its place and goes on behind that event.
func (s *Shard) main() {
	over := false
	defer func() {
		if !over {
			go s.main()
		}
	}()
	s.label("apply")
	unpin := s.pin()
	s.owner.become()
	deep(func() { deep(s.loop) })
	over = true
	unpin()
	s.end()
}

// label marks the calling goroutine in CPU profiles.
func (s *Shard) label(stage string) {
	labels := pprof.Labels("shard", fmt.Sprintf("shard-%02d", s.cfg.Index), "stage", stage)
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), labels))
}

// pin locks the goroutine to its thread and the thread to its CPU, as far as that is
// wanted and works.
func (s *Shard) pin() (unpin func()) {
	if s.cfg.Wait.CPU < 0 {
		return func() {}
	}
	runtime.LockOSThread()
	restore, err := affinity.Pin(s.cfg.Wait.CPU)
	s.counters.pinned = err == nil
	if err != nil {
		runtime.UnlockOSThread()
		return func() {}
	}
	return func() {
		if restore() == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}
}

// loop makes turns until the shard has ended. It parks when a turn found nothing to
// do and the waiting strategy has nothing left to try.
func (s *Shard) loop() {
	s.takeOver()
	waiter := ring.NewWaiter(s.cfg.Wait.Spin, s.yields())
	defer waiter.Busy()
	for !s.life.finished {
		if s.turn() {
			waiter.Busy()
			continue
		}
		if !waiter.Idle() {
			continue
		}
		s.park()
		waiter.Busy()
	}
}

// takeOver goes on where a function of a table has ended the goroutine before.
func (s *Shard) takeOver() {
	if s.life.parking {
		s.life.parking = false
		s.parker.Cancel()
	}
	s.thaw()
	s.meter.measuring = false
	if s.run.Filled > 0 {
		s.applyRun()
	}
	if s.moving.held.replaying {
		s.replayOn()
	}
}

// yields is how often a shard with nothing to do yields before it spins: those who
// wait for its acks, or were woken by it, may need its P to go on. A pinned shard has
// its CPU to itself, and never yields.
func (s *Shard) yields() int {
	if s.counters.pinned {
		return 0
	}
	return 2
}

// park sleeps until there is something to do. The open frame is written first,
// unless the sync under way will wake the shard anyway.
func (s *Shard) park() {
	if s.cfg.Log.Sync != SyncAlways || !s.log.lane.busy {
		s.flush()
		s.startSync()
	}
	s.parker.Prepare()
	s.life.parking = true
	busy := s.turn() || s.life.finished || !s.setAlarm()
	s.life.parking = false
	if busy {
		s.parker.Cancel()
		return
	}
	s.counters.parks++
	s.parker.Wait()
	s.stopAlarm()
}

// Stop closes the inbox and asks the shard to end: it carries out what was admitted,
// syncs and acknowledges it, takes a last snapshot and seals its log. Wait tells
// when that is done.
func (s *Shard) Stop() {
	s.inbox.Close()
	s.Wake()
}

// Hurry makes a shard that was stopped leave out the last snapshot, also one that is
// under way. The next open replays the log instead.
func (s *Shard) Hurry() {
	s.life.hurried.Store(true)
	s.Wake()
}

// Wait waits until the shard has ended, and returns what went wrong.
func (s *Shard) Wait(ctx context.Context) error {
	select {
	case <-s.life.stopped:
		return s.life.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// advanceEnd moves a shard that was stopped on towards its end.
func (s *Shard) advanceEnd() bool {
	if !s.inbox.Drained() || s.life.finished || s.run.Filled > 0 {
		return false
	}
	if s.failed() {
		s.log.lane.hasten()
		s.life.finished = !s.log.lane.busy && !s.round.lane.busy && s.moving.over()
		return s.life.finished
	}
	j := &s.log
	if j.rotation != nil || j.frame.Count > 0 || j.durable < j.appended.Load() {
		s.force()
		return s.startSync()
	}
	if s.round.phase != roundIdle && !s.life.hurried.Load() {
		return false
	}
	if s.round.lane.busy {
		return false
	}
	if (j.bytes > 0 || len(s.alarm.begun) > 0) && !s.life.closing && !s.life.hurried.Load() {
		s.life.closing = true
		s.round.phase = roundWanted
		return true
	}
	if s.markEnd() {
		return true
	}
	s.seal()
	return true
}

// seal writes down that the log ends here, durably: a log that is shorter at the
// next open is damaged.
func (s *Shard) seal() {
	j := &s.log
	s.life.finished = true
	sealed := j.current.sealed(ending{j.writer.End(), j.writer.Bytes(), s.clock.mark})
	if err := sealed.write(s.cfg.Log.FS, s.cfg.Dir); err != nil {
		if errors.Is(err, fsys.ErrNoSpace) {
			s.life.unsealed = err // nothing is lost: the next open reads to the end
			return
		}
		s.fail(err)
		return
	}
	j.current = sealed
}

// end stops the lanes and leaves nothing behind.
func (s *Shard) end() {
	s.endFeeds()
	last := s.survey()
	s.life.last = &last
	s.log.pulse.timer.Stop()
	s.stopAlarm()
	s.log.lane.stop()
	s.round.lane.stop()
	s.round.fail(ErrClosed)
	var err error
	if failure := s.Err(); failure != nil {
		err = failure
	}
	if rotation := s.log.rotation; rotation != nil {
		err = errors.Join(err, rotation.retired.Close())
	}
	if s.round.err != nil && err == nil && s.life.closing && !s.life.hurried.Load() {
		err = fmt.Errorf("keyfold: shard %d took no last snapshot, and the next open replays its log: %w", s.cfg.Index, s.round.err)
	}
	if s.life.unsealed != nil {
		err = errors.Join(err, fmt.Errorf("keyfold: shard %d could not note that it was closed, and the next open takes it for killed: %w", s.cfg.Index, s.life.unsealed))
	}
	s.life.err = errors.Join(err, s.log.writer.Close())
	close(s.life.stopped)
}
