package shard

import (
	"sync/atomic"
	"time"
)

// pulseInterval is how long a log is quiet before it writes a heartbeat.
const pulseInterval = 100 * time.Millisecond

// A pulse writes one empty frame behind the last real one when the log has become
// quiet: its horizon vouches for that frame, so that damage to it is not mistaken
// for a tear.
type pulse struct {
	timer   *time.Timer // nil before the shard was started
	running bool
	due     atomic.Bool // the timer's store tells the shard to look
	heard   uint64      // frames appended when the shard last looked
	beat    uint64      // ordinal of the last heartbeat
}

// listen starts the timer when frames were written since the last heartbeat.
func (s *Shard) listen() {
	p := &s.log.pulse
	if p.timer == nil || p.running || s.log.appended.Load() == p.beat {
		return
	}
	p.running = true
	p.heard = s.log.appended.Load()
	p.timer.Reset(pulseInterval)
}

// heartbeat looks whether the log has been quiet since the timer was started.
func (s *Shard) heartbeat() bool {
	p := &s.log.pulse
	if !p.due.Load() {
		return false
	}
	p.due.Store(false)
	p.running = false
	j := &s.log
	appended := j.appended.Load()
	if appended != p.heard {
		s.listen() // it was not quiet
	} else if appended == j.durable && j.frame.Count == 0 && !s.failed() {
		s.beat()
	}
	return true
}

// beat writes the empty frame. Without room for it there is none.
func (s *Shard) beat() {
	j := &s.log
	if j.writer.Room(j.frameMax) != nil {
		return
	}
	j.frame.Reset()
	j.frame.Time = s.clock.mark
	j.pulse.beat = j.appended.Load() + 1
	s.appendFrame()
}

func (s *Shard) startPulse() {
	s.log.pulse.timer = time.AfterFunc(time.Hour, func() {
		s.log.pulse.due.Store(true)
		s.Wake()
	})
	s.log.pulse.timer.Stop()
}
