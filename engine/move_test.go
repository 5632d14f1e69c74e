package engine_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

var (
	moveCount = flag.Int("moves", 200, "how many partitions a test moves under load")
	moveSeed  = flag.Uint64("moves.seed", 1, "seed of the moves")
)

// A crowd sends events to an ordered table in every way there is, until it is stopped.
// Each member has keys of its own, and sends the events of a key in their order.
type crowd struct {
	t       *testing.T
	table   *engine.Table[string, int64, int64, struct{}]
	engine  *engine.Engine
	stop    atomic.Bool
	members sync.WaitGroup

	mu   sync.Mutex
	want map[string]int64
}

const crowdKeys = 40 // of each member

func newCrowd(t *testing.T, e *engine.Engine, table *engine.Table[string, int64, int64, struct{}], want map[string]int64) *crowd {
	c := &crowd{t: t, table: table, engine: e, want: want}
	c.join("durable", func(name string) { c.call(name, engine.Durable) })
	c.join("written", func(name string) { c.call(name, engine.Written) })
	c.join("applied", func(name string) { c.call(name, engine.Applied) })
	c.join("batch", c.batch)
	c.join("producer", c.produce)
	c.join("source-a", c.consume)
	c.join("source-b", c.consume)
	c.members.Go(c.look)
	return c
}

func (c *crowd) join(name string, member func(name string)) {
	c.members.Go(func() { member(name) })
}

// end stops the crowd, and waits until everything that it sent was acknowledged.
func (c *crowd) end() {
	c.stop.Store(true)
	c.members.Wait()
}

// own is a member's count of the events that it has sent.
func (c *crowd) own(name string) (keys []string, next []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range crowdKeys {
		keys = append(keys, fmt.Sprint(name, "-", i))
		next = append(next, c.want[keys[i]])
	}
	return keys, next
}

func (c *crowd) done(keys []string, next []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range keys {
		c.want[k] = next[i]
	}
}

func (c *crowd) call(name string, ack engine.Ack) {
	keys, next := c.own(name)
	for i := 0; !c.stop.Load(); i = (i + 1) % crowdKeys {
		next[i]++
		if _, err := c.table.Do(context.Background(), keys[i], next[i], ack); err != nil {
			c.t.Errorf("%s: %v", keys[i], err)
			return
		}
	}
	c.done(keys, next)
}

func (c *crowd) batch(name string) {
	keys, next := c.own(name)
	b := c.engine.Batch()
	states := make([]engine.StateResult[int64], crowdKeys)
	for !c.stop.Load() {
		for i, k := range keys {
			c.table.Put(b, k, next[i]+1, nil)
			c.table.Put(b, k, next[i]+2, nil)
			next[i] += 2
			c.table.Read(b, k, &states[i])
		}
		if err := b.Do(context.Background()); err != nil {
			c.t.Errorf("batch: %v", err)
			return
		}
		for i := range states {
			if states[i].State != next[i] {
				c.t.Errorf("%s: read %d behind event %d", keys[i], states[i].State, next[i])
				return
			}
		}
	}
	c.done(keys, next)
}

func (c *crowd) produce(name string) {
	ctx := context.Background()
	keys, next := c.own(name)
	p, err := c.table.Producer(engine.ProducerOptions[string, int64]{})
	for round := 0; err == nil && !c.stop.Load(); round++ {
		for i, k := range keys {
			next[i]++
			err = errors.Join(err, p.Send(ctx, k, next[i]))
		}
		if err == nil && round%50 == 49 {
			err = p.Flush(ctx)
		}
	}
	if err = errors.Join(err, p.Close(ctx)); err != nil {
		c.t.Errorf("producer: %v", err)
	}
	c.done(keys, next)
}

func (c *crowd) consume(name string) {
	keys, next := c.own(name)
	polled, settled := uint64(0), atomic.Uint64{}
	f, err := c.table.Consume(context.Background(), pollFunc(func(records []numbered) (n int, err error) {
		if polled-settled.Load() > 4096 {
			return 0, nil // Settled is called while something is in flight
		}
		for ; n < min(len(records), 100); n++ {
			i := int(polled % crowdKeys)
			next[i]++
			records[n] = numbered{Key: keys[i], Event: next[i]}
			polled++
		}
		if c.stop.Load() {
			err = io.EOF
		}
		return n, err
	}), engine.SourceOptions[string, int64]{Settled: func(n uint64) { settled.Store(n) }})
	if err == nil {
		err = f.Wait(context.Background())
	}
	if err != nil || settled.Load() != polled {
		c.t.Errorf("%s: %v; settled %d of %d", name, err, settled.Load(), polled)
	}
	c.done(keys, next)
}

// look scans, reads and takes snapshots while partitions move.
func (c *crowd) look() {
	ctx := context.Background()
	for !c.stop.Load() {
		seen := map[string]bool{}
		for entry, err := range c.table.All(ctx) {
			if err != nil || seen[entry.Key] {
				c.t.Errorf("All: %v; %q again: %v", err, entry.Key, seen[entry.Key])
				return
			}
			seen[entry.Key] = true
		}
		stats, err := c.engine.Stats(ctx)
		if err == nil {
			err = c.engine.Snapshot(ctx)
		}
		if err != nil || len(stats.Shards) == 0 {
			c.t.Errorf("%v, %+v", err, stats)
			return
		}
	}
}

func (c *crowd) check(what string) {
	c.t.Helper()
	count := 0
	for entry, err := range c.table.All(context.Background()) {
		must(c.t, err)
		count++
		if entry.State != c.want[entry.Key] {
			c.t.Fatalf("%s: %q is at event %d, want %d", what, entry.Key, entry.State, c.want[entry.Key])
		}
	}
	for _, n := range c.want {
		if n > 0 {
			count--
		}
	}
	if count != 0 {
		c.t.Fatalf("%s: %d keys too many", what, count)
	}
}

// Goal: nobody who sends events, reads or scans notices that partitions move and the
// number of shards changes, and what was acknowledged survives. Method: many of all kinds
// on a few partitions, which move all the time, then a close or a crash, again and again.
// Longer: -moves 10000.
func TestNobodyNoticesMovesUnderLoad(t *testing.T) {
	const partitions, shards, lives = 8, 3, 4
	table := ordered("ordered")
	options := engine.Options{Shards: shards, Partitions: partitions, SegmentBytes: 64 << 10, SnapshotBytes: 256 << 10}
	l := newLab(t, options, table)
	random := rand.New(rand.NewPCG(*moveSeed, 0))
	want := map[string]int64{}
	for life := range lives {
		c := newCrowd(t, l.engine, table, want)
		for range *moveCount / lives {
			if random.IntN(10) == 0 {
				must(t, l.engine.Resize(context.Background(), 1+random.IntN(5)))
			} else {
				must(t, l.engine.Move(context.Background(), random.IntN(partitions), random.IntN(shards)))
			}
		}
		c.end()
		stats, err := l.engine.Stats(t.Context())
		must(t, err)
		in, out := uint64(0), uint64(0)
		for _, s := range stats.Shards {
			in, out = in+s.Moves.In, out+s.Moves.Out
		}
		if in != out || in == 0 && *moveCount > 100 {
			t.Errorf("%d partitions have come to shards, %d have gone", in, out)
		}
		what := fmt.Sprintf("go test ./engine -run %s -moves %d -moves.seed %d, life %d", t.Name(), *moveCount, *moveSeed, life)
		c.check(what)
		if life%2 == 0 {
			must(t, l.engine.Snapshot(t.Context())) // so that what was Applied is durable, too
			l.crash(crashfs.Lost)
		} else {
			l.reopen()
		}
		c.engine = l.engine
		c.check(what + ", opened again")
	}
}

// Goal: a buffer that a new route has put together from several leaves in blocks that an
// inbox takes. Method: shards that are stopped while a producer fills a buffer for each, then
// everything moves to one of them.
func TestBuffersThatMovedTogetherLeave(t *testing.T) {
	const shards, partitions = 8, 64
	gate := make(chan struct{})
	table := engine.NewTable(engine.Spec[string, int64, [256]byte, struct{}]{
		Name: "gated",
		Apply: func(c *engine.Context[string], s *int64, e [256]byte) (none struct{}) {
			if e[0] == 1 {
				<-gate
			}
			*s++
			return none
		},
	})
	l := newLab(t, engine.Options{Shards: shards, Partitions: partitions, InboxBytes: 128 << 10, EventBytesMax: 1 << 10, KeyBytesMax: 64}, table)
	p, err := table.Producer(engine.ProducerOptions[string, [256]byte]{})
	must(t, err)
	sent := 0
	for e := ([256]byte{1}); sent < 460; sent++ {
		if sent == 60 {
			e[0] = 0 // all shards are stopped by now, and none is parked
		}
		must(t, p.Send(t.Context(), fmt.Sprint("key-", sent), e))
	}
	close(gate)
	for id := range partitions {
		must(t, l.engine.Move(t.Context(), id, 0))
	}
	must(t, p.Close(t.Context()))
	count := int64(0)
	for entry, err := range table.All(t.Context()) {
		must(t, err)
		count += entry.State
	}
	if count != int64(sent) {
		t.Fatalf("%d events, sent %d", count, sent)
	}
}

func TestMoveOfNothingSaysSo(t *testing.T) {
	table := ordered("ordered")
	l := newLab(t, smallStore(), table)
	ctx := t.Context()
	for _, wrong := range [][2]int{{-1, 0}, {64, 0}, {0, -1}, {0, 2}} {
		if err := l.engine.Move(ctx, wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), "there is no") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.engine.Move(over, 0, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range 2 { // the second time it is there
		must(t, l.engine.Move(ctx, 0, 1))
	}
	l.reopen()
	stats, err := l.engine.Stats(ctx)
	must(t, err)
	if stats.Shards[1].Partitions != 33 || stats.Shards[0].Partitions != 31 {
		t.Errorf("the partition is not where it was: %d and %d", stats.Shards[0].Partitions, stats.Shards[1].Partitions)
	}
	must(t, l.engine.Close())
	if err := l.engine.Move(ctx, 0, 1); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
}

// Goal: the number of shards may change at an open after partitions have moved.
func TestShardsMayChangeAfterMoves(t *testing.T) {
	table := lines("lines")
	l := newLab(t, engine.Options{Shards: 3, Partitions: 16}, table)
	next := map[string]int64{}
	for i, shards := range []int{2, 4, 1, 3} {
		feed(t, table, next, 500)
		for p := range 16 {
			must(t, l.engine.Move(t.Context(), p, (p+i)%len(statsOf(t, l).Shards)))
		}
		feed(t, table, next, 500)
		l.options.Shards = shards
		if i%2 == 0 {
			l.crash(crashfs.Torn)
		} else {
			l.reopen()
		}
		checkLines(t, table, next)
	}
}

func statsOf(t *testing.T, l *lab) engine.Stats {
	t.Helper()
	stats, err := l.engine.Stats(t.Context())
	must(t, err)
	return stats
}
