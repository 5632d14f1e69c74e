package fuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A throng is everybody who can use a store, all at once. What it must hold afterwards is known
// of the table of sums; the other one is for those who only get in the way.
type throng struct {
	*testing.T
	random  *rand.Rand
	ctx     context.Context
	options engine.Options
	disk    *crashfs.FS
	engine  *engine.Engine
	sums    *engine.Table[string, int64, int64, int64]
	noise   *engine.Table[string, int64, int64, int64]

	group  sync.WaitGroup
	steps  atomic.Int64  // left until there is enough
	enough chan struct{} // closed then
	stop   chan struct{} // closed when everybody has to come back
	fault  string        // of the disk, in words

	counts   [3]tallied // by who counts
	ids      []identified
	sent     uint64           // the last sequence of the stream
	seen     map[string]int64 // sums, by whoever follows the changes
	position engine.Position  // of the same
}

// tallied is how many events somebody has sent to one key, and was told to be done.
type tallied struct{ tried, done int64 }

// identified is an event that is sent more than once.
type identified struct {
	id  engine.EventID
	key string
}

const (
	throngSteps = 1500 // of a life, about
	throngLives = 4
)

// newThrong makes a store for everybody.
func newThrong(t *testing.T, random *rand.Rand) *throng {
	g := &throng{T: t, random: random, disk: crashfs.New(), enough: make(chan struct{}), stop: make(chan struct{}), seen: map[string]int64{}}
	g.steps.Store(int64(random.IntN(2 * throngSteps)))
	g.sums = engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "sums", Once: engine.Once{IDs: 1 << 16}, Apply: func(_ *engine.Context[string], s *int64, e int64) int64 { *s += e; return *s },
	})
	g.noise = engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "noise", TTL: engine.TTL{Idle: 50 * time.Millisecond},
		Apply: func(c *engine.Context[string], s *int64, e int64) int64 {
			if *s += e; *s%17 == 0 {
				c.SetTimer(c.Now().Add(time.Millisecond))
			}
			return *s
		},
		OnTimer: func(_ *engine.Context[string], s *int64) { *s++ },
	})
	g.options = engine.Options{
		Shards: 1 + random.IntN(3), Partitions: 1 << random.IntN(7), InboxBytes: 64 << 10, SegmentBytes: 4 << 10,
		SnapshotBytes: int64(2<<10 + random.IntN(20<<10)), Sync: engine.SyncMode(random.IntN(2)), SyncInterval: time.Millisecond,
		Rebalance: engine.RebalanceMode(random.IntN(3)), EventBytesMax: 2 << 10, KeyBytesMax: 64,
	}
	if random.IntN(2) == 0 {
		g.options.KeepLog.Bytes = 1 << (10 + 30*random.IntN(2))
	}
	return g
}

// everythingKept says that no change is ever trimmed.
func (g *throng) everythingKept() bool { return g.options.KeepLog.Bytes == 1<<40 }

func (g *throng) open() {
	g.options.Environment = &seam.Environment{FS: g.disk, Now: func() int64 { return time.Now().UnixNano() }, Seed: hashSeed}
	e, err := engine.Open(g.ctx, "/store", g.options, g.sums, g.noise)
	if err != nil {
		g.Fatal("open: ", g.fault, " ", err)
	}
	g.engine = e
}

// breakDisk has operations of one kind fail, one or some hundred in a row.
func (g *throng) breakDisk() {
	kind, at := kinds[g.random.IntN(len(kinds))], int64(1+g.random.IntN(3000))
	run, err := int64(1+g.random.IntN(2)*400), []error{crashfs.ErrIO, crashfs.ErrFull}[g.random.IntN(2)]
	g.fault = fmt.Sprintf("%v number %d to %d: %v", kind, at, at+run-1, err)
	var seen atomic.Int64
	g.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == kind {
			if n := seen.Add(1); n >= at && n < at+run {
				return err
			}
		}
		return nil
	})
}

// each has somebody do something again and again until everybody has to come back.
func (g *throng) each(do func(r *rand.Rand)) {
	r := rand.New(rand.NewPCG(g.random.Uint64(), 0))
	g.group.Go(func() {
		for {
			select {
			case <-g.stop:
				return
			default:
				do(r)
			}
		}
	})
}

// step counts what was done, and says whether there is more to do.
func (g *throng) step() bool {
	left := g.steps.Add(-1)
	if left == 0 {
		close(g.enough)
	}
	return left > 0
}

// soon is a context that ends after some moments, or not.
func (g *throng) soon(r *rand.Rand) (context.Context, context.CancelFunc) {
	if r.IntN(2) == 0 {
		return context.WithCancel(g.ctx)
	}
	return context.WithTimeout(g.ctx, time.Duration(r.IntN(3000))*time.Microsecond)
}

// begin has everybody begin.
func (g *throng) begin() {
	for i := range g.counts {
		g.each(func(*rand.Rand) { g.count(i) })
	}
	for _, do := range []func(*rand.Rand){g.repeat, g.stream, g.follow, g.call, g.call, g.produce, g.consume, g.look, g.move, g.operate} {
		g.each(do)
	}
}

// count sends an event, and knows whether it must be there.
func (g *throng) count(i int) {
	if !g.step() {
		return
	}
	c := &g.counts[i]
	switch _, err := g.sums.Do(g.ctx, fmt.Sprint("count", i), 1); engine.OutcomeOf(err) {
	case engine.Done:
		c.tried, c.done = c.tried+1, c.done+1
	case engine.Unknown:
		c.tried++
	}
}

// repeat sends an event under an id, perhaps twice.
func (g *throng) repeat(r *rand.Rand) {
	if len(g.ids) == throngSteps {
		return
	}
	one := identified{engine.NewEventID(), fmt.Sprint("id", r.IntN(20))}
	g.ids = append(g.ids, one)
	for range 1 + r.IntN(2) {
		ctx, cancel := g.soon(r)
		_, _ = g.sums.DoOnce(ctx, one.id, one.key, 1)
		cancel()
	}
}

// streamed is the key of an event of the stream.
func streamed(sequence uint64) string { return fmt.Sprint("stream", sequence%50) }

// stream sends some more of a stream with a name, from where it has to.
func (g *throng) stream(r *rand.Rand) {
	_ = g.streamUpTo(min(g.sent+uint64(r.IntN(300)), 20*throngSteps), r)
}

func (g *throng) streamUpTo(end uint64, r *rand.Rand) error {
	p, err := g.sums.Producer(engine.ProducerOptions[string, int64]{Name: "stream", InFlightMax: 1 + r.IntN(500), Refused: func(string, int64, error) {}})
	if err != nil {
		return err
	}
	next, err := p.Resume(g.ctx)
	for ; err == nil && next <= end; next++ {
		if err = p.SendAt(g.ctx, next, streamed(next), 1); err == nil {
			g.sent = max(g.sent, next)
		}
	}
	return errors.Join(err, p.Close(g.ctx))
}

// follow reads changes of the sums for a moment, and knows what each has left.
func (g *throng) follow(r *rand.Rand) {
	ctx, cancel := g.soon(r)
	defer cancel()
	_ = g.followFor(ctx, engine.ChangesOptions{Stop: r.IntN(2) == 0, States: r.IntN(2) == 0})
}

func (g *throng) followFor(ctx context.Context, options engine.ChangesOptions) error {
	changes, err := g.sums.Changes(g.ctx, g.position, options)
	if err != nil {
		return g.followAgain(err)
	}
	defer changes.Close()
	for c, err := range changes.All(ctx) {
		if err != nil {
			return g.followAgain(err)
		}
		g.seen[c.Key] += c.Event
		if sum, ok := changes.State(); ok && sum != g.seen[c.Key] {
			g.Errorf("%s: change %d of partition %d has left %d of %q, want %d", g.fault, c.Sequence, c.Partition, sum, c.Key, g.seen[c.Key])
		}
		g.position = changes.Position()
	}
	return nil
}

// followAgain begins with the states of now, if it comes too late.
func (g *throng) followAgain(err error) error {
	if !errors.Is(err, engine.ErrTrimmed) {
		return err
	}
	if g.everythingKept() {
		g.Errorf("%s: all is kept, and yet: %v", g.fault, err)
	}
	g.seen = map[string]int64{}
	if g.position, err = g.sums.States(g.ctx, func(key string, sum int64) error { g.seen[key] = sum; return nil }); err != nil {
		g.seen = map[string]int64{}
	}
	return err
}

// call makes a call of whatever kind.
func (g *throng) call(r *rand.Rand) {
	ctx, cancel := g.soon(r)
	defer cancel()
	key := fmt.Sprint(r.IntN(300))
	switch ack := engine.Ack(r.IntN(3)); r.IntN(5) {
	case 0:
		_, _, _ = g.sums.Get(ctx, key)
	case 1:
		batch := g.engine.Batch()
		for range r.IntN(100) {
			g.noise.Put(batch, key, 1, nil)
			g.sums.Read(batch, key, nil)
		}
		_ = batch.Do(ctx, ack)
	case 2:
		_, _ = g.noise.TryDo(ctx, key, 1, ack)
	default:
		_, _ = g.noise.Do(ctx, key, 1, ack)
	}
}

func (g *throng) produce(r *rand.Rand) {
	p, err := g.noise.Producer(engine.ProducerOptions[string, int64]{Ack: engine.Ack(r.IntN(3)), InFlightMax: 1 + r.IntN(500)})
	if err != nil {
		return
	}
	for range r.IntN(500) {
		_ = p.Send(g.ctx, fmt.Sprint(r.IntN(300)), 1)
	}
	_ = p.Close(g.ctx)
}

// A pouring is a source of some events.
type pouring struct{ left int }

// Poll gives them.
func (p *pouring) Poll(records []engine.Record[string, int64]) (n int, err error) {
	for ; n < len(records) && p.left > 0; n, p.left = n+1, p.left-1 {
		records[n] = engine.Record[string, int64]{Key: fmt.Sprint(p.left % 300), Event: 1}
	}
	if p.left == 0 {
		err = io.EOF
	}
	return n, err
}

func (g *throng) consume(r *rand.Rand) {
	feed, err := g.noise.Consume(g.ctx, &pouring{r.IntN(1000)}, engine.SourceOptions[string, int64]{Ack: engine.Ack(r.IntN(3))})
	if err != nil {
		return
	}
	if r.IntN(2) == 0 {
		_ = feed.Close(g.ctx)
		return
	}
	_ = feed.Wait(g.ctx)
}

// look looks at all there is.
func (g *throng) look(r *rand.Rand) {
	ctx, cancel := g.soon(r)
	defer cancel()
	switch r.IntN(4) {
	case 0:
		for range g.noise.All(ctx) {
		}
	case 1:
		_, _ = g.engine.Stats(ctx)
	case 2:
		_, _ = g.engine.Replay(ctx, engine.ReplayOptions{SkipTrimmed: true})
	default:
		if changes, err := g.noise.Changes(ctx, engine.Position{}, engine.ChangesOptions{Stop: true, States: true}); err == nil {
			for range changes.All(ctx) {
			}
			_ = changes.Close()
		}
	}
}

func (g *throng) move(r *rand.Rand) {
	if r.IntN(4) == 0 {
		_ = g.engine.Resize(g.ctx, 1+r.IntN(min(4, g.options.Partitions)))
		return
	}
	_ = g.engine.Move(g.ctx, r.IntN(g.options.Partitions), r.IntN(3))
}

func (g *throng) operate(r *rand.Rand) {
	ctx, cancel := g.soon(r)
	defer cancel()
	if r.IntN(2) == 0 {
		_ = g.engine.Snapshot(ctx)
		return
	}
	_ = g.engine.Backup(ctx, io.Discard)
}

// end ends the life of the store while everybody goes on: it is closed, under a deadline or
// not, or its disk is gone. Nobody may stay behind.
func (g *throng) end() {
	<-g.enough
	left := g.disk
	if g.random.IntN(2) == 0 {
		left = g.disk.Crash(crashfs.Model{Data: crashfs.Survival(g.random.IntN(5)), Entries: g.random.IntN(2) == 0, Seed: g.random.Uint64()})
	}
	ctx, cancel := g.soon(g.random)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		_ = g.engine.Shutdown(ctx)
		close(g.stop)
		g.group.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		g.Fatalf("%s: somebody hangs", g.fault)
	}
	left.SetHook(nil)
	g.disk = left
}

// judge opens the store again, sends what is not settled once more, and compares the sums.
func (g *throng) judge() {
	g.open()
	want := map[string]int64{}
	for _, one := range g.ids {
		_, err := g.sums.DoOnce(g.ctx, one.id, one.key, 1)
		must(g.T, err)
		want[one.key]++
	}
	must(g.T, g.streamUpTo(g.sent, g.random))
	for n := uint64(1); n <= g.sent; n++ {
		want[streamed(n)]++
	}
	have := map[string]int64{}
	_, err := g.sums.States(g.ctx, func(key string, sum int64) error { have[key] = sum; return nil }) // all is durable then
	must(g.T, err)
	for key, n := range want {
		if have[key] != n {
			g.Errorf("%s: %q has %d, want %d", g.fault, key, have[key], n)
		}
	}
	for i, c := range g.counts {
		if n := have[fmt.Sprint("count", i)]; n < c.done || n > c.tried {
			g.Errorf("%s: %d of somebody's events are there; %d were sent, and %d acknowledged", g.fault, n, c.tried, c.done)
		}
	}
	for range 2 { // the first may find that it comes too late
		must(g.T, g.followFor(g.ctx, engine.ChangesOptions{Stop: true}))
	}
	for key, n := range have {
		if g.seen[key] != n {
			g.Errorf("%s: changes make %d of %q, want %d", g.fault, g.seen[key], key, n)
		}
	}
	must(g.T, g.engine.Close())
}

// Goal: whatever everybody does at once, while the disk fails or does not, and however the
// store ends: nobody panics or hangs, the store opens again, and has each event that was
// acknowledged, those with an id and those of a stream once, and changes that add up.
func TestEverybodyAtOnce(t *testing.T) {
	random := random(t)
	for life := range throngLives * *rounds {
		g := newThrong(t, random)
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		g.ctx = ctx
		g.open()
		if life%2 == 1 {
			g.breakDisk()
		}
		g.begin()
		g.end()
		g.judge()
		cancel()
		if t.Failed() {
			return
		}
	}
}
