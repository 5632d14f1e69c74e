package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/ring"
)

// A pair is two shards, or some more, on one disk between which partitions move, driven by hand like a
// rig. It lives in a bubble of synctest: the mover is a goroutine, and does what it can
// between two steps of the driver.
type pair struct {
	testing.TB
	disk   *crashfs.FS
	time   int64
	shards []*rig
	mover  Mover
	route  pairRoute
	known  [2]pairRoute // by two producers
	next   uint64
	sent   [rigPartitions][]uint64 // ids, in the order they were admitted
	calls  []scripted
	// streams get every other block to their shard; nil: calls get all.
	streams [pairShardsMax]*pairStream
	moves   int
	// together is how many partitions have moved beside others.
	together int
	failed   []error
	moved    chan error // of the move under way; nil: none is
	*watcher
}

// A pairRoute says who owns each partition, and what version the inboxes have.
type pairRoute struct {
	owner    [rigPartitions]int
	versions [pairShardsMax]uint16
}

const pairShardsMax = 4

// pairOwned says which partitions each of so many shards begins with.
func pairOwned(shards int) [][]uint32 {
	return map[int][][]uint32{2: {{0, 1}, {2, 3}}, 3: {{0}, {1, 2}, {3}}, 4: {{0}, {1}, {2}, {3}}}[shards]
}

func (p *pair) config(i int) Config {
	r := &rig{disk: p.disk}
	cfg := rigConfig(r)
	cfg.Index, cfg.ID.Shard = i, uint32(i)
	cfg.Dir = fmt.Sprintf("store/shard-%03d", i)
	cfg.Clock = func() int64 { return p.time }
	cfg.Inbox = 1 << 12
	cfg.Log.Keep = func() Keep { return Keep{On: true} }
	return cfg
}

func newPair(tb testing.TB, change ...func(*Config)) (*pair, error) {
	return createPair(tb, crashfs.New(), 2, change...)
}

func createPair(tb testing.TB, disk *crashfs.FS, shards int, change ...func(*Config)) (*pair, error) {
	p := &pair{TB: tb, disk: disk, time: 1000, shards: make([]*rig, shards), watcher: &watcher{}}
	slots := &Slots{}
	for i, owned := range pairOwned(shards) {
		cfg := p.config(i)
		cfg.Slots = slots
		for _, f := range change {
			f(&cfg)
		}
		state, err := Create(cfg, owned, nil, Clock{Opened: p.time})
		if err != nil {
			return p, err
		}
		if err := p.assume(i, cfg, state); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *pair) assume(i int, cfg Config, state *State) error {
	r := &rig{TB: p.TB, disk: p.disk, time: p.time}
	p.shards[i] = r
	if err := r.assume(cfg, state); err != nil {
		return err
	}
	for _, part := range state.Partitions {
		p.route.owner[part.ID] = i
	}
	p.known = [2]pairRoute{p.route, p.route}
	return nil
}

// reopen makes a pair of what is on disk.
func (p *pair) reopen(disk *crashfs.FS) (*pair, error) {
	next := &pair{TB: p.TB, disk: disk, time: p.time, next: p.next, shards: make([]*rig, len(p.shards)), watcher: &watcher{}}
	var states []*State
	var cfgs []Config
	slots := &Slots{}
	for i, owned := range pairOwned(len(p.shards)) {
		cfg := p.shards[i].cfg
		cfg.Log.FS, cfg.Slots = disk, slots
		cfg.Clock = func() int64 { return next.time }
		state, err := Recover(cfg, owned, nil)
		if err != nil {
			return nil, fmt.Errorf("recover shard %d: %w", i, err)
		}
		states, cfgs = append(states, state), append(cfgs, cfg)
	}
	if _, err := Resolve(states, rigPartitions); err != nil {
		return nil, err
	}
	for _, state := range states {
		for _, lost := range state.lost {
			if lost.Stores[0].(*ledgerStore).keys != nil {
				p.Fatalf("partition %d, which another shard owns, keeps its memory", lost.ID)
			}
		}
	}
	for i, state := range states {
		if err := Resume(cfgs[i], state); err != nil {
			return nil, fmt.Errorf("resume shard %d: %w", i, err)
		}
	}
	for i, state := range states {
		if err := next.assume(i, cfgs[i], state); err != nil {
			return nil, err
		}
	}
	p.Cleanup(next.abandon)
	return next, nil
}

// say has a producer send one event for each key to the shard that it believes owns the
// first one; keys of others are left out.
func (p *pair) say(producer int, ack Ack, keys ...string) {
	for {
		seen := &p.known[producer]
		to := seen.owner[keys[0][0]-'0']
		var evs []ev
		first := p.next
		var ids []uint64
		for _, key := range keys {
			if seen.owner[key[0]-'0'] == to {
				p.next++
				evs = append(evs, ev{key: key, verb: verbAdd, id: p.next})
				ids = append(ids, p.next)
			}
		}
		r := p.shards[to]
		c, st := (*call)(nil), p.streams[to]
		if st != nil && first%2 == 0 {
			c, ack = &st.call, st.ack
			c.to = c.slot.Stream()
		} else {
			c, st = &call{r: r, slot: r.cfg.Slots.New()}, nil
			c.slot.Sink = c
			c.to = c.slot.Arm()
		}
		b := r.block(c.to, ack, evs)
		claim, outcome := r.inbox.Claim(seen.versions[to], len(b))
		if outcome != ring.Claimed {
			p.next = first
			if st == nil {
				c.slot.Disarm()
			}
			if outcome == ring.Stale && *seen != p.route {
				*seen = p.route
				continue
			}
			return
		}
		copy(claim.Bytes, b)
		r.inbox.Publish(claim)
		for i, e := range evs {
			part := e.key[0] - '0'
			p.sent[part] = append(p.sent[part], ids[i])
		}
		done := scripted{call: c, ack: ack}
		for i := range p.sent {
			done.upTo[i] = -1
		}
		for _, e := range evs {
			part := e.key[0] - '0'
			done.upTo[part] = len(p.sent[part])
		}
		if st == nil {
			p.calls = append(p.calls, done)
		} else {
			st.add(done, len(evs))
		}
		return
	}
}

// A pairStream is a stream of a producer to one shard of a pair.
type pairStream struct {
	call
	ack    Ack
	sent   uint64 // events
	blocks []scripted
	ends   []uint64 // sent behind each of the blocks
	told   uint64   // events that are done, as the stream was told before anything went wrong
}

// openStream makes the stream of a shard.
func (p *pair) openStream(i int, ack Ack) {
	st := &pairStream{ack: ack}
	st.r, st.slot = p.shards[i], p.shards[i].cfg.Slots.New()
	st.slot.Sink = &st.call
	p.streams[i] = st
}

func (st *pairStream) add(block scripted, events int) {
	st.sent += uint64(events)
	st.blocks, st.ends = append(st.blocks, block), append(st.ends, st.sent)
}

// look takes note of what the stream was told.
func (st *pairStream) look() {
	if n, err := st.slot.Completed(); err == nil && len(st.refused) == 0 {
		st.told = n
	}
}

// move begins to move partitions to the other shard, or one of the others, those that the
// first one's owner has, unless a move is under way.
func (p *pair) move(partitions ...uint32) {
	if p.moved != nil {
		return
	}
	from := p.route.owner[partitions[0]]
	to := (from + 1 + int(p.next)%(len(p.shards)-1)) % len(p.shards)
	partitions = slices.DeleteFunc(partitions, func(id uint32) bool { return p.route.owner[id] != from })
	p.together += len(partitions) - 1
	moved := make(chan error, 1)
	p.moved = moved
	a, b := p.shards[from].Shard, p.shards[to].Shard
	go func() {
		err := error(&PanicError{})
		defer func() { moved <- err }()
		err = p.mover.Move(a, b, partitions, func(moved []uint32) uint64 {
			if !slices.Equal(moved, partitions) {
				p.Errorf("%v move, of %v", moved, partitions)
			}
			next := p.route
			for _, id := range moved {
				next.owner[id] = to
			}
			next.versions[from]++
			cut := a.inbox.SetRoute(next.versions[from])
			p.route = next
			return cut
		})
	}()
	synctest.Wait()
}

// look takes note of a move that has ended.
func (p *pair) look() {
	synctest.Wait()
	select {
	case err := <-p.moved:
		if p.moved = nil; err != nil {
			p.failed = append(p.failed, err)
		} else {
			p.moves++
		}
	default:
	}
}

// turn makes a turn of a shard, unless it has ended.
func (p *pair) turn(r *rig) (busy bool) {
	if r.life.finished {
		return false
	}
	busy = r.turn()
	for _, st := range p.streams {
		if st != nil {
			st.look()
		}
	}
	if r.life.finished {
		close(r.life.stopped)
	}
	return busy
}

// settle makes turns of all shards until nothing is left to do.
func (p *pair) settle() {
	p.Helper()
	for range 20_000 {
		busy := false
		for _, r := range p.shards {
			busy = p.turn(r) || !r.life.finished && len(r.control) > 0 || busy
			busy = r.sync() || busy
			busy = r.write() || busy
		}
		before := p.moved
		if p.look(); p.moved != before {
			busy = true
		}
		if busy {
			continue
		}
		for _, r := range p.shards {
			if !r.life.finished {
				r.flush()
				busy = r.startSync() || busy
			}
		}
		if !busy {
			return
		}
	}
	p.Fatal("the shards do not settle")
}

// acked is how many events of each partition were acknowledged at least as far as ack.
func (p *pair) acked(ack Ack) (counts [rigPartitions]int) {
	for _, c := range p.calls {
		if c.ack < ack || !c.call.done() || c.call.slot.err != nil || len(c.call.refused) > 0 {
			continue
		}
		for id, n := range c.upTo {
			counts[id] = max(counts[id], n)
		}
	}
	for _, st := range p.streams {
		if st == nil || st.ack < ack {
			continue
		}
		for i, block := range st.blocks {
			for id, n := range block.upTo {
				if st.ends[i] <= st.told {
					counts[id] = max(counts[id], n)
				}
			}
		}
	}
	return counts
}

// contents is what the shards hold together. Each partition has one owner.
func (p *pair) contents(what string) (all [rigPartitions][]entry) {
	p.Helper()
	var owners [rigPartitions]int
	for _, r := range p.shards {
		r.checkSequences()
		for _, part := range r.owned {
			owners[part.ID]++
			all[part.ID] = history(part)
		}
	}
	if owners != [rigPartitions]int{1, 1, 1, 1} {
		p.Fatalf("%s: owners of the partitions: %v", what, owners)
	}
	return all
}

// holds fails the test unless next holds a prefix of what was sent, with all that was
// acknowledged.
func (p *pair) holds(what string, next *pair, kept bool) {
	p.Helper()
	ack := Durable
	if kept {
		ack = Written
	}
	least := p.acked(ack)
	for id, entries := range next.contents(what) {
		have := ids(entries)
		if len(have) > len(p.sent[id]) || !slices.Equal(have, p.sent[id][:len(have)]) {
			p.Fatalf("%s: partition %d holds %v, which is no prefix of %v", what, id, have, p.sent[id])
		}
		if len(have) < least[id] {
			p.Fatalf("%s: partition %d holds %d events, and %d were acknowledged", what, id, len(have), least[id])
		}
		for i := 1; i < len(entries); i++ {
			if entries[i].now < entries[i-1].now {
				p.Fatalf("%s: time runs back in partition %d: %v", what, id, entries)
			}
		}
	}
	p.followed(what, next)
}

// live does n random things, moves among them.
func (p *pair) live(random *rand.Rand, n int) {
	p.watcher = p.watch()
	if random.IntN(2) == 0 {
		p.mover.paces = paces{part: 200, sync: 500, cargo: 800, held: 2}
	}
	keys := [rigPartitions][]string{{"0a", "0b"}, {"1a"}, {"2a", "2b"}, {"3a"}}
	key := func() string { k := keys[random.IntN(rigPartitions)]; return k[random.IntN(len(k))] }
	for range n {
		r := p.shards[random.IntN(len(p.shards))]
		switch random.IntN(12) {
		case 0, 1:
			p.say(random.IntN(2), Ack(random.IntN(3)), key(), key(), key())
		case 2:
			p.say(random.IntN(2), Durable, key())
		case 3, 4, 5, 6:
			p.turn(r)
		case 7, 8:
			r.sync()
		case 9:
			r.write()
		case 10:
			p.time += int64(random.IntN(5)-1) * timeStep / 2 // a clock may run back
			p.move(some(random)...)
		case 11:
			if random.IntN(2) == 0 {
				r.ask(func(error) {})
			} else {
				p.known[random.IntN(2)] = p.route
			}
		}
		if random.IntN(8) == 0 {
			p.watcher.read(p)
		}
		p.look()
	}
}

// some are one to four of the partitions, each once.
func some(random *rand.Rand) (partitions []uint32) {
	for _, id := range random.Perm(rigPartitions)[:1+random.IntN(rigPartitions)] {
		partitions = append(partitions, uint32(id))
	}
	return partitions
}

// bubble runs f with a pair of its own, and ends what is left of its moves.
func bubble(t *testing.T, disk *crashfs.FS, f func(p *pair), change ...func(*Config)) {
	bubbleOf(t, disk, 2, f, change...)
}

// bubbleOf is bubble with so many shards.
func bubbleOf(t *testing.T, disk *crashfs.FS, shards int, f func(p *pair), change ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		p, err := createPair(t, disk, shards, append(change, smallSegments)...)
		if err != nil {
			return // nothing was promised yet
		}
		t.Cleanup(p.abandon)
		f(p)
	})
}

// abandon lets the mover of a pair that is not used any more come to its end.
func (p *pair) abandon() {
	if p.look(); p.moved == nil {
		return
	}
	for _, r := range p.shards {
		r.fail(errors.New("abandoned"))
	}
	for range 100 {
		for _, r := range p.shards {
			p.turn(r)
		}
		p.look()
	}
	if p.moved != nil {
		p.Error("a move does not end with its shards")
	}
}

// Goal: whatever the interleaving, each event is applied once, in the order of
// admission, and acknowledged. Method: random steps of two to four shards, their lanes, two
// producers with old and new routes and a mover; then settle, and look.
func TestMovesAtEveryStepKeepOrderAndAcks(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	moves, together := 0, 0
	for seed := range seeds {
		bubbleOf(t, crashfs.New(), 2+int(seed%3), func(p *pair) {
			p.live(rand.New(rand.NewPCG(seed, 1)), 400)
			p.settle()
			what := fmt.Sprintf("go test ./shard -run %s, seed %d", t.Name(), seed)
			if p.moved != nil || len(p.failed) > 0 {
				p.Fatalf("%s: a move has not ended, or failed: %v", what, p.failed)
			}
			for id, entries := range p.contents(what) {
				if !slices.Equal(ids(entries), p.sent[id]) {
					p.Fatalf("%s: partition %d holds %v, sent was %v", what, id, ids(entries), p.sent[id])
				}
			}
			for _, c := range p.calls {
				if !c.call.done() || c.call.slot.err != nil || len(c.call.refused) > 0 {
					p.Fatalf("%s: a call with ack %d: done %v, %v, %v", what, c.ack, c.call.done(), c.call.slot.err, c.call.refused)
				}
			}
			moves, together = moves+p.moves, together+p.together
			next, err := p.reopen(p.disk.Crash(crashfs.Model{}))
			if err != nil {
				p.Fatalf("%s: %v", what, err)
			}
			p.holds(what, next, false)
		})
	}
	if t.Logf("%d moves, %d partitions more than that", moves, together); together == 0 {
		t.Error("nothing has moved together")
	}
}

// Goal: a crash at any point of a move finds one owner of each partition, with all that
// was acknowledged, and the shards go on from there. Method: random lives with moves and
// snapshot rounds, cut off after every operation on the disk.
func TestCrashAfterEveryOperationOfAMoveFindsOneOwner(t *testing.T) {
	t.Parallel()
	seeds, step := uint64(4), 7
	if testing.Short() {
		seeds, step = 2, 11
	}
	for seed := range seeds {
		for n := 1 + int(seed)%step; ; n += step {
			disk, whole := crashfs.New(), false
			disk.StopAfter(n)
			bubbleOf(t, disk, 2+int(seed%3), func(p *pair) {
				p.live(rand.New(rand.NewPCG(seed, 2)), 300)
				whole = disk.Ops() < n
				for _, model := range crashfs.Models(seed + uint64(n)) {
					what := fmt.Sprintf("go test ./shard -run %s, seed %d, after %d operations, %v", t.Name(), seed, n, model)
					next, err := p.reopen(p.disk.Crash(model))
					if err != nil {
						p.Fatalf("%s: %v", what, err)
					}
					p.holds(what, next, model.Data == crashfs.Kept)
					next.goesOn(what)
				}
			})
			if whole {
				break
			}
		}
	}
}

// goesOn fails the test unless a pair that was recovered takes events, moves all
// partitions, and has everything after another crash.
func (p *pair) goesOn(what string) {
	p.Helper()
	for id, entries := range p.contents(what) {
		p.sent[id] = ids(entries)
	}
	for id := range uint32(rigPartitions) {
		p.say(0, Durable, fmt.Sprint(id, "z"))
		p.move(id)
		p.say(1, Durable, fmt.Sprint(id, "z"))
		p.settle()
	}
	if p.moves != rigPartitions || len(p.failed) > 0 {
		p.Fatalf("%s: %d moves, %v", what, p.moves, p.failed)
	}
	for _, c := range p.calls {
		if !c.call.done() || c.call.slot.err != nil {
			p.Fatalf("%s: no ack, or %v", what, c.call.slot.err)
		}
	}
	last, err := p.reopen(p.disk.Crash(crashfs.Model{}))
	if err != nil {
		p.Fatalf("%s, and again: %v", what, err)
	}
	p.holds(what+", and again", last, false)
}

// Goal: a shard that handed a partition over and took no event since can be opened although
// the generation that its snapshot began with was left out, and with it what says that the
// partition was there. Method: a crash within the next round.
func TestPartitionThatLeftBehindAQuietSnapshotIsGone(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		p.say(0, Durable, "0a")
		p.settle()
		p.shards[0].ask(func(error) {})
		p.settle()
		p.move(0)
		p.settle()
		p.shards[0].ask(func(error) {})
		for j, number := &p.shards[0].log, p.shards[0].log.current.last().Number; j.current.last().Number == number || j.rotation != nil; {
			p.turn(p.shards[0])
			p.shards[0].sync()
		}
		for last, again := p, 0; again < 3; again++ {
			next, err := last.reopen(last.disk.Crash(crashfs.Model{Data: crashfs.Kept}))
			if err != nil {
				p.Fatalf("open %d: %v", again, err)
			}
			p.holds("opened again", next, true)
			last = next
		}
	})
}
