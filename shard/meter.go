package shard

import (
	"math"
	"time"

	"github.com/keyfold/keyfold/internal/histogram"
	"github.com/keyfold/keyfold/internal/hotkeys"
)

// A job is what the shard goroutine spends time on.
type job uint8

const (
	jobApply    job = iota // events: sources polled, runs touched and applied, callers told
	jobLog                 // frames written, acks given after a sync
	jobSnapshot            // partitions copied for a snapshot
	jobMove                // partitions given away and taken
	jobView                // control messages: whole tables and figures
	jobs
)

const (
	// turnsMeasured is one of how many turns is measured, on average. That it is never
	// the same number keeps the measured turns from falling in step with what happens
	// every so many turns.
	turnsMeasured = 64
	// longTurn is a turn beside which measuring costs nothing: after one the next is
	// measured, too, because there are few of them.
	longTurn = 200 * time.Microsecond
	// delayEvery is how often the delay of the inbox is measured.
	delayEvery = time.Millisecond
	// sampledMax is about how many operations of a measured run are counted by key.
	sampledMax = 4
	// hotCounters is how many keys have a counter, hotShown how many of them are shown.
	// No share is wrong by more than 1/hotCounters, but for the sampling.
	hotCounters = 128
	hotShown    = 16
	// hotHalfLife is the age at which an event counts half.
	hotHalfLife = 10 * time.Second
)

// A meter measures what its shard does, so that the hot path pays nothing that can be
// measured (BenchmarkRun; loadgen limit): what happens for each event is measured in one
// turn of turnsMeasured, and counts as many times; what happens now and then is timed
// each time. It belongs to the shard goroutine.
type meter struct {
	clock     func() time.Duration // since whenever
	busy      [jobs]time.Duration
	tables    []uint64      // operations of each
	timed     time.Duration // all that stopwatches have counted
	measuring bool          // this turn
	turn      stopwatch     // its measured part
	stands    time.Duration // for how many turns it stands
	skip      int           // turns before the next measured one
	random    uint64

	syncs  histogram.Histogram // of the sync lane
	delays histogram.Histogram
	probe  probe
	hot    *hotkeys.Sketch
	faded  time.Duration // when hot last was
}

// A probe finds out how long the inbox is, in time: it remembers where its end was, and
// when the shard has come that far.
type probe struct {
	out   bool
	since time.Duration
	end   uint64 // position in the inbox
}

func newMeter(tables int) meter {
	began := time.Now()
	return meter{
		clock:  func() time.Duration { return time.Since(began) },
		tables: make([]uint64, tables),
		hot:    hotkeys.New(hotCounters), random: 1, stands: turnsMeasured, skip: turnsMeasured,
	}
}

// stats is what the shard has spent its time on.
func (m *meter) stats() BusyStats {
	return BusyStats{Apply: m.busy[jobApply], Log: m.busy[jobLog], Snapshot: m.busy[jobSnapshot], View: m.busy[jobView], Move: m.busy[jobMove]}
}

// next returns a random number below n. It is not a good one, and need not be.
func (m *meter) next(n uint64) int {
	m.random ^= m.random << 13
	m.random ^= m.random >> 7
	m.random ^= m.random << 17
	return int(m.random % n)
}

// beginMeasure begins the part of a turn that carries out operations, and decides whether it is
// measured.
func (s *Shard) beginMeasure() {
	if s.meter.skip--; s.meter.skip <= 0 {
		s.startMeasure()
	}
}

func (s *Shard) startMeasure() {
	m := &s.meter
	m.measuring = true
	m.turn = m.start()
	if p := &m.probe; !p.out && m.turn.began-p.since >= delayEvery {
		p.since, p.end = m.turn.began, s.inbox.End()
		p.out = p.end != s.inbox.Position()
	}
}

// endMeasure ends what beginMeasure began. worked says that there were operations.
func (s *Shard) endMeasure(worked bool) {
	m := &s.meter
	if p := &m.probe; p.out && s.inbox.Position() >= p.end {
		p.out = false
		m.delays.Add(m.clock() - p.since)
	}
	if !m.measuring {
		return
	}
	m.measuring = false
	if worked {
		took := m.lap(m.turn)
		m.busy[jobApply] += m.stands * took
		if m.stands = 1; took < longTurn {
			m.stands = turnsMeasured
		}
	}
	if m.skip = 1; m.stands > 1 {
		m.skip = turnsMeasured/2 + m.next(turnsMeasured+1)
	}
}

// A stopwatch times one job. Within it others may be timed, and are not counted twice.
type stopwatch struct{ began, timed time.Duration }

func (m *meter) start() stopwatch { return stopwatch{m.clock(), m.timed} }

// lap returns how long a stopwatch runs, without what was counted for other jobs since.
func (m *meter) lap(w stopwatch) time.Duration { return m.clock() - w.began - (m.timed - w.timed) }

// stop counts what a stopwatch shows for a job.
func (m *meter) stop(on job, w stopwatch) {
	d := m.lap(w)
	m.busy[on] += d
	m.timed += d
}

// countTables counts the operations of a run that was carried out by their tables.
func (s *Shard) countTables() {
	r, tables := &s.run, s.meter.tables
	if len(tables) == 1 {
		tables[0] += uint64(r.Filled)
		return
	}
	for from := 0; from < r.Filled; {
		to := r.sameTable(from, r.Filled)
		tables[r.Ops[from].Table] += uint64(to - from)
		from = to
	}
}

// countsKeys says whether the keys of a run are counted: in one turn of turnsMeasured, also
// where every turn is measured because they are long. A long turn has many runs.
func (m *meter) countsKeys() bool {
	return m.measuring && (m.stands > 1 || m.next(turnsMeasured) == 0)
}

// countKeys counts some operations of a measured run by their keys, each for as many as
// it stands for.
func (s *Shard) countKeys() {
	m, r := &s.meter, &s.run
	if passed := m.turn.began - m.faded; passed >= hotHalfLife/16 {
		m.hot.Fade(math.Exp2(-passed.Seconds() / hotHalfLife.Seconds()))
		m.faded = m.turn.began
	}
	step := max(1, r.Filled/sampledMax)
	for i := m.next(uint64(step)); i < r.Filled; i += step {
		id := hotkeys.Identity{Hash: r.Ops[i].Hash, Table: r.Ops[i].Table}
		m.hot.Add(id, r.Ops[i].Key(), float64(step))
	}
}
