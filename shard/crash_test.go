package shard

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// A script is a life of a shard that is the same each time, up to the operation where
// its disk stops. It remembers what was sent and what became of it.
type script struct {
	*rig
	sent  [rigPartitions][]uint64 // ids, in the order they were admitted
	calls []scripted
}

// scripted is one call of a script.
type scripted struct {
	call *call
	ack  Ack
	upTo [rigPartitions]int // events of each partition that were sent up to here
}

func smallSegments(c *Config) { c.Log.SegmentBytes = 512 }

// say sends one event for each key.
func (s *script) say(ack Ack, keys ...string) {
	var evs []ev
	for _, key := range keys {
		evs = append(evs, add(key))
	}
	id := s.next
	c := s.send(ack, evs...)
	if c.slot == nil || c.outcome != 0 {
		return
	}
	for i, key := range keys {
		p := key[0] - '0'
		s.sent[p] = append(s.sent[p], id+uint64(i)+1)
	}
	done := scripted{call: c, ack: ack}
	for p := range s.sent {
		done.upTo[p] = len(s.sent[p])
	}
	s.calls = append(s.calls, done)
}

// acked is how many events of each partition were acknowledged at least as far as ack.
func (s *script) acked(ack Ack) (counts [rigPartitions]int) {
	for _, c := range s.calls {
		if c.ack < ack || !c.call.done() || c.call.slot.err != nil || len(c.call.refused) > 0 {
			continue
		}
		for p, n := range c.upTo {
			counts[p] = max(counts[p], n)
		}
	}
	return counts
}

// syncBusily lets the sync lane do its job while the shard takes events.
func (s *script) syncBusily() {
	inside := false
	s.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Sync && !inside {
			inside = true
			s.say(Durable, "0s")
			s.say(Written, "1s")
			s.turn()
			inside = false
		}
		return nil
	})
	s.sync()
	s.disk.SetHook(nil)
}

// live goes through events with all acks, segments, three snapshot rounds with events
// between all of their steps, heartbeats, and a clean end.
func (s *script) live() {
	for round := range 3 {
		for i := range 4 {
			s.time += timeStep
			s.say(Durable, "0a", fmt.Sprint(1+i%3, "b"))
			s.turn()
			s.say(Written, "2c", "2d")
			s.turn()
			s.say(Applied, "3e")
			s.syncBusily()
		}
		s.settle()
		if !s.failed() {
			s.beat()
		}
		s.ask(func(error) {})
		for range 6 {
			s.say(Written, "0a")
			s.turn()
			s.say(Durable, "1b", "3f")
			s.turn()
			s.write()
			s.turn()
			if round > 0 {
				s.syncBusily()
			}
		}
		s.settle()
	}
	s.say(Durable, "0z")
	s.Stop()
	s.settle()
}

// holds fails the test unless the shard that was recovered holds, of each partition, a
// prefix of what was sent, with all that was acknowledged.
func (s *script) holds(what string, next *rig, kept bool) {
	s.Helper()
	ack := Durable
	if kept {
		ack = Written
	}
	least := s.acked(ack)
	next.checkSequences()
	for p, entries := range contents(next.owned) {
		ids := ids(entries)
		if len(ids) > len(s.sent[p]) || !slices.Equal(ids, s.sent[p][:len(ids)]) {
			s.Fatalf("%s: partition %d holds %v, which is no prefix of %v", what, p, ids, s.sent[p])
		}
		if len(ids) < least[p] {
			s.Fatalf("%s: partition %d holds %d events, and %d were acknowledged", what, p, len(ids), least[p])
		}
	}
}

func ids(entries []entry) []uint64 {
	ids := make([]uint64, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	return ids
}

// goesOn fails the test unless the shard that was recovered takes events, and has them
// and the old ones after another crash.
func (s *script) goesOn(what string, next *rig) {
	s.Helper()
	again := &script{rig: next}
	for p, entries := range contents(next.owned) {
		again.sent[p] = ids(entries)
	}
	again.say(Durable, "0a", "1b", "2c", "3d")
	next.turn()
	next.force() // whatever the mode
	for range 3 {
		next.turn()
		next.sync()
	}
	if next.turn(); !again.calls[0].call.done() {
		s.Fatalf("%s: no ack: %v", what, next.Err())
	}
	last, err := next.reopen(next.disk.Crash(crashfs.Model{}))
	if err != nil {
		s.Fatalf("%s, and again: %v", what, err)
	}
	again.holds(what+", and again", last, false)
}

// lives runs the script once for every step-th operation, with a disk that stops
// there, and hands out what is left. It ends with the first life that went to its end.
func lives(t *testing.T, mode func(*Config), first, step int, do func(s *script, n int)) {
	for n := first; ; n += step {
		s := &script{rig: &rig{TB: t, disk: crashfs.New(), time: 1000}}
		s.disk.StopAfter(n)
		if err := s.create(smallSegments, mode); err != nil {
			continue // nothing was promised yet
		}
		s.live()
		do(s, n)
		if s.life.finished && !s.failed() {
			if s.counters.snapshots < 4 {
				t.Fatalf("a life with %d snapshots", s.counters.snapshots)
			}
			return
		}
	}
}

// Goal: contract 2 and 3. After a crash at any point, each partition holds a prefix of
// what it admitted, with every acknowledged event, and the shard goes on from there.
// Method: cut a life off after every single operation on the disk, let the disk keep
// what each kind of crash may keep, recover, go on, and cut the power once more.
func TestCrashAfterEveryOperationLosesNothingThatWasAcknowledged(t *testing.T) {
	modes := []struct {
		name string
		set  func(*Config)
		step int
	}{{"always", func(*Config) {}, 1}, {"interval", atInterval, 5}, {"never", atNever, 5}}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			step := mode.step
			if testing.Short() {
				step *= 7
			}
			lives(t, mode.set, 1, step, func(s *script, n int) {
				for _, model := range crashfs.Models(uint64(n)) {
					what := fmt.Sprintf("after %d operations, %v", n, model)
					next, err := s.reopen(s.disk.Crash(model))
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					s.holds(what, next, model.Data == crashfs.Kept)
					s.goesOn(what, next)
				}
			})
		})
	}
}

// Goal: a second crash during recovery changes nothing. Method: of some lives, stop the
// recovery after every single operation, too, crash again in several ways, and look.
func TestCrashDuringRecoveryLosesNothingEither(t *testing.T) {
	t.Parallel()
	step := 13
	if testing.Short() {
		step *= 7
	}
	lives(t, func(*Config) {}, 40, step, func(s *script, n int) {
		for _, model := range crashfs.Models(uint64(n)) {
			if model.Entries && n%2 == 0 {
				continue
			}
			for k := 1; ; k++ {
				disk := s.disk.Crash(model)
				disk.StopAfter(disk.Ops() + k)
				_, err := s.reopen(disk)
				for _, second := range []crashfs.Model{{}, {Data: crashfs.Kept}, {Data: crashfs.Reordered, Entries: true, Seed: uint64(k)}} {
					what := fmt.Sprintf("after %d operations, %v, and %d of the recovery, %v", n, model, k, second)
					next, err := s.reopen(disk.Crash(second))
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					s.holds(what, next, model.Data == crashfs.Kept && second.Data == crashfs.Kept)
				}
				if err == nil {
					break
				}
			}
		}
	})
}
