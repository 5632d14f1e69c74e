package balance

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var seed = flag.Uint64("balance.seed", 0, "seed of the random tests; 0: a new one each time")

// newRandom logs how to repeat the test.
func newRandom(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with: go test ./internal/balance -run '^%s$' -balance.seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 1))
}

// capacity is how many events a simulated shard applies in a second.
const capacity = 1e6

// A world is shards with partitions under load, in a time of its own. A shard that is
// asked for more than it can do does its best, and everybody who asks gets the same part.
type world struct {
	*rand.Rand
	demand []float64 // by partition: events a second
	noise  float64   // by how much the demand of a window differs, at most
	now    Sample
	served float64 // events of the last window
	moves  []moved
	auto   bool
	Planner
}

type moved struct {
	Move
	at time.Duration
}

func newWorld(r *rand.Rand, shards int, demand []float64, owner func(p int) int) *world {
	w := &world{Rand: r, demand: demand, auto: true}
	w.now = Sample{Events: make([]uint64, len(demand)), Bytes: make([]int, len(demand))}
	w.now.Work, w.now.Busy = make([]time.Duration, shards), make([]time.Duration, shards)
	for p := range demand {
		w.now.Owners = append(w.now.Owners, uint16(owner(p)))
		w.now.Bytes[p] = 1 << 20
	}
	w.Plan(w.sample())
	return w
}

// sample is a copy, as the planner keeps what it gets.
func (w *world) sample() Sample {
	s := w.now
	s.Owners, s.Events, s.Bytes = slices.Clone(s.Owners), slices.Clone(s.Events), slices.Clone(s.Bytes)
	s.Work, s.Busy = slices.Clone(s.Work), slices.Clone(s.Busy)
	return s
}

// pass lets a window go by, as long as the planner wants it, and makes the moves of the
// plan.
func (w *world) pass() Plan {
	window := w.Next()
	asked := make([]float64, len(w.now.Busy))
	want := make([]float64, len(w.demand))
	for p, d := range w.demand {
		want[p] = d * window.Seconds() * (1 + w.noise*(2*w.Float64()-1))
		asked[w.now.Owners[p]] += want[p]
	}
	w.served = 0
	limit := capacity * window.Seconds()
	for p := range want {
		part := min(1, limit/asked[w.now.Owners[p]])
		w.now.Events[p] += uint64(want[p] * part)
		w.served += want[p] * part
	}
	for i := range asked {
		busy := time.Duration(min(1, asked[i]/limit) * float64(window))
		w.now.Work[i] += busy
		w.now.Busy[i] += busy
	}
	w.now.At += window
	plan := w.Plan(w.sample())
	for _, m := range plan.Moves {
		if w.auto {
			w.now.Owners[m.Partition] = uint16(m.To)
			w.moves = append(w.moves, moved{m, w.now.At})
			w.Moved(m)
		}
	}
	return plan
}

// even is a demand of so much, in all, over n partitions.
func even(n int, all float64) []float64 { return slices.Repeat([]float64{all / float64(n)}, n) }

// Goal: eight hot partitions that turn up on one of two shards are spread within a second,
// whenever that is between two samples, by as many moves as it needs and no more.
func TestHotPartitionsAreSpread(t *testing.T) {
	demand := even(64, 0.2*capacity)
	w := newWorld(newRandom(t), 2, demand, func(p int) int { return p % 2 })
	w.noise = 0.1
	for range 10 {
		w.pass()
	}
	if len(w.moves) > 0 {
		t.Fatalf("moves before the shift: %v", w.moves)
	}
	part := w.Float64() // of the window that goes by before the shift
	for p := range 8 {
		demand[2*p] += 0.25 * capacity * (1 - part)
	}
	shift := w.now.At + time.Duration(part*float64(window))
	w.pass()
	for p := range 8 {
		demand[2*p] += 0.25 * capacity * part
	}
	for w.now.At < shift+time.Second-short {
		w.pass()
	}
	before := w.now.At
	w.pass()
	if all := 2.0 * capacity * (w.now.At - before).Seconds(); w.served < 0.95*all {
		t.Errorf("a second after the shift, at %.2f of a window, the shards do %.2f of what they can", part, w.served/all)
	}
	if len(w.moves) < 4 || len(w.moves) > 6 {
		t.Errorf("%d moves, four are enough: %v", len(w.moves), w.moves)
	}
}

// Goal: noise moves nothing that is in balance; and what was moved because of a load that
// lasts is not moved again.
func TestPlannerStaysCalmUnderNoise(t *testing.T) {
	r := newRandom(t)
	w := newWorld(r, 4, even(64, 3.2*capacity), func(p int) int { return p % 4 })
	w.noise = 0.3
	for range 2000 {
		w.pass()
	}
	if len(w.moves) > 0 {
		t.Errorf("%d moves for nothing but noise: %v", len(w.moves), w.moves)
	}
	demand := make([]float64, 128)
	for p := range demand {
		demand[p] = 3.2 * capacity / 128 * 2 * r.Float64()
	}
	w = newWorld(r, 4, demand, func(p int) int { return min(p%6, 3) })
	w.noise = 0.3
	for range 2000 {
		w.pass()
	}
	seen := map[uint32]int{}
	for _, m := range w.moves {
		if seen[m.Partition]++; seen[m.Partition] > 1 {
			t.Fatalf("partition %d moves again and again: %v", m.Partition, w.moves)
		}
	}
	late := slices.DeleteFunc(slices.Clone(w.moves), func(m moved) bool { return m.at < 20*time.Second })
	if len(late) > 4 {
		t.Errorf("of %d moves %d come after the first 20 s: %v", len(w.moves), len(late), late)
	}
	if busiest := slices.Max(w.shards); len(w.moves) == 0 || busiest > 1.3*mean(w.shards) {
		t.Errorf("after %d moves the loads are %v", len(w.moves), w.shards)
	}
}

// Goal: partitions that are small beside a shard are spread too, a budget at a time.
func TestTheBudgetIsKept(t *testing.T) {
	w := newWorld(newRandom(t), 4, even(1024, 3*capacity), func(p int) int { return max(0, p-1020) })
	for range 200 {
		w.pass()
	}
	for i, m := range w.moves {
		if i < 5*movesPerSecond { // a second's worth may have gathered
			continue
		}
		if took := m.at - w.moves[i-5*movesPerSecond].at; took < 4*time.Second-window {
			t.Fatalf("%d moves within %v", 5*movesPerSecond, took)
		}
	}
	if busiest := slices.Max(w.shards); busiest > 1.3*mean(w.shards) {
		t.Errorf("after %d moves the loads are %v", len(w.moves), w.shards)
	}
}

// Goal: a load that jumps from partition to partition moves none back at once.
func TestWhatHasMovedStaysForAWhile(t *testing.T) {
	r := newRandom(t)
	demand := make([]float64, 6)
	w := newWorld(r, 2, demand, func(p int) int { return p % 2 })
	for i := range 2000 {
		if i%5 == 0 {
			for p := range demand {
				demand[p] = 0.05 * capacity
			}
			demand[r.IntN(6)] += 0.4 * capacity
			demand[r.IntN(6)] += 0.4 * capacity
		}
		w.pass()
	}
	last := map[uint32]time.Duration{}
	for _, m := range w.moves {
		if before, again := last[m.Partition]; again && m.at-before < holdFor {
			t.Errorf("partition %d moves at %v and at %v", m.Partition, before, m.at)
		}
		last[m.Partition] = m.at
	}
	if len(w.moves) < 20 {
		t.Errorf("only %d moves", len(w.moves))
	}
}

func TestASmallImbalanceIsLeftAlone(t *testing.T) {
	demand := even(12, 1.2*capacity) // 0.7 on one shard, 0.5 on the other
	w := newWorld(newRandom(t), 2, demand, func(p int) int { return min(p/7, 1) })
	for range 20 {
		w.pass()
	}
	if len(w.moves) > 0 {
		t.Errorf("moves: %v", w.moves)
	}
}

// Goal: who only asks is told the same again, as long as nothing is done about it.
func TestAdviceStandsUntilItIsFollowed(t *testing.T) {
	w := newWorld(newRandom(t), 2, even(16, 1.2*capacity), func(p int) int { return max(0, p-14) })
	w.auto = false
	w.pass() // a jump, from nothing
	w.pass()
	first := w.pass()
	for range 50 {
		if plan := w.pass(); len(plan.Moves) == 0 || plan.Before != first.Before || plan.After != first.After {
			t.Fatalf("the advice was %+v, and is %+v", first, plan)
		}
	}
}

// Goal: a load that jumps all the time is looked at no oftener than one that does not.
func TestALoadThatNeverSettlesIsLeftInPeace(t *testing.T) {
	demand := even(4, 0.1*capacity)
	w := newWorld(newRandom(t), 2, demand, func(p int) int { return p % 2 })
	for i := range 100 {
		demand[i%2], demand[(i+1)%2] = 0.9*capacity, 0.1*capacity
		w.pass()
	}
	if least := (100 - shortsMax) * window; w.now.At < least || len(w.moves) > 0 {
		t.Errorf("100 looks within %v, %d moves", w.now.At, len(w.moves))
	}
	for range 10 {
		w.pass()
	}
	if w.Next() != window || w.shorts != 0 {
		t.Errorf("a load that has settled is looked at every %v", w.Next())
	}
}
