package shard

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/wal"
)

// A journal is the shard's side of its log: the open frame, how far frames have
// come, and the lane that syncs them. Frames are counted by ordinals: 1 is the
// first frame that this shard wrote since it was opened, in whatever generation.
//
// Invariant: released <= durable <= appended.
type journal struct {
	writer   *wal.Writer
	tip      atomic.Pointer[wal.Writer] // of the newest generation that is valid; open's and synced's stores publish to trails
	current  Current                    // what the CURRENT file says, or will say when the job in the lane is done
	frame    wal.Frame
	frameMax int
	time     int64 // that the next event of the open frame would be applied at
	logged   bool  // the generation holds records
	gather   gathering
	readOnly bool // there was no room for the last event

	appended atomic.Uint64 // frames given to the system; flush's store publishes to the sync job
	durable  uint64        // frames synced
	bytes    int64         // log that a recovery would have to read

	rotation *rotation // a new generation that the lane makes valid
	lane     *lane
	job      syncJob
	wanted   uint64 // frames that must be durable soon, whatever the mode
	segments uint64 // of the generation, when the last frame was written
	pulse    pulse
}

// A syncJob is what the lane works on. Between begin and poll it belongs to the lane.
type syncJob struct {
	writer   *wal.Writer
	rotation *rotation
	upTo     uint64 // frames that the job made durable
	took     time.Duration
	err      error
}

func (j *journal) open(s *Shard, state *State) {
	j.writer = state.writer
	j.tip.Store(j.writer)
	j.current = state.current
	j.bytes = state.log
	j.logged = state.Report.Copied > 0
	j.segments = j.writer.Segments()
	j.frameMax = s.cfg.Log.FrameBytesMax
	j.frame.Reset()
	j.lane = newLane(s.syncWork, func(lost *PanicError) { j.job.err = lost }, s.Wake)
}

// openOrdinal is the ordinal of the frame that holds the latest event: the open one,
// or the one before it when it is empty.
func (j *journal) openOrdinal() uint64 {
	if j.frame.Count > 0 && !mutant.AckOfFrameBefore {
		return j.appended.Load() + 1
	}
	return j.appended.Load()
}

// append logs the record of an event that was applied at the time now.
func (j *journal) append(now int64, record []byte) { j.appendAll(now, record, 1) }

// appendAll logs the records of count events that were applied at the time now.
func (j *journal) appendAll(now int64, records []byte, count int) {
	if count == 0 {
		return
	}
	if now != j.time && !mutant.TimeNotMarked {
		j.frame.Bytes = appendTimeMark(j.frame.Bytes, now)
		j.time = now
	}
	j.frame.Bytes = append(j.frame.Bytes, records...)
	j.frame.Count += uint32(count)
}

// reserve makes sure that the open frame and the disk have room for a record, before
// anything is applied.
func (s *Shard) reserve(recordBytes int) error {
	if s.failed() {
		return s.failure.Load()
	}
	need := recordBytes + timeMarkBytes
	j := &s.log
	if j.frame.Count > 0 && j.frame.Len()+need > j.frameMax {
		s.flush()
		if s.failed() {
			return s.failure.Load()
		}
	}
	if j.frame.Count > 0 {
		return nil
	}
	if mutant.ReadOnlyForever && j.readOnly {
		return ErrReadOnly
	}
	watch := s.meter.start()
	err := j.writer.Room(j.frameMax)
	s.meter.stop(jobLog, watch)
	if err != nil && !mutant.AppliedWithoutRoom {
		if errors.Is(err, fsys.ErrNoSpace) {
			s.setReadOnly(err)
			return errors.Join(ErrReadOnly, err)
		}
		s.fail(err)
		return s.failure.Load()
	}
	s.setReadOnly(nil)
	j.frame.Reset()
	j.frame.Time, j.time = s.clock.mark, s.clock.mark
	if !s.alarm.logged {
		j.frame.Bytes = appendClock(j.frame.Bytes, s.alarm.clock, s.alarm.begun)
	}
	return nil
}

// setReadOnly keeps why there is no room for events, or that there is.
func (s *Shard) setReadOnly(err error) {
	switch {
	case err != nil && !s.log.readOnly:
		s.notify(NoticeReadOnly, err)
	case err == nil && s.log.readOnly:
		s.notify(NoticeWritable, nil)
	}
	s.log.readOnly = err != nil
}

// commit writes the open frame when its time has come, and starts a sync when one is
// due and none is under way. It says whether it did anything.
func (s *Shard) commit(drained bool) bool {
	if s.failed() {
		return false
	}
	wrote := false
	if s.log.frame.Count > 0 {
		s.log.gather.turns++
		if wrote = s.shouldWrite(drained); wrote {
			s.flush()
		}
	}
	return s.startSync() || wrote
}

// flush writes the open frame.
func (s *Shard) flush() {
	j := &s.log
	if j.frame.Count == 0 || s.failed() {
		return
	}
	j.logged = true
	s.appendFrame()
	s.alarm.clockLogged()
}

func (s *Shard) appendFrame() {
	j := &s.log
	bytes := j.frame.Len()
	watch := s.meter.start()
	_, err := j.writer.Append(&j.frame)
	s.meter.stop(jobLog, watch)
	if err != nil {
		s.fail(err)
		return
	}
	j.frame.Reset()
	j.gather.turns = 0
	j.appended.Store(j.appended.Load() + 1)
	if segments := j.writer.Segments(); segments != j.segments {
		j.segments, j.wanted = segments, j.appended.Load() // the full one is synced before the next is full
	}
	j.bytes += int64(bytes)
	s.counters.frames++
	s.counters.logBytes += uint64(bytes)
	s.releaseWritten()
}

// releaseReady tells those whose frame has come far enough already: a refusal that
// depends on nothing that is still under way.
func (s *Shard) releaseReady() {
	s.releaseWritten()
	s.acks.durable.release(s.log.durable, nil)
}

// releaseWritten tells those who wait for the operating system only. While a new
// generation is not valid yet nothing in it is acknowledged: a crash of the process
// would take it back.
func (s *Shard) releaseWritten() {
	if s.log.rotation == nil || mutant.AckBeforeRotation {
		s.acks.written.release(s.log.appended.Load(), nil)
	}
	if mutant.AckBeforeSync {
		s.acks.durable.release(s.log.appended.Load(), nil)
	}
}

// startSync begins a sync job if frames are waiting for one. After a failure there is
// none: what a second try would say is worth nothing.
func (s *Shard) startSync() bool {
	j := &s.log
	if s.failed() {
		return false
	}
	if j.lane.busy {
		if j.forced() {
			j.lane.hasten()
		}
		return false
	}
	if j.rotation == nil && !s.syncDue() {
		return false
	}
	delay := time.Duration(0)
	if s.cfg.Log.Sync == SyncInterval && !j.forced() && j.rotation == nil {
		delay = s.cfg.Log.Interval
	}
	j.job = syncJob{writer: j.writer, rotation: j.rotation}
	j.gather.begin(s.acks.durable.len(), s.cfg.Clock())
	j.lane.begin(delay)
	return true
}

func (s *Shard) syncDue() bool {
	j := &s.log
	if j.appended.Load() == j.durable {
		return false
	}
	return s.cfg.Log.Sync != SyncNever || j.forced()
}

// forced says that a sync is wanted now, whatever the mode.
func (j *journal) forced() bool { return j.durable < j.wanted }

// syncWork is the lane's job: it makes durable what was written before it began.
func (s *Shard) syncWork() {
	job := &s.log.job
	began := time.Now()
	defer func() { job.took = time.Since(began) }()
	job.upTo = s.log.appended.Load()
	if job.rotation != nil {
		job.err = job.rotation.finish(s)
		return
	}
	_, job.err = job.writer.Sync()
}

// synced takes over what the lane has done, and releases the acks that waited for it.
func (s *Shard) synced() {
	j := &s.log
	if s.failed() {
		return
	}
	if j.job.err != nil {
		s.fail(j.job.err)
		return
	}
	s.counters.syncs++
	s.meter.syncs.Add(j.job.took)
	j.durable = j.job.upTo
	if j.job.rotation != nil {
		j.tip.Store(j.rotation.writer)
		j.rotation = nil
		s.releaseWritten()
	}
	s.TellFollowers()
	told := s.acks.durable.upTo(j.durable)
	j.gather.told(told, s.cfg.Clock())
	s.syncNext(s.acks.durable.len() - told)
	s.acks.durable.release(j.durable, nil)
	s.listen()
}

// syncNext starts the next sync with what came during the last one, before those who
// waited for that one are told: the disk works while they are woken. It does not if
// they are waited for. A round that wants to begin does so between two syncs.
func (s *Shard) syncNext(blocks int) {
	if s.cfg.Log.Sync != SyncAlways || s.round.phase == roundWanted || s.gathers(blocks) {
		return
	}
	s.flush()
	s.startSync()
}

// force asks for a sync of everything accepted so far, whatever the mode.
func (s *Shard) force() {
	if s.failed() {
		return
	}
	s.flush()
	s.log.wanted = s.log.appended.Load()
}
