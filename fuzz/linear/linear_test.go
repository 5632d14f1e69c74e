package linear

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/matrix"
	"github.com/keyfold/keyfold/internal/seam"
)

var (
	histories = flag.Int("linear.histories", 20, "how many histories to record and check")
	seedFlag  = flag.Uint64("linear.seed", 0, "seed of what is random; 0: a new one")
)

const (
	callers    = 6
	keys       = 5
	callsEach  = 40
	partitions = 8
	patience   = time.Minute
)

// A question is what a caller asks for: to add an event, or to read.
type question struct {
	key   int
	event uint64 // 0: a read
}

// An answer is the state behind the call; nobody knows it if the outcome is unknown.
type answer struct {
	state   uint64
	unknown bool
}

// folded is the state behind an event: it tells which events made it, in which order.
func folded(state, event uint64) uint64 { return (state ^ event) * 0x100000001b3 }

// model is a key at a time. A call whose outcome is unknown has no end, so that it may
// have taken effect behind everything else, which is as good as never.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := make([][]porcupine.Operation, keys)
		for _, op := range history {
			key := op.Input.(question).key
			by[key] = append(by[key], op)
		}
		return by
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		at, q, a := state.(uint64), input.(question), output.(answer)
		if q.event != 0 {
			at = folded(at, q.event)
		}
		return a.unknown || a.state == at, at
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

// A recorder is a store and the history of the calls on it.
type recorder struct {
	disk   *crashfs.FS
	shards int
	engine *engine.Engine
	table  *engine.Table[string, uint64, uint64, uint64]
	clock  atomic.Int64 // counts begins and ends: each Add publishes to the next
	events atomic.Uint64

	mu      sync.Mutex
	history []porcupine.Operation // guarded by mu
}

func (r *recorder) open() error {
	r.table = engine.NewTable(engine.Spec[string, uint64, uint64, uint64]{
		Name:  "states",
		Apply: func(_ *engine.Context[string], s *uint64, e uint64) uint64 { *s = folded(*s, e); return *s },
	})
	o := engine.Options{
		Shards: r.shards, Partitions: partitions, SegmentBytes: 4 << 10, SnapshotBytes: 8 << 10, Spin: -1, Pin: engine.PinOff,
		Environment: &seam.Environment{FS: r.disk, Now: func() int64 { return time.Now().UnixNano() }},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := engine.Open(ctx, "/store", o, r.table)
	r.engine = e
	return err
}

// call asks one question. It says whether the caller can go on.
func (r *recorder) call(client int, q question) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	key := fmt.Sprint("key-", q.key)
	op := porcupine.Operation{ClientId: client, Input: q, Call: r.clock.Add(1)}
	var a answer
	var err error
	if q.event != 0 {
		a.state, err = r.table.Do(ctx, key, q.event, engine.Durable)
	} else {
		a.state, _, err = r.table.Get(ctx, key, engine.OnlyDurable)
	}
	op.Return = r.clock.Add(1)
	switch {
	case err == nil:
	case q.event == 0 || engine.OutcomeOf(err) == engine.NotDone:
		return false
	default:
		a.unknown, op.Return = true, math.MaxInt64
	}
	op.Output = a
	r.mu.Lock()
	r.history = append(r.history, op)
	r.mu.Unlock()
	return err == nil
}

// ask lets all callers ask at once, while partitions move and snapshots are taken, and
// waits for them.
func (r *recorder) ask(random *rand.Rand, first int) {
	var group sync.WaitGroup
	done := make(chan struct{})
	for i := range callers {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() {
			for range callsEach {
				q := question{key: own.IntN(keys)}
				if own.IntN(3) > 0 {
					q.event = r.events.Add(1)
				}
				if !r.call(first+i, q) {
					return
				}
			}
		})
	}
	own := rand.New(rand.NewPCG(random.Uint64(), 0))
	var beside sync.WaitGroup
	beside.Go(func() { r.disturb(own, done) })
	group.Wait()
	close(done)
	beside.Wait()
}

// disturb moves partitions and takes snapshots until done.
func (r *recorder) disturb(random *rand.Rand, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if random.IntN(4) == 0 {
			_ = r.engine.Snapshot(ctx) // a crash may come in between
		} else if err := r.engine.Move(ctx, random.IntN(partitions), random.IntN(r.shards)); err != nil {
			<-done
		}
		cancel()
	}
}

// record is a history through two lives, with a crash in between.
func record(random *rand.Rand) ([]porcupine.Operation, error) {
	r := &recorder{disk: crashfs.New(), shards: 2 + random.IntN(2)}
	if err := r.open(); err != nil {
		return nil, err
	}
	r.disk.StopAfter(r.disk.Ops() + 20 + random.IntN(600))
	r.ask(random, 0)
	model := crashfs.Models(random.Uint64())[random.IntN(9)]
	left := r.disk.Crash(model)
	_ = r.engine.Close() // its disk is gone
	r.disk, r.shards = left, 2+random.IntN(2)
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("after %v: %w", model, err)
	}
	r.ask(random, callers)
	for key := range keys {
		if !r.call(2*callers, question{key: key}) {
			return nil, errors.New("a read of a store that is well fails")
		}
	}
	return r.history, r.engine.Close()
}

// Goal: Do with a durable ack and Get of durable states are linearizable, through moves,
// snapshots and a crash. Method: record histories of many callers and check each; calls
// that the crash has overtaken may have taken effect or not.
func TestCallsAreLinearizableThroughMovesAndACrash(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	began, calls := time.Now(), 0
	for i := range *histories {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		history, err := record(random)
		if err != nil {
			t.Fatalf("history %d of seed %d: %v", i, seed, err)
		}
		calls += len(history)
		if result := porcupine.CheckOperationsTimeout(model, history, patience); result != porcupine.Ok {
			t.Fatalf("history %d of seed %d: %v; repeat with -linear.seed %d -linear.histories %d, as far as the scheduler lets you", i, seed, result, seed, i+1)
		}
	}
	t.Logf("%d calls in %d histories", calls, *histories)
	err := matrix.Add(matrix.Row{
		Row: "R16", Name: "histories of Do and Get through moves and a crash", Goal: "linearizable (porcupine)",
		Cycles: int64(*histories), Checked: int64(calls), Seed: seed, Seconds: time.Since(began).Seconds(),
	})
	if err != nil {
		t.Error(err)
	}
}

// The checker would see it: a history with one answer exchanged is refused.
func TestAWrongAnswerIsSeen(t *testing.T) {
	history, err := record(rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range history {
		if a := history[i].Output.(answer); !a.unknown {
			history[i].Output = answer{state: a.state + 1}
			break
		}
	}
	if result := porcupine.CheckOperationsTimeout(model, history, patience); result != porcupine.Illegal {
		t.Fatalf("a wrong answer is %v", result)
	}
}
