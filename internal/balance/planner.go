package balance

import (
	"math"
	"slices"
	"time"
)

// The limits of every Planner. TestPlannerStaysCalmUnderNoise and
// TestHotPartitionsAreSpread hold what they are for.
const (
	busyMin  = 0.5
	startMin = 0.2
	stopAt   = 0.05
	gainMin  = 0.1
	latest   = 0.5 // weight of the latest window in a load, if it is as long as window
	jump     = 0.2 // a shard whose load differs by as much from what it was has another load

	// window is the time between two samples. After a jump it is short, until two short
	// ones agree: but not more than shortsMax times, as a load that never settles must not
	// be looked at all the time.
	window    = 500 * time.Millisecond
	short     = 100 * time.Millisecond
	shortsMax = 8

	// holdFor is how long a partition stays where it was moved to, or could not be moved
	// from.
	holdFor = 10 * time.Second
	// movesPerSecond and bytesPerSecond are the budget. What is not used gathers for a
	// second.
	movesPerSecond = 16
	bytesPerSecond = 256 << 20
)

// A Sample is what the counters say at one moment.
type Sample struct {
	At     time.Duration   // since whenever
	Owners []uint16        // by partition
	Events []uint64        // by partition: so many were applied
	Bytes  []int           // by partition; nil: nothing is known
	Work   []time.Duration // by shard: what it has spent on events
	Busy   []time.Duration // by shard: what it has spent on whatever it does
}

// A Planner makes plans of samples. It must be used by one goroutine at a time. The zero
// Planner is ready to use.
type Planner struct {
	last   Sample
	loads  []float64 // by partition, smoothed
	shards []float64
	rests  []time.Duration // by partition: it must not move before
	active bool            // the last plan had moves: the next one goes on
	phase  phase
	shorts int // short windows in a row
	budget budget
}

// A phase says what is known of the loads.
type phase uint8

const (
	steady phase = iota // they are as they were
	jumped              // they have changed within the last window, which shows some of both
	begun               // the last window has shown the new ones, and another one must agree
)

// Next is how long to wait for the next sample.
func (p *Planner) Next() time.Duration {
	if p.phase != steady && p.shorts < shortsMax {
		return short
	}
	return window
}

// budget is what may still be spent on moves.
type budget struct{ moves, bytes float64 }

// Plan takes the next sample, whose slices it keeps, and says what should move now. The
// first sample makes no plan; nor does one that comes with another number of partitions
// or shards than the last.
func (p *Planner) Plan(s Sample) Plan {
	seconds := (s.At - p.last.At).Seconds()
	if !p.follows(s) || seconds <= 0 {
		*p = Planner{last: s, rests: make([]time.Duration, len(s.Owners)), budget: budget{movesPerSecond, bytesPerSecond}}
		p.loads, p.shards = make([]float64, len(s.Owners)), make([]float64, len(s.Busy))
		return Plan{}
	}
	settled := p.measure(s, seconds)
	p.last = s
	p.budget.moves = min(p.budget.moves+movesPerSecond*seconds, movesPerSecond)
	p.budget.bytes = min(p.budget.bytes+bytesPerSecond*seconds, bytesPerSecond)
	if !settled {
		return Plan{}
	}
	plan := Make(Input{Owners: s.Owners, Loads: p.loads, Bytes: s.Bytes, Shards: p.shards, Held: p.held(s.At)}, p.limits())
	p.active = len(plan.Moves) > 0
	return plan
}

// follows says whether a sample can be compared with the last one.
func (p *Planner) follows(s Sample) bool {
	return len(p.last.Owners) == len(s.Owners) && len(p.last.Busy) == len(s.Busy)
}

// measure makes loads of what came since the last sample. An event of a partition counts
// as much as every other of its shard. It says whether the loads are such as before: after
// a jump they begin anew with the next window, and it takes another one to believe them.
func (p *Planner) measure(s Sample, seconds float64) (settled bool) {
	shards := make([]float64, len(s.Busy))
	jumps := false
	for i := range shards {
		shards[i] = share(s.Busy[i]-p.last.Busy[i], seconds)
		jumps = jumps || math.Abs(shards[i]-p.shards[i]) >= jump
	}
	weight := p.follow(jumps, seconds)
	events := make([]float64, len(s.Busy))
	for i, owner := range s.Owners {
		events[owner] += float64(s.Events[i] - p.last.Events[i])
	}
	for i, owner := range s.Owners {
		load := 0.0
		if n := float64(s.Events[i] - p.last.Events[i]); n > 0 {
			load = n / events[owner] * share(s.Work[owner]-p.last.Work[owner], seconds)
		}
		p.loads[i] += weight * (load - p.loads[i])
	}
	for i := range shards {
		p.shards[i] += weight * (shards[i] - p.shards[i])
	}
	return p.phase == steady
}

// follow goes on to the next phase, and returns what the window weighs in the loads.
func (p *Planner) follow(jumps bool, seconds float64) (weight float64) {
	if p.Next() == short {
		p.shorts++
	}
	switch {
	case p.phase == jumped:
		p.phase = begun
		return 1
	case jumps:
		p.phase = jumped
		return 1
	case p.phase == begun:
		p.phase, p.shorts = steady, 0
		return latest
	}
	return 1 - math.Pow(1-latest, seconds/window.Seconds())
}

// share is a time as a share of a window. It is an estimate, and may say more than all.
func share(d time.Duration, seconds float64) float64 {
	return min(max(0, d.Seconds()/seconds), 1)
}

func (p *Planner) held(now time.Duration) []bool {
	held := make([]bool, len(p.rests))
	for i, until := range p.rests {
		held[i] = until > now
	}
	return held
}

func (p *Planner) limits() Limits {
	limits := Limits{
		Busy: busyMin, Start: startMin, Stop: stopAt, Gain: gainMin,
		Moves: int(p.budget.moves), Bytes: max(1, int(p.budget.bytes)),
	}
	if p.active {
		limits.Start = stopAt
	}
	return limits
}

// Refused tells that a move of the last plan could not be made. It is not planned again
// for a while.
func (p *Planner) Refused(m Move) { p.rests[m.Partition] = p.last.At + holdFor }

// Moved tells that a move of the last plan was made: it is paid for, and the partition
// stays where it is for a while. What the move took along of the load is known before
// the next sample.
func (p *Planner) Moved(m Move) {
	p.rests[m.Partition] = p.last.At + holdFor
	p.budget.moves--
	if p.last.Bytes != nil {
		p.budget.bytes -= float64(p.last.Bytes[m.Partition])
	}
	p.shards[m.From] -= m.Load
	p.shards[m.To] += m.Load
	p.last.Owners = slices.Clone(p.last.Owners)
	p.last.Owners[m.Partition] = uint16(m.To)
}
