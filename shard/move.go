package shard

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
)

// The protocol of a move is in DESIGN.md: who does what in which order, and who owns the
// partition after a crash. The model of it is in move_model_test.go.

// A Transit is partitions on their way from one shard to another, by one cut. Both shards
// and whoever moves them have it; what is not atomic belongs to the old owner until it has
// handed them over, and to nobody afterwards.
type Transit struct {
	passengers []passenger // which they are is fixed before the new owner sees them
	left       []holding   // of each, when the old owner handed it over; belongs to the old owner
	from, to   *Shard
	cut        uint64 // position in the inbox of the old owner that it must come to
	watch      watch  // of all of them; belongs to the old owner
	cargo      cargo  // belongs to whoever moves them, and while it is loaded to the new owner
	luggage    *luggage
	paces      paces  // fixed before either shard sees them
	copied     uint64 // frame of the old owner that holds the last event of the copies; belongs to the same

	parcel  atomic.Pointer[parcel] // the old owner's store hands the partitions to the new one
	lost    atomic.Pointer[error]  // the old owner's store says that none will come
	fate    atomic.Uint32          // the new owner's store tells the old one what became of them
	settled chan struct{}          // closed when fate is known
	err     error                  // of lost ones; published by closing settled
}

// A passenger is a partition of a transit.
type passenger struct {
	id    uint32
	epoch uint64 // of the new owner; whoever moves it sets it before the cut
}

// carries says that a partition is one of the transit.
func (t *Transit) carries(id uint32) bool {
	return slices.ContainsFunc(t.passengers, func(p passenger) bool { return p.id == id })
}

// The fates of a transit.
const (
	fateOpen    uint32 = iota
	fateAdopted        // the new owner's log holds it, durably
	fateLost           // one of the shards has failed; the next open finds the owner
)

// A parcel is partitions as the old owner hands them over.
type parcel struct {
	parts     []*Partition // in the order of the passengers
	last      bundle       // the events that no copy holds
	time      int64        // of the old owner
	committed int          // so many of the parts have their commit in the new owner's log
	commit    uint64       // frame of that log that has the last one
}

// A bundle is records that the log of the new owner gets, from the first on.
type bundle struct {
	records []byte // events with time marks, or of an adoption
	now     int64  // of these events, as far as they were logged
}

// find returns the partition of a number, or else.
func (p *parcel) find(id uint32, or *Partition) *Partition {
	for _, part := range p.parts {
		if part.ID == id {
			return part
		}
	}
	return or
}

// settle says what became of the transit: all of it is adopted durably, or err. It is
// called once, by the new owner.
func (t *Transit) settle(err error) {
	if t.err = err; err == nil {
		t.fate.Store(fateAdopted)
	} else {
		t.fate.Store(fateLost)
	}
	close(t.settled)
	t.from.Wake()
}

// moving is what a shard has to do with moves. It belongs to the shard goroutine.
type moving struct {
	nowhere *Partition        // stands for those that are not here
	absent  []Store           // by table: stand for those of nowhere
	leaving []*Transit        // handed over, and not known to be adopted
	owed    []*Transit        // of leaving, which the snapshot under way does not hold
	gone    map[uint32]uint64 // epochs at which partitions were adopted elsewhere, durably

	out *Transit // to be handed over
	in  *Transit // to be adopted; there is one at a time

	loading *cargo           // of in, for the log
	expects bool             // events of in may come
	arrived []*Partition     // of in: committed, and not here before what was held back is carried out
	stuck   error            // why in cannot be adopted for the time being
	astray  map[uint32]error // why partitions that were to come here never will
	held    held
	awaited []awaited
	next    func()      // to be called when no round wants to begin
	relents atomic.Bool // Relent's store tells the shard not to wait for room
	visited bool        // whoever moves partitions has something to do
	watched int         // partitions that have a watch
}

// Relent makes the shard give up a partition that it has no room on the disk to adopt:
// the engine is about to stop it. The next open finds the partition at its old owner.
func (s *Shard) Relent() {
	s.moving.relents.Store(true)
	s.Wake()
}

// An awaited is told when the log is durable up to a frame, or has failed.
type awaited struct {
	ordinal uint64
	done    func(error)
}

// noPartition is the number of the partition that stands for those that are not here.
const noPartition = ^uint32(0)

// openMoving puts the partitions of the state in their places.
func (s *Shard) openMoving(state *State) {
	m := &s.moving
	m.nowhere = &Partition{ID: noPartition, due: Never}
	m.astray = make(map[uint32]error)
	m.gone = state.left
	if m.gone == nil {
		m.gone = make(map[uint32]uint64)
	}
	for id := range s.parts {
		s.parts[id] = m.nowhere
	}
	for table, stores := range s.stores {
		m.absent = append(m.absent, s.programs[table].NewStore())
		for id := range stores {
			stores[id] = m.absent[table]
		}
	}
	for _, p := range state.Partitions {
		s.place(p)
	}
}

// place makes p a partition of this shard.
func (s *Shard) place(p *Partition) {
	s.owned = append(s.owned, p)
	s.rebind(p)
	s.route(p)
	s.alarm.enroll(p)
	delete(s.moving.gone, p.ID)
	delete(s.moving.astray, p.ID)
}

func (s *Shard) rebind(p *Partition) {
	for table, store := range p.Stores {
		store.Rebind(s.programs[table])
	}
}

// route has operations find the partition.
func (s *Shard) route(p *Partition) {
	s.parts[p.ID] = p
	for table, store := range p.Stores {
		s.stores[table][p.ID] = store
	}
}

// unroute has operations find that the partition is not here.
func (s *Shard) unroute(p *Partition) {
	s.parts[p.ID] = s.moving.nowhere
	for table := range p.Stores {
		s.stores[table][p.ID] = s.moving.absent[table]
	}
}

// displace makes the partition no partition of this shard.
func (s *Shard) displace(p *Partition) {
	s.alarm.set(p, Never)
	s.owned = slices.DeleteFunc(s.owned, func(other *Partition) bool { return other == p })
	s.unroute(p)
}

// advanceMoves does what there is to do for partitions that leave and arrive.
func (s *Shard) advanceMoves() bool {
	m := &s.moving
	if m.out == nil && m.in == nil && m.next == nil && len(m.awaited) == 0 {
		return false
	}
	defer s.meter.stop(jobMove, s.meter.start())
	busy := false
	if m.out != nil && s.consumed(m.out.cut) {
		s.handOver()
		busy = true
	}
	if m.loading != nil {
		busy = s.loadSome() || busy
	}
	if m.in != nil && m.expects {
		busy = s.receive() || busy
	}
	if len(m.awaited) > 0 {
		busy = s.tellAwaited() || busy
	}
	if next := m.next; next != nil && (s.round.phase != roundWanted || s.life.hurried.Load()) { // then none begins
		m.next = nil
		next()
		m.visited, busy = true, true
	}
	s.letMoverGo()
	return busy
}

// letMoverGo yields to whoever moves partitions, if that can go on. It was made ready by
// this goroutine, and would else wait on this processor until the shard has nothing to do:
// up to 10 ms for each step, when all processors are busy.
func (s *Shard) letMoverGo() {
	if s.moving.visited {
		if s.moving.visited = false; s.yields() > 0 {
			runtime.Gosched()
		}
	}
}

// consumed says that everything was carried out that was claimed in the inbox below a
// position.
func (s *Shard) consumed(cut uint64) bool {
	return s.inbox.Position() >= cut && (!s.run.cursor.more() || s.run.from >= cut)
}

// handOver gives the partitions to their new owner. From here on this log gets nothing of
// them, and answers for them until the new owner's has them.
func (s *Shard) handOver() {
	m := &s.moving
	t := m.out
	m.out = nil
	hand := &parcel{last: bundle{records: t.watch.records}, time: s.clock.mark}
	t.watch.records = nil
	for i := range t.passengers {
		p := s.parts[t.passengers[i].id]
		s.displace(p)
		s.unwatch(p)
		t.left = append(t.left, p.holding())
		hand.parts = append(hand.parts, p)
	}
	m.leaving = append(m.leaving, t)
	s.counters.movedOut += uint64(len(hand.parts))
	t.parcel.Store(hand)
	t.to.Wake()
}

// watch remembers the events of a partition from here on, until unwatch.
func (s *Shard) watch(p *Partition, w *watch) {
	p.watch = w
	s.moving.watched++
}

func (s *Shard) unwatch(p *Partition) {
	p.watch = nil
	s.moving.watched--
}

// strand tells the new owner that the old one has failed, and has the partition.
func (t *Transit) strand(err error) {
	t.lost.Store(&err)
	t.to.Wake()
}

// receive adopts the partitions when they have come.
func (s *Shard) receive() bool {
	t := s.moving.in
	switch lost, p := t.lost.Load(), t.parcel.Load(); {
	case s.failed():
		s.forgo(t, s.Err())
	case lost != nil:
		s.forgo(t, *lost)
	case s.moving.stuck != nil && s.moving.relents.Load():
		s.forgo(t, s.moving.stuck)
	case p == nil:
		return false
	case s.moving.arrived != nil:
		s.settleIn(t, p)
	default:
		return s.adopt(t, p)
	}
	return true
}

// forgo ends the wait for partitions that will not be adopted: their events are refused.
func (s *Shard) forgo(t *Transit, err error) {
	m := &s.moving
	s.applyRest()
	m.in, m.expects, m.stuck, m.arrived = nil, false, nil, nil
	for _, p := range t.passengers {
		m.astray[p.id] = err
	}
	t.settle(err)
	s.replayHeld(math.MaxInt)
}

// adopt makes the partitions those of this shard: its log gets what came since the copy,
// then the commits; then what was held back is carried out, and what comes from now on.
// So the log has all of a partition before anything depends on it, and acks wait for
// it as for any frame. It says whether that went any further.
func (s *Shard) adopt(t *Transit, p *parcel) bool {
	m := &s.moving
	s.applyRest() // what is held back is whole blocks
	s.clock.mark = max(s.clock.mark, p.time)
	stuck := m.stuck
	over, err := s.logCommit(t, p)
	if m.stuck = err; err != nil {
		if stuck == nil {
			s.replayHeld(math.MaxInt) // and refuses it
		}
		return stuck == nil
	}
	if !over {
		return true
	}
	for i, part := range p.parts {
		part.Epoch = t.passengers[i].epoch
		s.rebind(part)
	}
	m.arrived, p.commit, m.held.came = p.parts, s.log.openOrdinal(), 0
	s.counters.movedIn += uint64(len(p.parts))
	s.force()
	s.settleIn(t, p)
	return true
}

// settleIn carries out some of what was held back of partitions that have arrived: more
// than what came since it last did, so that this ends. When nothing is left they are here
// like all others. Until then the move is under way, and no round begins.
func (s *Shard) settleIn(t *Transit, p *parcel) {
	m := &s.moving
	s.applyRest()
	if s.replayHeld(t.paces.held + 2*m.held.came); m.held.any() {
		return
	}
	m.in, m.expects, m.arrived = nil, false, nil
	for _, part := range p.parts {
		s.place(part)
	}
	s.await(p.commit, t.settle)
}

// logCommit ends the adoption in the log, some of it in each turn; over says that all of
// it is there. Without room for it, it goes on where it was when it is called again. A
// crash that keeps some of the commits leaves the others with the old owner: nothing was
// acknowledged here.
func (s *Shard) logCommit(t *Transit, p *parcel) (over bool, err error) {
	if err := s.logBundle(&p.last, t.paces.part); err != nil || len(p.last.records) > 0 {
		return false, err
	}
	for ; p.committed < len(p.parts); p.committed++ {
		part := p.parts[p.committed]
		h := holding{epoch: t.passengers[p.committed].epoch, sequence: part.Sequence}
		raw := appendHolding(nil, commitTable, part.ID, h)
		if err := s.reserve(len(raw)); err != nil {
			return false, err
		}
		s.log.append(s.log.time, raw)
	}
	return true, nil
}

// logBundle logs the next records of a bundle, which it shortens, until they are limit
// bytes.
func (s *Shard) logBundle(b *bundle, limit int) error {
	var rec record
	for least := len(b.records) - limit; len(b.records) > max(0, least); {
		rest, err := takeRecord(b.records, &rec)
		if err != nil {
			return err
		}
		raw := b.records[:len(b.records)-len(rest)]
		if rec.table == timeMarkTable {
			b.now = rec.time()
		} else if err := s.reserve(len(raw)); err != nil {
			return err
		} else if rec.table < controlTables {
			s.log.append(b.now, raw)
		} else {
			s.log.append(s.log.time, raw)
		}
		b.records = rest
	}
	return nil
}

// await calls done when the log is durable up to a frame, or has failed.
func (s *Shard) await(ordinal uint64, done func(error)) {
	s.moving.awaited = append(s.moving.awaited, awaited{ordinal, done})
}

func (s *Shard) tellAwaited() bool {
	m := &s.moving
	before := len(m.awaited)
	m.awaited = slices.DeleteFunc(m.awaited, func(a awaited) bool {
		if !s.failed() && s.log.durable < a.ordinal {
			return false
		}
		a.done(s.Err())
		m.visited = true
		return true
	})
	return len(m.awaited) < before
}

// departed says whether all partitions that left before were adopted elsewhere, so that
// this log need not answer for them any more. An error says that one never will be.
func (s *Shard) departed(transits []*Transit) (all bool, err error) {
	all = true
	for _, t := range transits {
		switch t.fate.Load() {
		case fateOpen:
			all = false
		case fateLost:
			return false, fmt.Errorf("shard: partition %d left for shard %d, which failed before it was safe there", t.passengers[0].id, t.to.cfg.Index)
		}
	}
	return all, nil
}

// forget takes the partitions that were adopted elsewhere off the list.
func (m *moving) forget(here func(id uint32) bool) {
	m.leaving = slices.DeleteFunc(m.leaving, func(t *Transit) bool {
		if t.fate.Load() != fateAdopted {
			return false
		}
		for _, p := range t.passengers {
			if !here(p.id) {
				m.gone[p.id] = max(m.gone[p.id], p.epoch)
			}
		}
		return true
	})
}

// failMoves strands the partitions that were to be handed over.
func (s *Shard) failMoves(err error) {
	if t := s.moving.out; t != nil {
		s.moving.out = nil
		t.strand(err)
	}
}

// over says that nobody waits for this shard because of a move.
func (m *moving) over() bool {
	return len(m.awaited) == 0 && !m.expects && m.next == nil && m.loading == nil
}

var errMisplaced = errors.New("an operation came to a shard that does not have its partition")

// awayError is why an operation on a partition that is not here is refused.
func (s *Shard) awayError(id uint32) error {
	m := &s.moving
	switch {
	case s.failed():
		return s.failure.Load()
	case m.stuck != nil && m.in != nil && m.in.carries(id):
		return m.stuck
	case m.astray[id] != nil:
		return m.astray[id]
	}
	s.fail(fmt.Errorf("%w: partition %d", errMisplaced, id))
	return s.failure.Load()
}
