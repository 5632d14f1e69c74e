// Package balance decides which partitions should have another owner.
//
// [Make] is a pure function from loads to a plan. [Planner] makes loads of counters,
// window by window, and keeps the plans calm: it smooths, waits until an imbalance is
// worth a move, keeps what has moved where it is for a while, and stays within a budget.
//
// A load is a share of one goroutine's time: 0.5 is a shard that is busy half of the
// time. The measure of a plan is the excess: how much the shards above the mean are above
// it, in all. Every move of a plan makes it smaller, and none makes the busier of its two
// shards as busy as it was, so plans come to an end, and the busiest shard is never
// busier for one. A shard without partitions was given up, and gets none.
package balance

// Input is what is known of the loads.
type Input struct {
	Owners []uint16  // by partition: its shard
	Loads  []float64 // by partition
	Bytes  []int     // by partition: the memory that a move copies; nil: nothing is known
	Shards []float64 // by shard: all that it does, the loads of its partitions included
	Held   []bool    // by partition: it must stay; nil: none must
}

// Limits say when a plan is worth making, and how large it may be.
type Limits struct {
	Busy  float64 // there is no plan unless the busiest shard is as busy
	Start float64 // and above the mean by as much, as a share of the mean
	Stop  float64 // a plan goes on until the busiest is above the mean by no more
	Gain  float64 // so much excess must go away, as a share of the mean; or may, if the plan is cut short
	Moves int     // there are no more in a plan
	Bytes int     // nor does it copy more, but for its first move; 0: as much as it likes
}

// A Move gives a partition to another shard.
type Move struct {
	Partition uint32
	From, To  int
	Load      float64 // of the partition
}

// A Plan is what should move, and what that should do.
type Plan struct {
	Moves         []Move
	Before, After float64 // load of the busiest shard
	// Stuck is a partition that keeps its shard busy by itself: with it alone the shard
	// would be more than Limits.Start above the mean, so no move helps it. Its load is 0
	// if there is none.
	Stuck struct {
		Partition uint32
		Load      float64
	}
}

// Make makes a plan. It changes nothing of in.
func Make(in Input, limits Limits) Plan {
	d := draft{Input: in, limits: limits, moved: make(map[uint32]bool)}
	d.now = append(d.now, in.Shards...)
	count := d.countOwners()
	for i, load := range in.Shards {
		if d.owns[i] {
			d.mean += load / float64(count)
		}
	}
	busiest, _ := d.ends()
	plan := Plan{Before: in.Shards[busiest], After: in.Shards[busiest]}
	if count < 2 || plan.Before < limits.Busy || plan.Before <= d.mean*(1+limits.Start) {
		return plan
	}
	for d.step() {
	}
	need := limits.Gain * d.mean
	if d.gained >= need || d.cut && plan.Before-d.mean >= need {
		plan.Moves = d.moves
		busiest, _ = d.ends()
		plan.After = d.now[busiest]
	}
	d.findStuck(&plan)
	return plan
}

// draft is a plan in the making.
type draft struct {
	Input
	limits Limits
	owns   []bool // by shard: it has partitions
	mean   float64
	now    []float64 // Shards, after the moves
	moves  []Move
	moved  map[uint32]bool
	bytes  int
	cut    bool    // there would be more moves without the limits
	first  float64 // excess that the first move takes away
	gained float64 // and all of them
}

// worthwhile is what a move must gain, as a share of what the first of its plan gains: a
// few partitions that gain most, and not their small change.
const worthwhile = 0.1

// countOwners finds the shards that have partitions, and says how many there are.
func (d *draft) countOwners() (count int) {
	d.owns = make([]bool, len(d.Shards))
	for _, owner := range d.Owners {
		if !d.owns[owner] {
			d.owns[owner] = true
			count++
		}
	}
	return count
}

// ends returns the shards that do most and least, of those that have partitions.
func (d *draft) ends() (most, least int) {
	most, least = -1, -1
	for i, load := range d.now {
		if !d.owns[i] {
			continue
		}
		if most < 0 || load > d.now[most] {
			most = i
		}
		if least < 0 || load < d.now[least] {
			least = i
		}
	}
	return most, least
}

// step adds the move that takes away most excess from the busiest shard, and says
// whether there is one within the limits.
func (d *draft) step() bool {
	from, to := d.ends()
	if d.now[from] <= d.mean*(1+d.limits.Stop) {
		return false
	}
	if len(d.moves) == d.limits.Moves {
		d.cut = true
		return false
	}
	best, gain := -1, 0.0
	for p, owner := range d.Owners {
		if int(owner) != from || !d.movable(uint32(p)) {
			continue
		}
		if g := d.gain(from, to, d.Loads[p]); g > gain {
			best, gain = p, g
		}
	}
	if best < 0 {
		return false
	}
	if len(d.moves) == 0 {
		d.first = gain
	} else if gain < worthwhile*d.first {
		return false
	}
	load := d.Loads[best]
	d.now[from] -= load
	d.now[to] += load
	d.gained += gain
	d.moved[uint32(best)] = true
	if d.Bytes != nil {
		d.bytes += d.Bytes[best]
	}
	d.moves = append(d.moves, Move{Partition: uint32(best), From: from, To: to, Load: load})
	return true
}

func (d *draft) movable(p uint32) bool {
	if d.Loads[p] <= 0 || d.moved[p] || d.Held != nil && d.Held[p] {
		return false
	}
	if d.Bytes == nil || d.limits.Bytes == 0 || d.bytes+d.Bytes[p] <= d.limits.Bytes || len(d.moves) == 0 {
		return true
	}
	d.cut = true
	return false
}

// gain is the excess that a move of a load takes away; it is negative if the other shard
// would be as busy as this one was.
func (d *draft) gain(from, to int, load float64) float64 {
	above := func(x float64) float64 { return max(0, x-d.mean) }
	return above(d.now[from]) - above(d.now[from]-load) - above(d.now[to]+load)
}

// findStuck finds the largest partition, if it alone is more than a shard's fair part.
func (d *draft) findStuck(plan *Plan) {
	largest := 0
	for p, load := range d.Loads {
		if load > d.Loads[largest] {
			largest = p
		}
	}
	if load := d.Loads[largest]; load > d.mean*(1+d.limits.Start) && load >= d.limits.Busy {
		plan.Stuck.Partition, plan.Stuck.Load = uint32(largest), load
	}
}
