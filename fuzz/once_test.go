package fuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A deed is what one event of the test does: it is number of its key's.
type deed struct {
	key    string
	number uint64
	total  uint64 // of the events of the key up to it
}

// deeds are n events of a few keys, in their order.
func deeds(prefix string, n int) []deed {
	all := make([]deed, n)
	totals := map[string]uint64{}
	for i := range all {
		key := fmt.Sprintf("%s-%d", prefix, i%5)
		totals[key]++
		all[i] = deed{key: key, number: uint64(i + 1), total: totals[key]}
	}
	return all
}

// chain is a state that shows which events were done, how often and in which order.
type chain struct{ Events, Hash uint64 }

func (c *chain) add(number uint64) {
	c.Events++
	c.Hash = (c.Hash ^ number) * 0x100000001b3
}

// A repeater is a program that sends everything again after each crash: events with ids,
// a named producer and a named source.
type repeater struct {
	disk   *crashfs.FS
	random *rand.Rand
	table  *engine.Table[string, chain, uint64, uint64]
	engine *engine.Engine

	calls, sent, given []deed
	resumes            bool // the source can
}

func newRepeater(random *rand.Rand) *repeater {
	return &repeater{
		disk: crashfs.New(), random: random, calls: deeds("call", 24), sent: deeds("sent", 60), given: deeds("given", 60),
		resumes: random.IntN(2) == 0,
	}
}

// open opens the store with some number of shards.
func (r *repeater) open() (err error) {
	r.table = engine.NewTable(engine.Spec[string, chain, uint64, uint64]{
		Name: "chains", Once: engine.Once{IDs: 64},
		Apply: func(_ *engine.Context[string], s *chain, e uint64) uint64 { s.add(e); return s.Events },
	})
	o := small()
	o.Shards = 1 + r.random.IntN(4)
	o.Environment = &seam.Environment{FS: r.disk, Now: func() int64 { return epoch.UnixNano() }, Seed: hashSeed}
	r.engine, err = engine.Open(context.Background(), "/store", o, r.table)
	return err
}

// call does the first n events with ids, and checks what they answer.
func (r *repeater) call(n int) error {
	ctx, cancel := patiently()
	defer cancel()
	for _, d := range r.calls[:n] {
		total, err := r.table.DoOnce(ctx, engine.EventIDOf(fmt.Sprint(d.number)), d.key, d.number)
		if err != nil {
			return mustNotHang(err)
		}
		if total != d.total {
			return violated("event %d of %s answers %d, want %d", d.number, d.key, total, d.total)
		}
	}
	return nil
}

// send sends the first n events of the producer, from where it resumes.
func (r *repeater) send(n int) error {
	ctx, cancel := patiently()
	defer cancel()
	p, err := r.table.Producer(engine.ProducerOptions[string, uint64]{Name: "sender"})
	if err != nil {
		return mustNotHang(err)
	}
	next, err := p.Resume(ctx)
	if err != nil {
		return mustNotHang(err)
	}
	for ; next <= uint64(n); next++ {
		d := r.sent[next-1]
		if err := p.SendAt(ctx, d.number, d.key, d.number); err != nil {
			return mustNotHang(err)
		}
	}
	return mustNotHang(p.Close(ctx))
}

// A tape is a source that begins again whenever it is read.
type tape struct {
	deeds []deed
	at    int
}

func (t *tape) Poll(records []engine.Record[string, uint64]) (n int, err error) {
	for ; n < min(len(records), 7) && t.at < len(t.deeds); n++ {
		records[n] = engine.Record[string, uint64]{Key: t.deeds[t.at].key, Event: t.deeds[t.at].number}
		t.at++
	}
	if t.at >= len(t.deeds) {
		err = io.EOF
	}
	return n, err
}

// A resumableTape goes on where it is told.
type resumableTape struct{ tape }

func (t *resumableTape) Resume(offset uint64) error { t.at = int(offset); return nil }

// feed folds the first n records of the source.
func (r *repeater) feed(n int) error {
	ctx, cancel := patiently()
	defer cancel()
	var source engine.Source[string, uint64] = &tape{deeds: r.given[:n]}
	if r.resumes {
		source = &resumableTape{tape{deeds: r.given[:n]}}
	}
	f, err := r.table.Consume(ctx, source, engine.SourceOptions[string, uint64]{Name: "tape", Partition: 3})
	if err != nil {
		return mustNotHang(err)
	}
	return mustNotHang(f.Wait(ctx))
}

func (r *repeater) move() error {
	for range 4 {
		stats, err := r.engine.Stats(context.Background())
		if err != nil {
			return err
		}
		if err := r.engine.Move(context.Background(), r.random.IntN(8), r.random.IntN(len(stats.Shards))); err != nil {
			return err
		}
	}
	return nil
}

// end closes the store.
func (r *repeater) end() error {
	err := r.engine.Close()
	r.engine = nil
	return err
}

// live sends all of it, some of it twice, until the disk stops. It says whether it came to
// the end.
func (r *repeater) live() (whole bool, err error) {
	snapshot := func() error { return r.engine.Snapshot(context.Background()) }
	for _, step := range []func() error{
		r.open,
		func() error { return r.call(10) },
		func() error { return r.send(20) },
		snapshot,
		func() error { return r.feed(20) },
		r.move,
		func() error { return r.call(16) },
		func() error { return r.send(30) },
		func() error { return r.feed(30) },
		r.end, r.open,
		func() error { return r.feed(len(r.given)) },
		func() error { return r.send(len(r.sent)) },
		r.move, snapshot,
		func() error { return r.call(len(r.calls)) },
		r.check, r.end,
	} {
		if err := step(); err != nil {
			var v violation
			if errors.As(err, &v) {
				return false, err
			}
			return false, nil
		}
	}
	return true, nil
}

// check compares all states with what each event makes once, in its order.
func (r *repeater) check() error {
	want := map[string]chain{}
	for _, all := range [][]deed{r.calls, r.sent, r.given} {
		for _, d := range all {
			c := want[d.key]
			c.add(d.number)
			want[d.key] = c
		}
	}
	shown := 0
	for e, err := range r.table.All(context.Background()) {
		if err != nil {
			return err
		}
		shown++
		if e.State != want[e.Key] {
			return violated("%s is %+v, want %+v", e.Key, e.State, want[e.Key])
		}
	}
	if shown != len(want) {
		return violated("%d keys, want %d", shown, len(want))
	}
	return nil
}

// Goal: whatever is sent again after a crash is done once, in its order, with the first
// answer; also when shards, moves and snapshots come between. Method: a life of a program
// that sends everything again, cut off after an operation of the disk; then it lives
// again from its beginning, on what the crash has left.
func TestWhatIsSentAgainIsDoneOnce(t *testing.T) {
	t.Parallel()
	random := random(t)
	const stride = 3
	crashes := 0
	for stop := random.IntN(stride); ; stop += max(1, stride / *rounds) {
		r := newRepeater(random)
		r.disk.StopAfter(stop)
		whole, err := r.live()
		if whole && err == nil {
			t.Logf("%d crashes in %d operations", crashes, stop)
			return
		}
		for again := 0; !whole && err == nil; again++ {
			crashes++
			left := r.disk.Crash(crashfs.Models(random.Uint64())[random.IntN(9)])
			if r.engine != nil {
				_ = r.engine.Close() // on a disk that is gone
			}
			if r.disk = left; again == 0 && random.IntN(3) == 0 {
				r.disk.StopAfter(random.IntN(200)) // once more
			}
			if whole, err = r.live(); !whole && err == nil && again > 0 {
				err = errors.New("it does not come to its end on a disk that works")
			}
		}
		if err != nil {
			t.Fatalf("stopped after operation %d: %v", stop, err)
		}
	}
}
