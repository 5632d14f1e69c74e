package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: nothing that an earlier user of an ack slot has left behind, such as a wake-up
// that came too late for it, is taken for the acknowledgement of the next user.
//
// Method: a Flush that gives up makes the shard send such a wake-up. The slot of that
// producer goes to a batch, whose sync is held up: it must wait, and a power cut must
// not take back what it was told.
func TestLateWakeUpOfAProducerAcknowledgesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := counters("counters")
		l := newLab(t, engine.Options{Shards: 1, Partitions: 4}, table)
		ctx := context.Background()

		release := l.holdSyncs()
		p, err := table.Producer(engine.ProducerOptions[string, int64]{})
		must(t, err)
		must(t, p.Send(ctx, "k", 1))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.Flush(short); !errors.Is(err, engine.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("flush without a sync: %v", err)
		}
		release()
		synctest.Wait()
		must(t, p.Close(ctx))

		release = l.holdSyncs()
		defer release()
		told := make(chan error, 1)
		b := l.engine.Batch()
		table.Put(b, "k", 1, nil)
		go func() { told <- b.Do(ctx) }()
		synctest.Wait()
		select {
		case err := <-told:
			t.Fatalf("the batch was told %v while its sync was held up", err)
		default:
		}
		release()
		must(t, <-told)
	})
}

// Goal: the slot of a cancelled call is not used again before the shard has let go of
// it, so that every call gets its own answer and none gets that of another.
func TestSlotsOfCancelledCallsAreNotUsedAgainEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		echo := engine.NewTable(engine.Spec[int64, int64, int64, int64]{
			Name:  "echo",
			Apply: func(_ *engine.Context[int64], s *int64, e int64) int64 { *s++; return e },
		})
		l := newLab(t, engine.Options{Shards: 2, Partitions: 16}, echo)
		release := l.holdSyncs()
		const each = 50
		ctx, cancel := context.WithCancel(context.Background())
		calls := func(ctx context.Context, from int64) chan error {
			errs := make(chan error, each)
			for i := from; i < from+each; i++ {
				go func() {
					v, err := echo.Do(ctx, i%7, i)
					if err == nil && v != i {
						err = fmt.Errorf("call %d got the answer of %d", i, v)
					}
					errs <- err
				}()
			}
			synctest.Wait()
			return errs
		}
		first := calls(ctx, 0)
		cancel()
		for range each {
			if err := <-first; !errors.Is(err, engine.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled: %v", err)
			}
		}
		second := calls(context.Background(), 1000)
		if len(second) != 0 {
			t.Fatalf("a call was told %v by the ack of a cancelled one", <-second)
		}
		release()
		third := calls(context.Background(), 2000) // takes what was released
		for range each {
			must(t, <-second)
			must(t, <-third)
		}
		total := int64(0)
		for _, n := range everything(t, echo) {
			total += n
		}
		if total != 3*each {
			t.Errorf("%d events were done, want %d", total, 3*each)
		}
	})
}

// Goal: a cancelled call's event is there afterwards, or not, but never twice.
func TestCancellingAfterAdmissionLeavesTheEventOnceOrNotAtAll(t *testing.T) {
	for _, survival := range []crashfs.Survival{crashfs.Lost, crashfs.Kept, crashfs.Torn} {
		synctest.Test(t, func(t *testing.T) {
			table := sums("sums")
			l := newLab(t, smallStore(), table)
			do(t, table, "k", 1)
			release := l.holdSyncs()
			ctx, cancel := context.WithCancel(context.Background())
			told := make(chan error, 1)
			go func() { _, err := table.Do(ctx, "k", 10); told <- err }()
			synctest.Wait()
			cancel()
			if err := <-told; !errors.Is(err, engine.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) || engine.OutcomeOf(err) != engine.Unknown {
				t.Fatalf("cancelled after admission: %v", err)
			}
			next := l.disk.Crash(crashfs.Model{Data: survival, Seed: 1})
			release()
			_ = l.engine.Close()
			l.disk = next
			l.open()
			if s, _ := get(t, table, "k"); s != (sum{1, 1, 1}) && s != (sum{2, 11, 10}) {
				t.Errorf("%v: %+v", survival, s)
			}
		})
	}
}

func TestCancelledCallWhoseShardGoesOnIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := sums("sums")
		l := newLab(t, smallStore(), table)
		release := l.holdSyncs()
		ctx, cancel := context.WithCancel(context.Background())
		told := make(chan error, 1)
		go func() { _, err := table.Do(ctx, "k", 10); told <- err }()
		synctest.Wait()
		cancel()
		if err := <-told; engine.OutcomeOf(err) != engine.Unknown {
			t.Fatal(err)
		}
		release()
		do(t, table, "k", 1)
		l.reopen()
		if s, _ := get(t, table, "k"); s != (sum{2, 11, 1}) {
			t.Errorf("%+v", s)
		}
	})
}

func TestCancellingBeforeAdmissionDoesNothing(t *testing.T) {
	table := sums("sums")
	newLab(t, smallStore(), table)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := table.Do(ctx, "k", 1)
	if !errors.Is(err, context.Canceled) || engine.OutcomeOf(err) != engine.NotDone {
		t.Errorf("%v is %v", err, engine.OutcomeOf(err))
	}
	if _, found := get(t, table, "k"); found {
		t.Error("the event was done")
	}
}
