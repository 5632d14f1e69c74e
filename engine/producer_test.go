package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// lines keep the order in which their events came: an event must be the number of
// events before it.
func lines(name string) *engine.Table[string, sum, int64, bool] {
	return engine.NewTable(engine.Spec[string, sum, int64, bool]{
		Name: name,
		Apply: func(_ *engine.Context[string], s *sum, e int64) bool {
			if e != s.Count {
				s.Total++ // out of order
			}
			s.Count, s.Last = s.Count+1, e
			return s.Total == 0
		},
	})
}

func checkLines(t *testing.T, table *engine.Table[string, sum, int64, bool], want map[string]int64) {
	t.Helper()
	all := everything(t, table)
	if len(all) != len(want) {
		t.Errorf("%d keys, want %d", len(all), len(want))
	}
	for k, n := range want {
		if s := all[k]; s.Count != n || s.Total != 0 {
			t.Errorf("%s: %d events, %d out of order; want %d", k, s.Count, s.Total, n)
		}
	}
}

// Goal: events with equal keys are applied in the order of the calls, through one
// Producer, through Do, and between the two after a Flush.
func TestOrderOfAKeyIsThatOfItsCalls(t *testing.T) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 3, Partitions: 64, SnapshotBytes: 32 << 10}, table)
	ctx := context.Background()
	p, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	next := map[string]int64{}
	for round := range 8 {
		for i := range 2000 {
			k := fmt.Sprint("k", (i*7+round)%61)
			must(t, p.Send(ctx, k, next[k]))
			next[k]++
		}
		must(t, p.Flush(ctx))
		for i := range 61 {
			k := fmt.Sprint("k", i)
			if !do(t, table, k, next[k], engine.Ack(i%3)) {
				t.Fatalf("round %d, %s: Do was applied out of order", round, k)
			}
			next[k]++
		}
	}
	must(t, p.Close(ctx))
	checkLines(t, table, next)
	store.CrashAndReopen(enginetest.PowerLost)
	checkLines(t, table, next)
}

func TestFlushReturnsOnlyWhenEverythingIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		l := newLab(t, smallStore(), table)
		ctx := context.Background()
		p, err := table.Producer(engine.ProducerOptions[string, int64]{})
		must(t, err)
		release := l.holdSyncs()
		for i := range 100 {
			must(t, p.Send(ctx, fmt.Sprint(i), 0))
		}
		told := make(chan error, 1)
		go func() { told <- p.Flush(ctx) }()
		synctest.Wait()
		if len(told) != 0 {
			t.Fatalf("flush returned %v before the sync", <-told)
		}
		release()
		must(t, <-told)
		must(t, p.Close(ctx))
	})
}

func TestFlushAtAnAckWaitsNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		l := newLab(t, smallStore(), table)
		release := l.holdSyncs()
		for _, ack := range []engine.Ack{engine.Applied, engine.Written} {
			p, err := table.Producer(engine.ProducerOptions[string, int64]{Ack: ack})
			must(t, err)
			must(t, p.Send(context.Background(), "k", int64(ack)))
			must(t, p.Flush(context.Background()))
			must(t, p.Close(context.Background()))
		}
		release()
	})
}

func TestBuffersLeaveAtOnceForAnIdleShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
		p, err := table.Producer(engine.ProducerOptions[string, int64]{})
		must(t, err)
		synctest.Wait() // the shard parks
		must(t, p.Send(context.Background(), "k", 0))
		synctest.Wait()
		if s, _ := get(t, table, "k"); s.Count != 1 {
			t.Error("the event is still in its buffer")
		}
		must(t, p.Close(context.Background()))
	})
}

// Goal: never are more events on their way than InFlightMax, also while the shards
// look idle because they wait for the disk.
func TestInFlightMaxBoundsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 8
		table := lines("lines")
		l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
		release := l.holdSyncs()
		p, err := table.Producer(engine.ProducerOptions[string, int64]{InFlightMax: most})
		must(t, err)
		var sent int64
		for ; sent < 1<<20; sent++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err = p.Send(ctx, "k", sent)
			cancel()
			if err != nil {
				break
			}
			if sent < 64 {
				synctest.Wait() // the shard parks again
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Send never waited: %v", err)
		}
		if s, _ := get(t, table, "k"); s.Count > most {
			t.Errorf("%d events were on their way, at most %d may be", s.Count, most)
		}
		release()
		must(t, p.Flush(context.Background()))
		must(t, p.Close(context.Background()))
		checkLines(t, table, map[string]int64{"k": sent}) // what Send refused was not sent
	})
}

func TestRefusedGetsEveryRefusedEventOnce(t *testing.T) {
	checks := 0
	table := accounts(&checks)
	enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
	refused := map[string]int{}
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Refused: func(k string, e int64, err error) {
		if !errors.Is(err, errPoor) {
			t.Errorf("%s %d: %v", k, e, err)
		}
		refused[fmt.Sprint(k, e)]++
	}})
	must(t, err)
	ctx := context.Background()
	want := map[string]int{}
	for i := range 5000 {
		k := fmt.Sprint("k", i%13)
		must(t, p.Send(ctx, k, 1))
		if i%3 == 0 {
			must(t, p.Send(ctx, k, int64(-1_000_000-i)))
			want[fmt.Sprint(k, -1_000_000-i)]++
		}
	}
	must(t, p.Flush(ctx))
	if !maps.Equal(refused, want) {
		t.Errorf("%d kinds of events were handed back, want %d", len(refused), len(want))
	}
	must(t, p.Flush(ctx))
	must(t, p.Close(ctx))
	if !maps.Equal(refused, want) {
		t.Error("something was handed back twice")
	}
}

func TestFlushReturnsTheFirstRefusalOnceWhenNobodyTakesThem(t *testing.T) {
	checks := 0
	table := accounts(&checks)
	enginetest.Open(t, table)
	p, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	ctx := context.Background()
	must(t, p.Send(ctx, "a", -1))
	must(t, p.Send(ctx, "b", 1))
	if err := p.Flush(ctx); !errors.Is(err, errPoor) {
		t.Errorf("flush: %v", err)
	}
	must(t, p.Flush(ctx))
	if s, _ := get(t, table, "b"); s != 1 {
		t.Errorf("the others came to %d", s)
	}
	must(t, p.Close(ctx))
}

func TestProducerIsClosedOnceAndThenRefuses(t *testing.T) {
	table := lines("lines")
	enginetest.Open(t, table)
	ctx := context.Background()
	p, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	must(t, p.Send(ctx, "k", 0))
	must(t, p.Close(ctx))
	must(t, p.Close(ctx))
	if err := p.Send(ctx, "k", 1); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if err := p.Flush(ctx); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	checkLines(t, table, map[string]int64{"k": 1})
}

// Goal: a producer that outlives its engine loses nothing silently: what was not
// done is handed back.
func TestProducerOfAClosedEngineHandsItsEventsBack(t *testing.T) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 16}, table)
	ctx := context.Background()
	back := map[string]int64{}
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Refused: func(k string, e int64, err error) {
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("%s: %v", k, err)
		}
		back[k]++
	}})
	must(t, err)
	sent := map[string]int64{}
	send := func(n int) {
		for range n {
			k := fmt.Sprint(len(sent) % 50)
			if _, there := sent[k]; there {
				k = fmt.Sprint(len(sent))
			}
			must(t, p.Send(ctx, k, 0))
			sent[k]++
		}
	}
	send(300)
	must(t, store.Engine().Close())
	send(300)
	must(t, p.Flush(ctx))
	must(t, p.Close(ctx))
	store.Reopen(0)
	for k, s := range everything(t, table) {
		back[k] += s.Count
	}
	if !maps.Equal(back, sent) {
		t.Errorf("%d keys were done or handed back, of %d", len(back), len(sent))
	}
}

// Goal: a Flush that gives up leaves the rest in flight, and the next one waits for it.
func TestFlushThatGaveUpIsMadeUpForByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := lines("lines")
		l := newLab(t, smallStore(), table)
		release := l.holdSyncs()
		p, err := table.Producer(engine.ProducerOptions[string, int64]{})
		must(t, err)
		want := map[string]int64{}
		for i := range 3 {
			must(t, p.Send(context.Background(), "k", int64(i)))
			want["k"]++
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if err := p.Flush(ctx); !errors.Is(err, engine.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("flush: %v", err)
			}
			cancel()
		}
		release()
		must(t, p.Flush(context.Background()))
		must(t, p.Close(context.Background()))
		checkLines(t, table, want)
	})
}

func TestDurableIsRefusedWhereNothingIsEverSynced(t *testing.T) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4, Sync: engine.SyncNever}, table)
	ctx := context.Background()
	errs := map[string]error{}
	_, errs["do"] = table.Do(ctx, "k", 0)
	_, errs["try"] = table.TryDo(ctx, "k", 0)
	_, _, errs["get"] = table.Get(ctx, "k", engine.OnlyDurable)
	_, errs["view"] = table.View(ctx, "k", func(*sum) {}, engine.OnlyDurable)
	_, errs["producer"] = table.Producer(engine.ProducerOptions[string, int64]{})
	var result engine.Result[bool]
	b := store.Engine().Batch()
	table.Put(b, "k", 0, &result)
	errs["batch"] = b.Do(ctx)
	errs["result"] = result.Err
	for what, err := range errs {
		if !errors.Is(err, engine.ErrNeverDurable) || engine.OutcomeOf(err) != engine.NotDone {
			t.Errorf("%s: %v", what, err)
		}
	}
	do(t, table, "k", 0, engine.Written)
	checkLines(t, table, map[string]int64{"k": 1})
}

// Goal: Refused may send to its producer: the event that is being sent meanwhile is
// neither lost nor changed. Method: every second try of an event is refused; Refused
// sends it again.
func TestRefusedMaySendAgain(t *testing.T) {
	const events, keys = 5000, 100
	tries := make(map[int64]int) // Check runs on the only shard
	table := engine.NewTable(engine.Spec[int64, int64, int64, struct{}]{
		Name: "retried",
		Check: func(_ *engine.Context[int64], _ *int64, e int64) error {
			if tries[e]++; tries[e] == 1 && e%2 == 0 {
				return errors.New("try again")
			}
			return nil
		},
		Apply: func(_ *engine.Context[int64], s *int64, e int64) struct{} { *s += e; return struct{}{} },
	})
	options := smallStore()
	options.Shards = 1
	newLab(t, options, table)
	var producer *engine.Producer[int64, int64, int64, struct{}]
	producer, err := table.Producer(engine.ProducerOptions[int64, int64]{Refused: func(k, e int64, _ error) {
		if err := producer.Send(t.Context(), k, e); err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[int64]int64)
	for e := int64(1); e <= events; e++ {
		want[e%keys] += e
		if err := producer.Send(t.Context(), e%keys, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := producer.Close(t.Context()); err != nil { // what Refused has sent in the Flush, and in Close
		t.Fatal(err)
	}
	if err := producer.Send(t.Context(), 1, 1); !errors.Is(err, engine.ErrClosed) {
		t.Error("Send behind Close: ", err)
	}
	for k, sum := range want {
		if have, _, err := table.Get(t.Context(), k); err != nil || have != sum {
			t.Errorf("key %d: %d, %v, want %d", k, have, err, sum)
		}
	}
}

// Goal: what was refused is handed back although Refused panics: the rest comes with the
// next Flush.
func TestARefusedThatPanicsLosesNoOther(t *testing.T) {
	table := engine.NewTable(engine.Spec[int64, int64, int64, struct{}]{
		Name:  "never",
		Check: func(*engine.Context[int64], *int64, int64) error { return errors.New("never") },
		Apply: func(*engine.Context[int64], *int64, int64) (none struct{}) { return none },
	})
	options := smallStore()
	options.Shards = 1
	newLab(t, options, table)
	told := 0
	producer, err := table.Producer(engine.ProducerOptions[int64, int64]{Refused: func(int64, int64, error) {
		if told++; told == 3 {
			panic("the third")
		}
	}})
	must(t, err)
	for e := range int64(10) {
		must(t, producer.Send(t.Context(), e, e))
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach who called Flush")
			}
		}()
		_ = producer.Flush(t.Context())
	}()
	must(t, producer.Flush(t.Context()))
	if told != 10 {
		t.Errorf("%d of 10 events were handed back", told)
	}
	must(t, producer.Close(t.Context()))
}
