package shard

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/matrix"
)

var (
	simSeeds = flag.Int("shard.seeds", 60, "how many lives to simulate")
	simSeed  = flag.Uint64("shard.seed", 0, "the one life to simulate; 0: many new ones")
)

// A sim is a shard of which everything that runs beside something else is an actor: the
// shard itself and its two lanes. An actor stops in front of each operation of the disk.
// Who goes on, who calls, how the clock moves and where the world ends is drawn from one
// seed, and nothing else decides anything.
type sim struct {
	*script
	random *rand.Rand
	actors [3]*actor
	at     *actor // that is running; nil: the driver is
	fault  int    // operations until one fails; 0: none does
	broken bool   // one has failed
}

// An actor is a goroutine that is given its turns.
type actor struct {
	run    func()
	ready  func() bool // that there is something to run
	resume chan struct{}
	parked chan bool // true: in front of an operation; false: at its end
	under  bool      // it has begun and not ended
}

func newActor(run func(), ready func() bool) *actor {
	return &actor{run: run, ready: ready, resume: make(chan struct{}), parked: make(chan bool)}
}

// give lets the actor run to its next operation of the disk, or to its end.
func (s *sim) give(a *actor) {
	s.at = a
	if a.under {
		a.resume <- struct{}{}
	} else {
		a.under = true
		go func() { a.run(); a.parked <- false }()
	}
	a.under = <-a.parked
	s.at = nil
}

// pass is the hook of the disk.
func (s *sim) pass(op crashfs.Op) error {
	if a := s.at; a != nil {
		a.parked <- true
		<-a.resume
	}
	if s.fault > 0 {
		if s.fault--; s.fault == 0 {
			s.broken = true
			// Not a lack of room, which refuses some events and takes later ones.
			return []error{crashfs.ErrIO, crashfs.DropDirty(crashfs.ErrIO), crashfs.ShortWrite(9, crashfs.ErrIO)}[s.random.IntN(3)]
		}
	}
	return nil
}

// animate makes actors of what the rig has.
func (s *sim) animate() {
	s.actors = [3]*actor{
		newActor(func() { s.turn() }, func() bool { return !s.life.finished }),
		newActor(func() { s.sync() }, func() bool { return len(s.log.lane.start) > 0 }),
		newActor(func() { s.write() }, func() bool { return len(s.round.lane.start) > 0 }),
	}
	s.disk.SetHook(s.pass)
	if s.random.IntN(4) == 0 {
		s.fault = 1 + s.random.IntN(150)
	}
}

// step is one decision.
func (s *sim) step() {
	switch n := s.random.IntN(20); {
	case n < 4:
		s.call()
	case n == 4:
		s.time += int64(s.random.IntN(3 * timeStep))
	case n == 5 && s.random.IntN(4) == 0:
		select {
		case s.control <- func() { s.ask(func(error) {}) }:
		default:
		}
	case n == 6 && s.random.IntN(4) == 0:
		select {
		case s.control <- s.quiet:
		default:
		}
	default:
		a := s.actors[s.random.IntN(len(s.actors))]
		if a.under || a.ready() {
			s.give(a)
		}
	}
}

// quiet is the timer of the heartbeat.
func (s *sim) quiet() {
	s.log.pulse.heard = s.log.appended.Load()
	s.log.pulse.due.Store(true)
}

// call sends a block of one to four events, of any ack that the mode allows.
func (s *sim) call() {
	var keys []string
	for range 1 + s.random.IntN(4) {
		keys = append(keys, fmt.Sprint(s.random.IntN(rigPartitions), string(rune('a'+s.random.IntN(5)))))
	}
	acks := []Ack{Applied, Written, Durable}
	if s.cfg.Log.Sync == SyncNever {
		acks = acks[:2]
	}
	s.say(acks[s.random.IntN(len(acks))], keys...)
}

// end lets every actor come to its end on a disk that is gone.
func (s *sim) end() {
	for _, a := range s.actors {
		for a.under {
			s.give(a)
		}
	}
}

// live makes decisions, ends the world in the middle of something, recovers, and checks
// that what is there is a prefix with everything that was acknowledged.
func (s *sim) live(life int) *sim {
	for range 200 + s.random.IntN(600) {
		s.step()
	}
	model := crashfs.Models(s.random.Uint64())[s.random.IntN(9)]
	left := s.disk.Crash(model)
	acked := *s.script // as the callers have seen it: nobody is told anything any more
	acked.calls = slices.DeleteFunc(slices.Clone(s.calls), func(c scripted) bool { return !c.call.done() })
	s.end()
	next, err := s.reopen(left)
	if err != nil {
		s.Fatalf("life %d, %v: %v", life, model, err)
	}
	what := fmt.Sprintf("life %d, %v", life, model)
	// A sync that fails may take with it what was only written.
	acked.holds(what, next, model.Data == crashfs.Kept && !s.broken)
	if len(next.state.Report.Warnings) > 0 {
		s.Fatalf("%s: %q", what, next.state.Report.Warnings)
	}
	again := &sim{script: &script{rig: next}, random: s.random}
	for p, entries := range contents(next.owned) {
		again.sent[p] = ids(entries)
	}
	return again
}

// Goal: whoever comes first, callers, shard, syncs, snapshots or the end of the world, a
// partition recovers to a prefix with everything acknowledged. Method: one life after
// the other, each with another order of all steps down to single operations of the
// disk, in every mode, some with an operation that fails.
func TestEveryOrderOfStepsKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	modes := []func(*Config){func(*Config) {}, atInterval, atNever}
	lives, events := 0, 0
	seeds := *simSeeds
	if testing.Short() {
		seeds /= 6
	}
	for range seeds {
		seed := *simSeed
		if seed == 0 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			mode := modes[random.IntN(len(modes))]
			s := &sim{script: &script{rig: newRig(t, smallSegments, mode, func(c *Config) { c.Log.SnapshotBytes = 1 << 10 })}, random: random}
			for life := range 4 {
				s.animate()
				s = s.live(life)
				lives++
				for _, sent := range s.sent {
					events += len(sent)
				}
			}
		})
		if t.Failed() {
			t.Fatalf("repeat with: go test ./shard -run '^%s$' -shard.seed %d", t.Name(), seed)
		}
	}
	t.Logf("%d lives", lives)
	err := matrix.Add(matrix.Row{
		Row: "R15", Name: "a shard, its lanes and callers in a seeded order of steps", Goal: "a prefix with everything acknowledged, whatever the order",
		Cycles: int64(lives), Checked: int64(events),
	})
	if err != nil {
		t.Error(err)
	}
}
