package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/ring"
)

// arrange has partition 0 on its way from shard 0 to shard 1 and not there: the cut is
// made, and shard 0 has not come to it.
func (p *pair) arrange() (from, to *rig) {
	p.Helper()
	from, to = p.shards[0], p.shards[1]
	p.say(0, Durable, "0a")
	p.settle()
	p.move(0)
	for p.route.owner[0] == 0 {
		to.turn()
		to.sync()
		p.look()
		if len(from.control) > 0 {
			p.say(0, Durable, "0b") // before the cut
			from.serveControl()
		}
		p.look()
	}
	p.known = [2]pairRoute{p.route, p.route}
	return from, to
}

// stream puts a block of a stream into the inbox of r, with version 0.
func (p *pair) stream(r *rig, slot *Slot, ack Ack, evs ...ev) {
	p.Helper()
	b := r.block(slot.Stream(), ack, evs)
	claim, outcome := r.inbox.Claim(0, len(b))
	if outcome != ring.Claimed {
		p.Fatal(outcome)
	}
	copy(claim.Bytes, b)
	r.inbox.Publish(claim)
}

// Goal: what overtakes a partition is held back, and nothing else is; the blocks of a
// stream are told in their order all the same. Method: blocks on the partition, on others
// and on both, before it has come.
func TestOnlyWhatOvertakesThePartitionWaits(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		from, to := p.arrange()
		slot := to.cfg.Slots.New()
		slot.Sink = &call{}
		p.stream(to, slot, Applied, add("2a"))
		to.turn()
		before := len(p.sent[0])
		mixed := to.send(Applied, add("2b"), ev{key: "0a"}, add("3a"), add("0c"), add("3b"))
		p.stream(to, slot, Applied, add("0c"), add("2b"))
		p.stream(to, slot, Applied, add("2a"))
		alone := to.send(Applied, add("2b"), add("3a"))
		behind := to.send(Applied, add("0c"))
		to.turn()
		alone.want("on other partitions", true)
		mixed.want("with a part that overtook", false)
		behind.want("on the partition", false)
		if n, _ := slot.Completed(); n != 1 {
			p.Fatalf("%d events of the stream were told, want the one before", n)
		}
		if n := len(history(to.parts[2])); n != 5 {
			p.Fatalf("%d events of partition 2, want 5: they wait for nothing", n)
		}
		p.settle()
		mixed.want("settled", true)
		behind.want("settled", true)
		if n, _ := slot.Completed(); n != 4 || !slices.Equal(mixed.read, []int{1}) {
			p.Fatalf("%d events of the stream were told, want 4; read %v", n, mixed.read)
		}
		if from.parts[0].ID != noPartition || len(history(to.parts[0])) != before+3 {
			p.Fatalf("partition 0 is at %d, with %v", from.parts[0].ID, history(to.parts[0]))
		}
		p.contents("settled")
	})
}

// Goal: each event of a block is carried out once, also when the partition arrives in the
// middle of the block. Method: a block of more than two runs.
func TestPartitionMayArriveInTheMiddleOfABlock(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		from, to := p.arrange()
		before := len(p.sent[0])
		var evs []ev
		for range runOperations + 10 {
			evs = append(evs, add("0c"), add("2b"))
		}
		c := to.send(Applied, evs...)
		to.turn()
		if !to.run.cursor.more() {
			p.Fatal("the block is used up")
		}
		for from.parts[0].ID != noPartition {
			from.turn()
		}
		p.settle()
		c.want("settled", true)
		if n := len(history(to.parts[0])) - before; n != runOperations+10 {
			p.Fatalf("%d events of the partition, want %d", n, runOperations+10)
		}
		if n := len(history(to.parts[2])); n != runOperations+10 {
			p.Fatalf("%d events of the other partition, want %d", n, runOperations+10)
		}
		p.contents("settled")
	}, func(c *Config) { c.Inbox = 1 << 15 })
}

// Goal: carrying out what was held back holds nobody else up, and what comes meanwhile goes
// behind it. Method: turns of the new owner with more held back than one may carry out, an
// event of the partition and of another one in each.
func TestWhatWasHeldBackIsCarriedOutAFewRunsATurn(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		from, to := p.arrange()
		p.mover.paces = usual
		const most = 2*runOperations + 2*2 + runOperations // and what came, and the rest of a run
		var long []ev
		for range 6 * runOperations {
			p.next++
			p.sent[0] = append(p.sent[0], p.next)
			long = append(long, ev{key: "0c", verb: verbAdd, id: p.next})
		}
		held := to.send(Applied, long...)
		for to.takeRun(); to.run.Filled > 0; to.takeRun() {
			to.applyRun()
		}
		for from.parts[0].ID != noPartition {
			from.turn()
		}
		part, turns, before := (*Partition)(nil), 0, uint64(0) // turns since it has arrived
		for done, n := false, 0; !done && n < 100; n++ {
			p.next++
			p.sent[0] = append(p.sent[0], p.next)
			behind := to.send(Applied, ev{key: "0a", verb: verbAdd, id: p.next})
			other := to.send(Applied, add("2b"))
			to.turn()
			other.want("on another partition", true)
			if part == nil && to.moving.arrived != nil {
				part, before = to.moving.arrived[0], uint64(len(p.sent[0])-len(long)-1)
			}
			if part == nil {
				continue
			}
			done = to.parts[0] == part
			if behind.done() != done || held.done() && !done && to.moving.held.next == 0 {
				p.Fatalf("turn %d: behind what is held back: done %v, it has arrived: %v", turns, behind.done(), done)
			}
			turns++
			if n := part.Sequence - before; n > most {
				p.Fatalf("turn %d: %d events were carried out, at most %d", turns, n, most)
			}
			before = part.Sequence
		}
		if turns < 3 {
			p.Fatalf("all is carried out in %d turns", turns)
		}
		p.settle()
		held.want("settled", true)
		p.contents("settled")
		if have := ids(history(to.parts[0])); !slices.Equal(have, p.sent[0]) {
			p.Fatalf("it holds %v, sent was %v", have, p.sent[0])
		}
	}, func(c *Config) { c.Inbox = 1 << 17 })
}

// Goal: what is held back is bounded. Method: a full inbox on the partition, again.
func TestNewOwnerStopsReadingWhenItHoldsAnInboxBack(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		_, to := p.arrange()
		sent := 0
		for to.send(Durable, add("0c"), add("2b")).outcome == ring.Claimed || to.turn() {
			if sent++; sent > 1000 {
				p.Fatal("it takes everything")
			}
		}
		if h := &to.moving.held; h.bytes < to.cfg.Inbox || h.bytes > to.cfg.Inbox+1<<10 {
			p.Fatalf("%d bytes are held back, the inbox has %d", h.bytes, to.cfg.Inbox)
		}
		p.settle()
		if p.moves != 1 || to.moving.held.bytes != 0 {
			p.Fatal(p.moves, to.moving.held.bytes)
		}
		p.contents("settled")
	})
}

// Goal: a function of a table that panics or ends the goroutine while what was held back
// is carried out fails its own event, and no other.
func TestHeldBackEventThatDoesNotReturnFailsAlone(t *testing.T) {
	for _, verb := range []byte{verbPanic, verbGoexit, verbRefuse} {
		bubble(t, crashfs.New(), func(p *pair) {
			_, to := p.arrange()
			before := len(p.sent[0])
			var calls []*call
			for _, v := range []byte{verbAdd, verb, verbAdd} {
				calls = append(calls, to.send(Durable, add("2b"), ev{key: "0c", verb: v}, add("3a")))
			}
			to.turn()
			for range 300 { // a goroutine that ends is replaced by another one
				over := make(chan struct{})
				go func() {
					defer close(over)
					to.takeOver()
					p.settle()
				}()
				<-over
			}
			for i, c := range calls {
				c.want("settled", true)
				if want := [][]int{nil, {1}, nil}[i]; !slices.Equal(c.refusedAt, want) {
					p.Fatalf("verb %c, call %d: operations %v were refused, %v", verb, i, c.refusedAt, c.refused)
				}
			}
			if n := len(history(to.parts[0])); n != before+2 {
				p.Fatalf("verb %c: %d events", verb, n)
			}
		})
	}
}

// Goal: a codec that does not return while a partition is copied or encoded fails the
// move and nothing else.
func TestMoveThatCannotBeEncodedChangesNothing(t *testing.T) {
	for _, key := range []string{keyGoexitEncode, keyPanicEncode, keyGoexitFreeze} {
		if key == keyPanicEncode {
			continue // the engine's codecs do not panic
		}
		bubble(t, crashfs.New(), func(p *pair) {
			p.say(0, Durable, key)
			p.settle()
			p.move(0)
			for range 300 {
				over := make(chan struct{})
				go func() { defer close(over); p.shards[0].takeOver(); p.settle() }()
				<-over
			}
			if len(p.failed) != 1 || p.moved != nil || p.route.owner[0] != 0 {
				p.Fatal(key, p.failed, p.moves)
			}
			if p.shards[1].moving.in != nil || p.shards[0].parts[0].watch != nil {
				p.Fatal("the move is not over")
			}
			p.move(2)
			p.settle()
			if p.moves != 1 {
				p.Fatal(p.failed)
			}
		})
	}
}

// Goal: when a shard fails during a move, its partitions are refused until the next open,
// the other shard goes on, no call and no stream is left without an answer, and nothing
// that was acknowledged is lost. Method: random lives, in which all writes of one shard fail
// from some point on.
func TestShardThatFailsDuringAMoveTakesNothingAlong(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		bubble(t, crashfs.New(), func(p *pair) {
			what := fmt.Sprintf("go test ./shard -run %s, seed %d", t.Name(), seed)
			random := rand.New(rand.NewPCG(seed, 3))
			for i := range p.shards {
				p.openStream(i, Written+Ack(seed%2))
			}
			p.live(random, random.IntN(300))
			victim := random.IntN(2)
			p.disk.SetHook(func(op crashfs.Op) error {
				if (op.Kind == crashfs.Sync || op.Kind == crashfs.Write) && strings.Contains(op.Name, fmt.Sprintf("shard-%03d/log", victim)) {
					return errors.New("the disk of this shard is broken")
				}
				return nil
			})
			p.live(random, 200)
			p.say(0, Durable, fmt.Sprint(p.shards[victim].cfg.Index*2, "a"))
			p.settle()
			p.disk.SetHook(nil)
			if p.moved != nil {
				p.Fatalf("%s: the move does not end", what)
			}
			if p.shards[1-victim].failed() {
				p.Fatalf("%s: the other shard has failed, too: %v", what, p.shards[1-victim].Err())
			}
			for _, c := range p.calls {
				if !c.call.done() {
					p.Fatalf("%s: a call with ack %d has no answer", what, c.ack)
				}
			}
			for i, st := range p.streams[:len(p.shards)] {
				if n, err := st.slot.Completed(); n != st.sent {
					p.Fatalf("%s: the stream of shard %d with ack %d was told of %d events of %d, %v", what, i, st.ack, n, st.sent, err)
				}
			}
			for _, r := range p.shards {
				r.Stop()
			}
			p.settle()
			for i, r := range p.shards {
				if !r.life.finished {
					p.Fatalf("%s: shard %d does not end", what, i)
				}
			}
			for _, model := range []crashfs.Model{{}, {Data: crashfs.Kept}} {
				next, err := p.reopen(p.disk.Crash(model))
				if err != nil {
					p.Fatalf("%s: %v", what, err)
				}
				p.holds(what, next, model.Data == crashfs.Kept)
			}
		})
	}
}

// Goal: whoever hears of a block late, because one before it was held back, is not told that
// it is done when the shard has failed in between, and is told. Method: the write that ends
// the adoption fails; the block was carried out before and is in no frame.
func TestLateAckSaysThatTheShardHasFailed(t *testing.T) {
	for ack, behind := range map[Ack]int{Written: 0, Durable: 1} {
		bubble(t, crashfs.New(), func(p *pair) {
			from, to := p.arrange()
			p.settleOne(to)
			p.openStream(1, ack)
			slot := p.streams[1].slot
			p.stream(to, slot, ack, add("0c")) // held back
			p.stream(to, slot, ack, add("2a")) // carried out
			to.takeRun()
			to.applyRun()
			for from.parts[0].ID != noPartition {
				from.turn()
			}
			for range behind {
				p.stream(to, slot, ack, add("2b")) // in the inbox
			}
			p.disk.SetHook(func(op crashfs.Op) error {
				if op.Kind == crashfs.Write && strings.Contains(op.Name, "shard-001") {
					return crashfs.ErrIO
				}
				return nil
			})
			p.settle()
			n, err := slot.Completed()
			if n != uint64(2+behind) || !errors.Is(err, ErrUnknownOutcome) || p.streams[1].told > 0 {
				p.Fatalf("ack %d: told of %d events, of %d that they are done; %v", ack, n, p.streams[1].told, err)
			}
		})
	}
}

// Goal: a shard publishes no snapshot without a partition that another shard does not
// have yet, durably. Method: a round of the old owner that has everything else, while the
// new one does not sync; then a power cut.
func TestSnapshotWaitsForWhatIsOnItsWay(t *testing.T) {
	for _, synced := range []bool{false, true} {
		bubble(t, crashfs.New(), func(p *pair) {
			from, to := p.arrange()
			for from.parts[0].ID != noPartition {
				from.turn()
			}
			from.ask(func(error) {})
			to.turn()
			if to.parts[0].ID == noPartition {
				p.Fatal("it has not arrived")
			}
			for range 50 {
				from.turn()
				from.sync()
				from.write()
				if synced {
					to.turn()
					to.sync()
				}
			}
			if from.counters.snapshots != map[bool]uint64{true: 1}[synced] {
				p.Fatalf("%d snapshots were published, the other shard is synced: %v", from.counters.snapshots, synced)
			}
			next, err := p.reopen(p.disk.Crash(crashfs.Model{}))
			if err != nil {
				p.Fatal(err)
			}
			p.holds("power cut", next, false)
		})
	}
}

// Goal: a partition that was adopted by a shard whose log has lost that is missed. Method:
// the directory of the new owner as it was before.
func TestPartitionThatNobodyHasAnyMoreIsRefused(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		before, err := newPair(p)
		if err != nil {
			p.Fatal(err)
		}
		before.settle()
		p.say(0, Durable, "0a")
		p.settle()
		p.move(0)
		p.settle()
		for _, r := range p.shards {
			r.snapshot() // the old owner's log gives its own away
			r.snapshot()
		}
		old := before.shards[1].cfg
		old.Log.FS = before.disk.Crash(crashfs.Model{})
		stale, err := Recover(old, pairOwned(2)[1], nil)
		if err != nil {
			p.Fatal(err)
		}
		cfg := p.shards[0].cfg
		cfg.Log.FS = p.disk.Crash(crashfs.Model{})
		state, err := Recover(cfg, pairOwned(2)[0], nil)
		if err != nil {
			p.Fatal(err)
		}
		var damage *CorruptError
		if _, err := Resolve([]*State{state, stale}, rigPartitions); !errors.As(err, &damage) || damage.Partition != 0 {
			p.Fatal("opened with ", err)
		}
	})
}

// settleOne settles one shard of the pair.
func (p *pair) settleOne(r *rig) bool {
	for p.turn(r) || r.sync() || r.write() {
		continue
	}
	r.flush()
	for r.startSync(); r.sync(); {
		p.turn(r)
	}
	return true
}

// Goal: a new owner without room on the disk refuses the partition as read-only, goes on
// by itself when there is room, and lets go of it when it is to be closed. Method: no room
// from the cut on.
func TestNewOwnerWithoutRoomRefusesThePartition(t *testing.T) {
	for _, relents := range []bool{false, true} {
		bubble(t, crashfs.New(), func(p *pair) {
			from, to := p.arrange()
			p.disk.SetCapacity(p.disk.Used())
			for p.settleOne(to); ; p.settleOne(to) { // until the reserve is used up
				if full := to.send(Durable, ev{key: "2b", verb: verbAdd, pad: 300}); p.settleOne(to) {
					if full.want("sent", true); len(full.refused) > 0 {
						break
					}
				}
			}
			held := to.send(Durable, add("0c"))
			to.turn()
			held.want("on its way", false)
			p.settle()
			held.want("without room", true)
			if len(held.refused) != 1 || !errors.Is(held.refused[0], ErrReadOnly) {
				p.Fatal(held.refused)
			}
			read := to.send(Applied, ev{key: "0a"})
			p.settle()
			if len(read.refused) != 1 || !errors.Is(read.refused[0], ErrReadOnly) {
				p.Fatal(read.refused)
			}
			if relents {
				to.Relent()
				p.settle()
				if len(p.failed) != 1 || !errors.Is(p.failed[0], ErrReadOnly) || p.moved != nil {
					p.Fatal(p.failed)
				}
				p.disk.SetCapacity(0)
				next, err := p.reopen(p.disk.Crash(crashfs.Model{Data: crashfs.Kept}))
				if err != nil {
					p.Fatal(err)
				}
				if have := ids(next.contents("relented")[0]); !slices.Equal(have, p.sent[0]) {
					p.Fatal(have, p.sent[0])
				}
				return
			}
			p.disk.SetCapacity(0)
			p.say(0, Durable, "0d")
			p.settle()
			if p.moves != 1 || from.failed() || to.failed() || len(history(to.parts[0])) != len(p.sent[0]) {
				p.Fatal(p.moves, p.failed, to.Err())
			}
		})
	}
}

// Goal: what is shown of a partition that has come, and has no room, is durable where it was
// before. Method: the old owner has not synced the last events.
func TestPartitionWithoutRoomIsShownWhenItsOldOwnerIsDurable(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		from, to := p.arrange()
		p.disk.SetCapacity(p.disk.Used())
		for p.settleOne(to); ; p.settleOne(to) { // until the reserve is used up
			full := to.send(Durable, ev{key: "2b", verb: verbAdd, pad: 300})
			if p.settleOne(to); len(full.refused) > 0 {
				break
			}
		}
		for from.parts[0].ID != noPartition {
			from.turn()
		}
		if to.turn(); to.moving.stuck == nil || from.log.durable == from.log.appended.Load() || from.counters.refused > 0 {
			p.Fatal("the partition is not where it should be")
		}
		shown, durable := uint64(0), false
		go func() {
			_, err := to.FreezeDurable(p.Context(), 0, []uint32{0}, func(_ uint32, sequence uint64, _ Image) { shown = sequence })
			durable = err == nil && from.log.durable == from.log.appended.Load()
		}()
		for range 10 {
			synctest.Wait()
			p.settleOne(to)
		}
		p.settle()
		if !durable || shown != uint64(len(p.sent[0])) {
			p.Fatalf("event %d of %d is shown, durable: %v", shown, len(p.sent[0]), durable)
		}
	})
}
