package shard

import (
	"context"
	"time"
)

// An alarm knows when the shard has to fire something. It belongs to the shard goroutine.
//
// Firings of a partition come one at a time, in the order of when they are due: a run
// takes one of each partition. So what a firing does to its partition is there when the
// next is looked for, and a crash between two of them changes nothing in their order.
//
// Invariant: a partition is in the queue if anything in it is ever due, unless it is being
// fired or on its way to another shard; and is there no later than it is due.
type alarm struct {
	tables []uint16     // that are timed; none: nothing is ever due
	queue  []*Partition // a heap, by due
	fired  []*Partition // in the run that is under way, and in no queue
	bytes  []byte       // of the records of that run
	clock  Clock        // of this run of the shard
	said   int64        // what the log says of how long the store was down
	logged bool         // the generation holds the clock, or need not
	begun  []uint16     // tables of which times of keys have begun with this run
	ended  bool         // the last frame was written
	runs   uint64       // of the shard, when it last went to sleep
	after  int64        // without room for a record: when to try again
	timer  *time.Timer  // nil before the shard was started, or if no table is timed
}

const (
	// looksMax is how many keys a turn looks at that turn out to be due later.
	looksMax = 256
	// roomPause is how long the shard waits before it looks for room on the disk again.
	roomPause = time.Second
	// quietPause is how long a shard sleeps before it finds out when it has to be awake.
	quietPause = 100 * time.Millisecond
	// firingBlock is the block of operations that came in none.
	firingBlock = runOperations + 1
)

func (a *alarm) open(s *Shard, state *State) {
	for id, t := range s.cfg.Tables {
		if timed, ok := t.(TimedTable); ok && timed.Timed() {
			a.tables = append(a.tables, uint16(id))
		}
	}
	a.clock, a.said = state.clock, state.paused
	s.run.Paused = a.clock.Paused
	if a.logged = len(a.tables) == 0; a.logged {
		return
	}
	for _, table := range a.tables {
		begun := false
		for _, p := range s.owned {
			begun = p.beginTimes(table, a.clock) || begun
		}
		if begun {
			a.begun = append(a.begun, table)
		}
	}
	for _, p := range s.owned {
		a.enroll(p)
	}
	if len(a.begun) > 0 {
		s.logClock()
	}
}

// logClock writes a frame without events, so that times that have begun now do not begin
// again when the store is opened the next time. Without room the first frame with events
// says so.
func (s *Shard) logClock() {
	if s.reserve(0) != nil {
		return
	}
	s.log.logged = true
	s.appendFrame()
	s.alarm.clockLogged()
}

// enroll puts a partition into the queue. One that is on its way to another shard is in
// none: what comes from it after the cut must be little, and the new owner fires.
func (a *alarm) enroll(p *Partition) { a.set(p, a.earliest(p)) }

// earliest is when something in the partition is due, or earlier.
func (a *alarm) earliest(p *Partition) int64 {
	due := int64(Never)
	for _, table := range a.tables {
		due = min(due, p.Stores[table].(Timed).Due())
	}
	return due
}

// Sooner tells the shard that something in the partition of an operation is due at a time.
func (r *Run) Sooner(p *Partition, due int64) {
	if due < p.due && !r.Replay {
		p.due = due
		r.sooner[r.sooners] = p
		r.sooners++
	}
}

// settle puts partitions into their places after a run.
func (a *alarm) settle(r *Run) {
	for _, p := range r.sooner[:r.sooners] {
		a.set(p, p.due)
	}
	r.sooners = 0
	for _, p := range a.fired {
		a.enroll(p)
	}
	a.fired, a.bytes = a.fired[:0], a.bytes[:0]
}

// due is when the shard has to look, by its clock.
func (a *alarm) due() int64 {
	if len(a.queue) == 0 {
		return Never
	}
	if a.after > 0 {
		return a.after
	}
	return a.queue[0].due
}

// fire carries out some of what is due, at most one run, and says whether it did anything.
// A shard that is about to end fires nothing more: the next open does.
func (s *Shard) fire() bool {
	a := &s.alarm
	due := a.due()
	if due == Never || s.failed() || s.inbox.Closed() {
		return false
	}
	if due > s.clock.mark || a.after > 0 {
		now := s.cfg.Clock()
		if a.after <= now || a.after > now+int64(roomPause) { // or the clock has run back
			a.after = 0
			due = a.due()
		}
		if a.after > 0 || due > max(now, s.clock.mark) {
			return false
		}
		s.clock.mark = max(s.clock.mark, now)
	}
	looked := s.takeFirings()
	if s.run.Filled == 0 {
		return looked
	}
	s.run.touch(s.programs)
	s.applyRun()
	return true
}

// takeFirings fills the run with the first firing of each partition in which something is
// due, as far as there is room for their records. It says whether it looked at any.
func (s *Shard) takeFirings() (looked bool) {
	a, r := &s.alarm, &s.run
	if a.queue[0].due > s.clock.mark {
		return false
	}
	a.after = 0
	if s.reserve(0) != nil {
		a.after = s.cfg.Clock() + int64(roomPause)
		return false
	}
	for range looksMax {
		if r.Filled == runOperations || len(a.queue) == 0 || a.queue[0].due > s.clock.mark {
			break
		}
		looked = true
		p := a.queue[0]
		table, f, due := a.look(p)
		if due > s.clock.mark {
			a.enroll(p)
			continue
		}
		s.takeFiring(p, table, &f)
	}
	return looked
}

// look looks at the key of the partition that is said to be due first, and says when it
// is: Never if it was put off. The partition may have been due before, of a key that is
// not there any more.
func (a *alarm) look(p *Partition) (table uint16, f Firing, due int64) {
	due = Never
	for _, id := range a.tables {
		if first := p.Stores[id].(Timed).Due(); first < due {
			table, due = id, first
		}
	}
	if due == Never {
		return 0, f, Never
	}
	f, ok := p.Stores[table].(Timed).Next()
	if !ok {
		due = Never
	}
	return table, f, due
}

// takeFiring makes an operation of a firing.
func (s *Shard) takeFiring(p *Partition, table uint16, f *Firing) {
	a, r := &s.alarm, &s.run
	a.set(p, Never)
	a.fired = append(a.fired, p)
	at := len(a.bytes)
	a.bytes = appendFiring(a.bytes, table, f)
	record := a.bytes[at:len(a.bytes):len(a.bytes)]
	routing := &s.cfg.Routing
	r.Ops[r.Filled] = Operation{
		Hash: routing.Hash(f.Key, routing.Seed), Record: record, Part: p, Store: p.Stores[table],
		block: firingBlock, keyEnd: int32(len(record) - 1), Table: table, Stamp: StampTimer, Kind: KindFiring,
	}
	r.Filled++
	r.bytes += len(record)
}

// clockLogged takes note that a frame was written: it holds the clock, if one had to.
func (a *alarm) clockLogged() {
	if !a.logged {
		a.logged, a.said = true, a.clock.Paused
	}
}

// logFiring logs what was fired.
func (s *Shard) logFiring(op *Operation) {
	now := s.run.Now
	s.log.append(now, op.Record)
	if w := op.Part.watch; w != nil {
		w.add(now, op.Record)
	}
	if what, _, _ := FiringOf(op); what == FiringTimer {
		s.counters.timers++
	} else {
		s.counters.expired++
	}
}

// putOffFiring lets go of a firing for which there was no room.
func (s *Shard) putOffFiring(op *Operation) {
	s.alarm.after = s.cfg.Clock() + int64(roomPause)
	op.Err = nil
}

// lapse lets a firing whose function did not return, or could not be called, be carried out
// without it.
func (s *Shard) lapse(op *Operation, err error) {
	op.Event()[0] |= byte(FiringLapsed)
	s.counters.lapsed++
	s.notify(NoticeLapsed, err)
}

// lapseRefused carries out without their function what the table has refused of the firings
// that were carried out and are not logged yet: it cannot encode the state to undo what the
// function does, say. It would refuse them as well when they come again.
func (s *Shard) lapseRefused() {
	r := &s.run
	for i, next := r.ended, r.Next; i < next && r.Ops[i].Kind == KindFiring; i++ {
		if op := &r.Ops[i]; op.Err != nil {
			s.lapse(op, op.Err)
			op.Err, r.Next = nil, i
			r.apply(s.programs, i+1)
			r.Next = next
		}
	}
}

// nextAlarm finds out when the shard has to fire something: what is said to be due first
// may have been put off since. Behind the horizon it does not look. It is not exact if more
// keys were put off than it looks at.
func (s *Shard) nextAlarm(horizon int64) (due int64, exact bool) {
	a := &s.alarm
	for range looksMax {
		if len(a.queue) == 0 || a.after > 0 {
			return a.due(), true
		}
		p := a.queue[0]
		if p.due > horizon {
			return p.due, true
		}
		if _, _, due := a.look(p); due == p.due {
			return p.due, true
		}
		a.enroll(p)
	}
	return a.due(), false
}

// setAlarm sets the timer that wakes a shard which goes to sleep. It is not ok if the
// shard has to look again first.
//
// A shard that sleeps between two calls would look at each key that an event has put off.
// So it only finds out exactly when something is due when it has slept for quietPause, and
// wakes once for that.
func (s *Shard) setAlarm() (ok bool) {
	a := &s.alarm
	if a.timer == nil || s.failed() || s.inbox.Closed() {
		return true
	}
	now, horizon := s.cfg.Clock(), int64(Never)
	if a.runs != s.counters.runs {
		a.runs, horizon = s.counters.runs, now+int64(quietPause)
	}
	due, exact := s.nextAlarm(horizon)
	if exact && due != Never {
		a.timer.Reset(time.Duration(max(0, min(due, horizon)-now)))
	}
	return exact
}

// markEnd writes a frame without events when the shard ends, so that its log knows until when
// the store was up, and for how long it was down before. It says whether it did.
func (s *Shard) markEnd() bool {
	a := &s.alarm
	if len(a.tables) == 0 || a.ended {
		return false
	}
	a.ended = true
	s.clock.advance(true)
	if a.said != a.clock.Paused {
		s.logClock()
	} else {
		s.beat()
	}
	return true
}

func (s *Shard) startAlarm() {
	if len(s.alarm.tables) > 0 {
		s.alarm.timer = time.AfterFunc(time.Hour, s.Wake)
		s.alarm.timer.Stop()
	}
}

// stopAlarm stops the timer of a shard that is awake.
func (s *Shard) stopAlarm() {
	if s.alarm.timer != nil {
		s.alarm.timer.Stop()
	}
}

// Fired waits until nothing is due by the shard's clock, or nothing can be fired.
func (s *Shard) Fired(ctx context.Context) error {
	for due := true; due; {
		err := s.Tell(ctx, func() {
			now := s.cfg.Clock()
			at, exact := s.nextAlarm(now)
			due = !s.failed() && (!exact || at <= now)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// set puts a partition into the queue as it is due, or takes it out.
func (a *alarm) set(p *Partition, due int64) {
	if p.due = due; p.watch != nil && p.watch.cut {
		due = Never
	}
	switch {
	case due == Never && p.place == 0:
	case due == Never:
		a.remove(p)
	case p.place == 0:
		a.queue = append(a.queue, p)
		p.place = int32(len(a.queue))
		a.up(len(a.queue) - 1)
	default:
		a.down(a.up(int(p.place) - 1))
	}
}

func (a *alarm) remove(p *Partition) {
	at, last := int(p.place)-1, len(a.queue)-1
	a.swap(at, last)
	a.queue[last] = nil
	a.queue = a.queue[:last]
	p.place = 0
	if at < last {
		a.down(a.up(at))
	}
}

func (a *alarm) swap(i, j int) {
	q := a.queue
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i+1), int32(j+1)
}

func (a *alarm) up(i int) int {
	for i > 0 && a.queue[i].due < a.queue[(i-1)/2].due {
		a.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i
}

func (a *alarm) down(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(a.queue); child++ {
			if a.queue[child].due < a.queue[first].due {
				first = child
			}
		}
		if first == i {
			return
		}
		a.swap(i, first)
		i = first
	}
}
