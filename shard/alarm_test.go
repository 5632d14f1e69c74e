package shard

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// A ledger with bells fires: an event whose id is belled(at) makes its key due then, until
// another event comes. What is fired is an entry with the id fired, or lapsed.
const (
	bellMark = 1 << 62
	fired    = 1<<61 | 1
	lapsed   = 1<<61 | 2
)

func withBells(c *Config) { c.Tables = []Table{ledger{bells: true}} }

func belled(at int64) uint64 { return bellMark | uint64(at) }

func bell(key string, at int64) ev { return ev{key: key, verb: verbAdd, id: belled(at)} }

func (l ledger) Timed() bool { return l.bells }

func (s *ledgerStore) first() (key string, due int64) {
	due = Never
	for k, entries := range s.keys {
		last := entries[len(entries)-1].id
		if at := int64(last &^ bellMark); last&bellMark != 0 && (at < due || at == due && k < key) {
			key, due = k, at
		}
	}
	return key, due
}

func (s *ledgerStore) Due() int64 {
	_, due := s.first()
	return due
}

func (s *ledgerStore) Next() (Firing, bool) {
	key, due := s.first()
	return Firing{Key: []byte(key), What: FiringTimer}, due != Never
}

func (s *ledgerStore) Begin(Clock) bool { return false }

// ring carries out a firing. Some keys do not let it return.
func (s *ledgerStore) ring(r *Run, op *Operation) {
	_, left, err := FiringOf(op)
	if err != nil {
		op.Err = err
		return
	}
	if bytes.HasSuffix(op.Key(), []byte("refused")) && !left {
		op.Err = errRefused
		return
	}
	p, id := s.program, uint64(fired)
	p.key, p.before, p.of = string(op.Key()), s.keys[string(op.Key())], s
	if left {
		id = lapsed
	}
	s.keys[p.key] = append(slices.Clone(p.before), entry{op.Part.Sequence + 1, id, r.Now})
	switch {
	case bytes.HasSuffix(op.Key(), []byte("panic")) && !left:
		panic("the bell is cracked")
	case bytes.HasSuffix(op.Key(), []byte("goexit")) && !left:
		runtime.Goexit()
	}
	p.of = nil
	op.Part.Sequence++
}

// tolls tells the alarm of what an event has made due.
func (s *ledgerStore) tolls(r *Run, op *Operation) { r.Sooner(op.Part, s.Due()) }

// idsOf are the ids of the entries of a partition.
func (r *rig) idsOf(partition uint32) (ids []uint64) {
	for _, e := range history(r.parts[partition]) {
		ids = append(ids, e.id)
	}
	return ids
}

func TestFiringsOfAPartitionComeOneAtATimeInTheirOrder(t *testing.T) {
	r := newRig(t, withBells)
	for i := range 10 {
		r.accept(bell(fmt.Sprintf("0%d", i), 5000-int64(i)), bell(fmt.Sprintf("1%d", i), 6000))
	}
	r.time = 5500
	for n := range 10 {
		r.turn()
		if ids := r.idsOf(0); len(ids) != 11+n || r.counters.timers != uint64(n+1) {
			t.Fatalf("turn %d: %d firings in partition 0, %d in all", n, len(ids)-10, r.counters.timers)
		}
	}
	if r.turn(); r.counters.timers != 10 || len(r.idsOf(1)) != 10 {
		t.Fatalf("%d firings", r.counters.timers)
	}
	r.settle()
	r.checkSequences()
	r.crash(crashfs.Model{}).same("replayed", contents(r.owned))
}

// Goal: nothing is fired before it is due, also when a key that was due before it is not
// any more. It was, when the time of that key came.
func TestNothingIsFiredAtTheTimeOfAKeyThatIsGone(t *testing.T) {
	r := newRig(t, withBells)
	r.accept(bell("0a", 5000), bell("0b", 9000))
	r.accept(add("0a"))
	for _, at := range []int64{5000, 8999} {
		r.time = at
		if r.settle(); r.counters.timers != 0 {
			t.Fatalf("%d firings at %d, and 9000 is when one is due", r.counters.timers, at)
		}
		if due, exact := r.nextAlarm(Never); due != 9000 || !exact {
			t.Fatalf("it looks again at %d, %v", due, exact)
		}
	}
	r.time = 9000
	if r.settle(); r.counters.timers != 1 {
		t.Fatalf("%d firings", r.counters.timers)
	}
}

// Goal: calls are served while much is due. Method: thousand keys due at once in all
// partitions; a call in the inbox is carried out in the turn that fires the first.
func TestCallWaitsForOneRunOfFiringsAtMost(t *testing.T) {
	r := newRig(t, withBells)
	for i := range 1000 {
		r.accept(bell(fmt.Sprintf("%d-%d", i%4, i), 5000))
	}
	r.time = 5000
	c := r.send(Applied, add("0a"))
	r.turn()
	if c.want("one turn", true); r.counters.timers == 0 || r.counters.timers > runOperations {
		t.Fatalf("%d firings before the call", r.counters.timers)
	}
}

func TestNothingIsFiredWithoutRoomForItsRecord(t *testing.T) {
	r := newRig(t, withBells, func(c *Config) { c.Log.FrameBytesMax = 4 << 10 })
	r.accept(bell("0a", 5000))
	r.disk.SetCapacity(r.disk.Used() + 8<<10)
	for r.counters.refused == 0 {
		r.send(Durable, adds("1a", 20)...)
		r.settle()
	}
	r.time = 5000
	if r.settle(); r.counters.timers != 0 || r.Err() != nil || !r.log.readOnly {
		t.Fatalf("%d firings; %v", r.counters.timers, r.Err())
	}
	due, exact := r.nextAlarm(Never)
	if want := 5000 + int64(roomPause); due != want || !exact {
		t.Fatalf("it looks again at %d, %v; want %d", due, exact, want)
	}
	r.disk.SetCapacity(0)
	r.time = due
	r.settle()
	want := contents(r.owned)
	if ids := r.idsOf(0); !slices.Equal(ids, []uint64{belled(5000), fired}) {
		t.Fatal(ids)
	}
	r.crash(crashfs.Model{}).same("recovered", want)
}

func TestFailedShardFiresNothing(t *testing.T) {
	r := newRig(t, withBells)
	r.accept(bell("0a", 5000))
	r.fail(errRefused)
	r.time = 5000
	if r.turn(); r.counters.timers != 0 {
		t.Fatal("it fires")
	}
}

func TestShardThatEndsLeavesWhatIsDueToTheNextOpen(t *testing.T) {
	r := newRig(t, withBells)
	r.accept(bell("0a", 5000))
	r.time = 5000
	r.inbox.Close()
	if r.settle(); r.counters.timers != 0 || !r.life.finished {
		t.Fatalf("%d firings, ended %v", r.counters.timers, r.life.finished)
	}
	next, err := r.reopen(r.disk)
	if err != nil {
		t.Fatal(err)
	}
	if next.settle(); next.counters.timers != 1 {
		t.Fatalf("%d firings", next.counters.timers)
	}
}

// Goal: a firing whose function does not return is over, and its state as before.
func TestFiringThatDoesNotReturnLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notices []Notice
		r := running(t, withBells, func(c *Config) {
			c.Notify = func(n Notice) { notices = append(notices, n) }
			c.Clock = func() int64 { return time.Now().UnixNano() }
		})
		at := time.Now().UnixNano() + int64(time.Minute)
		r.send(Durable, bell("0panic", at), bell("0goexit", at), bell("1panic", at), bell("2", at))
		after(time.Minute)
		for partition, want := range [][]uint64{{belled(at), belled(at), lapsed, lapsed}, {belled(at), lapsed}, {belled(at), fired}} {
			if ids := r.idsOf(uint32(partition)); !slices.Equal(ids, want) {
				t.Fatalf("partition %d: %x", partition, ids)
			}
		}
		if len(notices) != 3 || notices[0].Kind != NoticeLapsed || r.counters.lapsed != 3 || r.counters.timers != 4 {
			t.Fatalf("%v; %d lapsed of %d", notices, r.counters.lapsed, r.counters.timers)
		}
		after(time.Second)
		r.crash(crashfs.Model{}).same("replayed", contents(r.owned))
	})
}

// Goal: what the table refuses to do for a key that is due is over, and holds up nothing of
// others. Method: a key whose firing is refused as often as it comes with its function.
func TestFiringThatTheTableRefusesLapses(t *testing.T) {
	r := newRig(t, withBells)
	r.accept(bell("0refused", 5000), bell("0b", 5001), bell("1a", 5000))
	r.time = 5001
	r.settle()
	if a, b := r.idsOf(0), r.idsOf(1); !slices.Equal(a, []uint64{belled(5000), belled(5001), lapsed, fired}) || !slices.Equal(b, []uint64{belled(5000), fired}) {
		t.Fatalf("partition 0: %x, 1: %x; %d lapsed", a, b, r.counters.lapsed)
	}
	r.crash(crashfs.Model{}).same("replayed", contents(r.owned))
}

// Goal: a firing that was put off comes a second later, also when the clock runs back.
func TestClockThatRunsBackHoldsNoFiringUp(t *testing.T) {
	for _, before := range []bool{false, true} { // it was put off
		r := newRig(t, withBells, func(c *Config) { c.Log.FrameBytesMax = 4 << 10 })
		r.accept(bell("0a", 3600e9))
		r.disk.SetCapacity(r.disk.Used() + 8<<10)
		for r.counters.refused == 0 {
			r.send(Durable, adds("1a", 20)...)
			r.settle()
		}
		back := func() { r.time -= 3000e9 }
		r.time = 3600e9
		if r.turn(); before {
			back()
			r.time += int64(roomPause)
			r.turn()
		}
		if r.alarm.after == 0 {
			t.Fatal("it was not put off")
		}
		r.disk.SetCapacity(0)
		if !before {
			back()
		}
		r.time += int64(roomPause)
		if r.settle(); r.counters.timers != 1 {
			t.Fatalf("back before it was put off: %v; %d firings a second later, the next look is at %d, and it is %d", before, r.counters.timers, r.alarm.after, r.time)
		}
	}
}

// Goal: a shard that sleeps wakes when something is due, and not before. Method: fake
// time; the number of times that it has gone to sleep.
func TestSleepingShardWakesWhenSomethingIsDueAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, withBells, func(c *Config) { c.Clock = func() int64 { return time.Now().UnixNano() } })
		began := time.Now()
		at := func(d time.Duration) int64 { return began.Add(d).UnixNano() }
		r.send(Durable, bell("0a", at(time.Hour)), bell("1a", at(time.Minute)), bell("1a", at(2*time.Hour)))
		r.rest(time.Second) // its frame is synced, and vouched for
		quiet := r.counters.parks
		if r.rest(time.Hour - time.Second - 1); r.counters.parks != quiet {
			t.Fatalf("it woke %d times before", r.counters.parks-quiet)
		}
		if r.rest(1); r.counters.timers != 1 {
			t.Fatalf("%d firings", r.counters.timers)
		}
		r.rest(time.Second)
		quiet = r.counters.parks
		if r.rest(time.Hour - time.Second - 1); r.counters.parks != quiet {
			t.Fatalf("it woke %d times before", r.counters.parks-quiet)
		}
		if r.rest(1); r.counters.timers != 2 {
			t.Fatalf("%d firings", r.counters.timers)
		}
		r.rest(time.Second)
		quiet = r.counters.parks
		if r.rest(1000 * time.Hour); r.counters.parks != quiet {
			t.Fatal("it woke with nothing to do")
		}
	})
}

// Goal: a partition that moves is fired by its old owner until the cut, by its new owner
// when it has adopted it, and by nobody in between.
func TestPartitionThatMovesIsFiredByItsOwnerOnly(t *testing.T) {
	r := newRig(t, withBells)
	r.accept(bell("0a", 5000), bell("0b", 6000), bell("1a", 6000))
	p := r.parts[0]
	p.watch = &watch{}
	r.time = 5000
	if r.settle(); len(r.idsOf(0)) != 3 {
		t.Fatalf("%x", r.idsOf(0))
	}
	if record := appendFiring(nil, 0, &Firing{Key: []byte("0a"), What: FiringTimer}); !bytes.HasSuffix(p.watch.records, record) {
		t.Fatalf("the new owner would get %x, without the firing %x", p.watch.records, record)
	}
	p.watch.cut = true
	r.alarm.enroll(p)
	r.accept(bell("0c", 5500)) // claimed before the cut
	r.time = 6000
	if r.settle(); len(r.idsOf(0)) != 4 || r.counters.timers != 2 {
		t.Fatalf("%x, %d firings", r.idsOf(0), r.counters.timers)
	}
	if r.displace(p); p.place != 0 || len(r.alarm.queue) != 0 {
		t.Fatal("it is in the queue of the old owner")
	}
	p.watch = nil
	r.place(p)
	r.settle()
	if ids := r.idsOf(0); !slices.Equal(ids[4:], []uint64{fired, fired}) {
		t.Fatalf("%x", ids)
	}
}

// Goal: whoever moved the clock can wait until all that is due was fired, and not less. Method:
// the shard is stepped, and fires one of each partition in a turn.
func TestWhoeverMovedTheClockCanWaitForWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withBells)
		for i := range 200 {
			r.accept(bell(fmt.Sprintf("%d-%d", i%4, i), 5000))
		}
		r.time = 5000
		var err error
		over := false
		go func() {
			err = r.Fired(context.Background())
			over = true
		}()
		for turns := 0; ; turns++ {
			synctest.Wait()
			if over {
				if err != nil || r.counters.timers != 200 || turns < 50 {
					t.Fatalf("behind %d turns: %d firings, %v", turns, r.counters.timers, err)
				}
				return
			}
			r.turn()
		}
	})
}

// Goal: the queue always begins with what is due first, and a partition is in it once, or not
// at all. Method: random times of some partitions, among them none; a look at all of them
// behind each.
func TestQueueOfAnAlarmBeginsWithWhatIsDueFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 0)) // the same times in each run
	var a alarm
	parts := make([]Partition, 40)
	for i := range parts {
		parts[i].due = Never
	}
	for step := range 20_000 {
		p, due := &parts[random.IntN(len(parts))], int64(Never)
		if random.IntN(3) > 0 {
			due = random.Int64N(1000)
		}
		a.set(p, due)
		first, count := int64(Never), 0
		for i := range parts {
			if first = min(first, parts[i].due); parts[i].due != Never {
				count++
			}
			if place := int(parts[i].place); (place > 0) != (parts[i].due != Never) || place > 0 && a.queue[place-1] != &parts[i] {
				t.Fatalf("step %d: a partition that is due at %d has place %d", step, parts[i].due, place)
			}
		}
		if len(a.queue) != count || a.due() != first {
			t.Fatalf("step %d: %d in the queue, the first one due at %d; want %d, %d", step, len(a.queue), a.due(), count, first)
		}
	}
}
