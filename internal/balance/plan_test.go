package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const rounding = 1e-9

// exact makes plans as long as anything can be gained.
var exact = Limits{Moves: 1 << 20}

// drawn is an input with random loads: some partitions are hot, most are not.
func drawn(t *rapid.T) Input {
	shards := rapid.IntRange(1, 6).Draw(t, "shards")
	in := Input{Shards: make([]float64, shards)}
	for i := range shards {
		in.Shards[i] = rapid.Float64Range(0, 0.1).Draw(t, "other work")
	}
	for i := range shards + rapid.IntRange(0, 40).Draw(t, "partitions") {
		owner := i
		if i >= shards { // every shard has one
			owner = rapid.IntRange(0, shards-1).Draw(t, "owner")
		}
		load := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 0.01), rapid.Float64Range(0, 1)).Draw(t, "load")
		in.Owners = append(in.Owners, uint16(owner))
		in.Loads = append(in.Loads, load)
		in.Bytes = append(in.Bytes, rapid.IntRange(0, 1000).Draw(t, "bytes"))
		in.Held = append(in.Held, rapid.IntRange(0, 5).Draw(t, "held") == 0)
		in.Shards[owner] += load
	}
	return in
}

// apply makes the moves of a plan.
func apply(in Input, plan Plan) Input {
	in.Owners, in.Shards = slices.Clone(in.Owners), slices.Clone(in.Shards)
	for _, m := range plan.Moves {
		in.Owners[m.Partition] = uint16(m.To)
		in.Shards[m.From] -= in.Loads[m.Partition]
		in.Shards[m.To] += in.Loads[m.Partition]
	}
	return in
}

func excess(shards []float64) (e float64) {
	mean := 0.0
	for _, s := range shards {
		mean += s / float64(len(shards))
	}
	for _, s := range shards {
		e += max(0, s-mean)
	}
	return e
}

// Goal: a plan does what it says, keeps its limits and never makes anything worse.
func TestPlansNeverMakeItWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		limits := Limits{
			Busy: rapid.Float64Range(0, 1).Draw(t, "busy"), Start: rapid.Float64Range(0, 1).Draw(t, "start"),
			Stop: rapid.Float64Range(0, 0.2).Draw(t, "stop"), Gain: rapid.Float64Range(0, 0.5).Draw(t, "gain"),
			Moves: rapid.IntRange(0, 10).Draw(t, "moves"), Bytes: rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 3000)).Draw(t, "bytes max"),
		}
		plan := Make(in, limits)
		after := apply(in, plan)
		checkMoves(t, in, plan, limits)
		if before, now := slices.Max(in.Shards), slices.Max(after.Shards); plan.Before != before ||
			plan.After > before+rounding || now > plan.After+rounding || now < plan.After-rounding {
			t.Fatalf("the busiest shard: %v before and %v after, and the plan says %v and %v", before, now, plan.Before, plan.After)
		}
		least := rounding
		if len(plan.Moves) < limits.Moves && limits.Bytes == 0 {
			least = limits.Gain * mean(in.Shards)
		}
		if fell := excess(in.Shards) - excess(after.Shards); len(plan.Moves) > 0 && fell < least-rounding {
			t.Fatalf("%d moves take away %v of excess", len(plan.Moves), fell)
		}
	})
}

func mean(all []float64) (m float64) {
	for _, x := range all {
		m += x / float64(len(all))
	}
	return m
}

func checkMoves(t *rapid.T, in Input, plan Plan, limits Limits) {
	if len(plan.Moves) > limits.Moves {
		t.Fatalf("%d moves, of at most %d", len(plan.Moves), limits.Moves)
	}
	seen, bytes := map[uint32]bool{}, 0
	for i, m := range plan.Moves {
		if seen[m.Partition] || in.Held[m.Partition] || m.From == m.To || int(in.Owners[m.Partition]) != m.From || m.Load != in.Loads[m.Partition] {
			t.Fatalf("move %+v of a partition of shard %d, held: %v, moved before: %v", m, in.Owners[m.Partition], in.Held[m.Partition], seen[m.Partition])
		}
		seen[m.Partition] = true
		if bytes += in.Bytes[m.Partition]; i > 0 && bytes > limits.Bytes && limits.Bytes > 0 {
			t.Fatalf("%d bytes are moved, of at most %d", bytes, limits.Bytes)
		}
	}
}

// Goal: plan after plan comes to an end, and there the busiest shard is above the mean
// by no more than its smallest partition.
func TestPlansConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		in.Held = nil
		limits := exact
		limits.Moves = rapid.IntRange(1, 5).Draw(t, "moves")
		for rounds := 0; ; rounds++ {
			plan := Make(in, limits)
			if len(plan.Moves) == 0 {
				break
			}
			if in = apply(in, plan); rounds > 10*len(in.Owners) {
				t.Fatalf("after %d plans there is still one: %+v", rounds, plan)
			}
		}
		busiest := slices.Index(in.Shards, slices.Max(in.Shards))
		smallest := 2.0
		for p, owner := range in.Owners {
			if int(owner) == busiest && in.Loads[p] > rounding {
				smallest = min(smallest, in.Loads[p])
			}
		}
		if over := in.Shards[busiest] - mean(in.Shards); over > smallest+1e-6 {
			t.Fatalf("the busiest shard is above the mean by %v, and its smallest partition has %v", over, smallest)
		}
	})
}

// Goal: a shard whose partitions were all taken away is left alone.
func TestAShardWithoutPartitionsGetsNone(t *testing.T) {
	in := Input{
		Owners: []uint16{0, 0, 0, 2}, Loads: []float64{0.4, 0.3, 0.2, 0.1},
		Shards: []float64{0.9, 0, 0.1},
	}
	plan := Make(in, Limits{Busy: busyMin, Start: startMin, Stop: stopAt, Gain: gainMin, Moves: 10})
	if len(plan.Moves) != 1 || plan.Moves[0].To != 2 || plan.Moves[0].Partition != 0 {
		t.Errorf("the plan is %+v", plan)
	}
}

func TestAPartitionThatIsTooHotForAShardIsReported(t *testing.T) {
	in := Input{
		Owners: []uint16{0, 0, 1, 1}, Loads: []float64{0.9, 0.02, 0.05, 0.05},
		Shards: []float64{0.92, 0.1},
	}
	limits := Limits{Busy: busyMin, Start: startMin, Stop: stopAt, Gain: gainMin, Moves: 10}
	plan := Make(in, limits)
	if len(plan.Moves) != 0 || plan.Stuck.Partition != 0 || plan.Stuck.Load != 0.9 {
		t.Errorf("the plan is %+v: there is nothing to gain, and partition 0 is why", plan)
	}
	in.Loads, in.Shards = []float64{0.5, 0.42, 0.05, 0.05}, []float64{0.92, 0.1}
	if plan := Make(in, limits); len(plan.Moves) != 1 || plan.Stuck.Load != 0 {
		t.Errorf("the plan is %+v: one of two hot partitions can move", plan)
	}
}

// BenchmarkMake plans for 4,096 partitions of which eight are hot, on one of two shards.
// The rival deals all partitions anew, the largest first to the shard that has least,
// which is what comes to mind; moves is how many each wants, busiest what the busiest
// shard would have then.
func BenchmarkMake(b *testing.B) {
	in := Input{Shards: make([]float64, 2)}
	for p := range 4096 {
		load := 0.00005 + 0.00005*rand.Float64()
		if p < 16 && p%2 == 0 {
			load = 0.1
		}
		in.Owners, in.Loads = append(in.Owners, uint16(p%2)), append(in.Loads, load)
		in.Shards[p%2] += load
	}
	limits := Limits{Busy: busyMin, Start: startMin, Stop: stopAt, Gain: gainMin, Moves: movesPerSecond}
	for name, way := range map[string]func() []Move{
		"plan": func() []Move { return Make(in, limits).Moves },
		"deal": func() []Move { return deal(in) },
	} {
		b.Run(fmt.Sprintf("partitions=4096/way=%s", name), func(b *testing.B) {
			var moves []Move
			for range b.N {
				moves = way()
			}
			busiest := slices.Max(apply(in, Plan{Moves: moves}).Shards)
			if busiest > 1.1*mean(in.Shards) {
				b.Fatalf("the busiest shard has %v", busiest)
			}
			b.ReportMetric(float64(len(moves)), "moves")
			b.ReportMetric(busiest, "busiest")
		})
	}
}

func deal(in Input) (moves []Move) {
	order := make([]int, len(in.Owners))
	for p := range order {
		order[p] = p
	}
	slices.SortFunc(order, func(a, b int) int {
		if in.Loads[a] > in.Loads[b] {
			return -1
		}
		return 1
	})
	shards := make([]float64, len(in.Shards))
	for _, p := range order {
		to := slices.Index(shards, slices.Min(shards))
		shards[to] += in.Loads[p]
		if from := int(in.Owners[p]); from != to {
			moves = append(moves, Move{Partition: uint32(p), From: from, To: to, Load: in.Loads[p]})
		}
	}
	return moves
}
