package shard

import (
	"testing"
	"time"
)

// slowly makes the estimate of a recovery a matter of small files: a byte takes a
// millisecond to load, and as long to replay.
func (r *rig) slowly() { r.rates = rates{load: 1000, replay: 1000} }

func TestRoundBeginsBeforeTheBudgetIsUsedUp(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Log.SnapshotBytes = 64 << 10
		c.Log.RecoveryBudget = 4 * time.Second
	})
	r.slowly()
	for n := 0; r.counters.snapshots == 0 && n < 1000; n++ {
		r.accept(adds("0a", 5)...)
		if r.counters.snapshots == 0 && r.log.bytes >= 4000 {
			t.Fatalf("no round, although %d bytes of log take %v", r.log.bytes, r.stats().RecoveryTime)
		}
		if n == 0 && r.counters.snapshots != 0 {
			t.Fatalf("a round at once, although a recovery takes %v", r.stats().RecoveryTime)
		}
	}
}

// Goal: what came during the last round is reckoned with for the next one. Method: take
// two rounds, the first with much log meanwhile, and see when the second one begins.
func TestBudgetReckonsWithWhatComesDuringARound(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Log.SnapshotBytes = 64 << 10
		c.Log.RecoveryBudget = 8 * time.Second
	})
	r.accept(add("0a"))
	over := false
	r.ask(func(error) { over = true })
	for step := 0; !over && step < 100; step++ {
		r.send(Durable, ev{key: "0a", verb: verbAdd, pad: 500})
		r.turn()
		r.sync()
		r.write()
	}
	r.settle()
	r.slowly()
	grew := r.round.grew
	if grew < 1000 {
		t.Fatalf("%d bytes came during the round", grew)
	}
	for taken, n := r.counters.snapshots, 0; r.counters.snapshots == taken; n++ {
		if n == 1000 {
			t.Fatal("no round")
		}
		if whole := r.rates.recovery(r.round.last, r.log.bytes+grew); whole > 8500*time.Millisecond {
			t.Fatalf("no round, although a recovery at the end of one would take %v", whole)
		}
		r.accept(adds("0a", 5)...)
	}
}

// Goal: a budget that cannot be kept does not make the shard do nothing but snapshots.
func TestBudgetThatCannotBeKeptLeavesTheLogToGrow(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Log.SnapshotBytes = 64 << 10
		c.Log.RecoveryBudget = time.Nanosecond
	})
	logged := r.counters.logBytes
	r.fill()
	for range 100 {
		r.accept(adds("0a", 5)...)
	}
	logged = r.counters.logBytes - logged
	if most := logged/(64<<10/budgetLogPart) + 1; r.counters.snapshots == 0 || r.counters.snapshots > most {
		t.Fatalf("%d snapshots for %d bytes of log, at most %d wanted", r.counters.snapshots, logged, most)
	}
}

func TestRoundOverBudgetDoesNotRest(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Log.RecoveryBudget = time.Second })
	if r.slowly(); r.overBudget() {
		t.Fatal("over budget without a log")
	}
	r.log.bytes = 2000
	if !r.overBudget() {
		t.Fatal("two seconds of log are within a second")
	}
}
