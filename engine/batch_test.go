package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// Goal: a batch over several tables and shards gives each operation its result, in
// the order of the calls for equal keys, and a read sees the puts before it.
func TestBatchGivesEachOperationItsResultInOrder(t *testing.T) {
	money, log := counters("money"), lines("log")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 3, Partitions: 64}, money, log)
	const keys, rounds = 40, 5
	b := store.Engine().Batch()
	added := make([]engine.Result[int64], keys*rounds)
	lined := make([]engine.Result[bool], keys*rounds)
	read := make([]engine.StateResult[int64], keys*rounds)
	var none engine.StateResult[int64]
	for i := range keys * rounds {
		k := fmt.Sprint("k", i%keys)
		money.Put(b, k, 2, &added[i])
		log.Put(b, k, int64(i/keys), &lined[i])
		money.Read(b, k, &read[i])
		money.Put(b, k, 1, nil)
	}
	money.Read(b, "nobody", &none)
	if b.Len() != 4*keys*rounds+1 {
		t.Errorf("Len is %d", b.Len())
	}
	must(t, b.Do(context.Background()))
	for i := range keys * rounds {
		want := int64(3*(i/keys) + 2)
		if added[i].Err != nil || added[i].Value != want || !lined[i].Value || lined[i].Err != nil {
			t.Fatalf("operation %d: %+v, %+v; want %d", i, added[i], lined[i], want)
		}
		if read[i].Err != nil || !read[i].Found || read[i].State != want {
			t.Fatalf("read %d: %+v, want %d", i, read[i], want)
		}
	}
	if none.Found || none.Err != nil {
		t.Errorf("a key that is not there: %+v", none)
	}
	if b.Len() != 0 {
		t.Errorf("%d operations are left in the batch", b.Len())
	}
	must(t, b.Do(context.Background()))
	store.CrashAndReopen(enginetest.PowerLost)
	if n, _ := get(t, money, "k0"); n != 3*rounds {
		t.Errorf("the batch was done more than once: %d", n)
	}
}

func TestBatchReturnsTheFirstErrorAndDoesTheRest(t *testing.T) {
	checks := 0
	table, stranger := accounts(&checks), counters("stranger")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 1, Partitions: 4}, table)
	enginetest.Open(t, stranger)
	b := store.Engine().Batch()
	var good, poor, foreign engine.Result[int64]
	var read engine.StateResult[int64]
	table.Put(b, "a", 1, &good)
	table.Put(b, "a", -2, &poor)
	stranger.Put(b, "a", 1, &foreign)
	stranger.Read(b, "a", nil)
	table.Read(b, "a", &read)
	if err := b.Do(context.Background()); err == nil {
		t.Error("no error")
	}
	if good.Err != nil || good.Value != 1 || !errors.Is(poor.Err, errPoor) || !errors.Is(foreign.Err, engine.ErrClosed) || read.State != 1 {
		t.Errorf("%+v %+v %+v %+v", good, poor, foreign, read)
	}
	if _, found := get(t, stranger, "a"); found {
		t.Error("the table of another engine was changed")
	}
}

func TestBatchWhoseContextEndsSaysWhatIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := counters("a")
		l := newLab(t, smallStore(), table)
		ctx, cancel := context.WithCancel(context.Background())
		release := l.holdSyncs()
		b := l.engine.Batch()
		results := make([]engine.Result[int64], 20)
		for i := range results {
			table.Put(b, fmt.Sprint(i), 1, &results[i])
		}
		told := make(chan error, 1)
		go func() { told <- b.Do(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-told; !errors.Is(err, engine.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		for i, r := range results {
			if engine.OutcomeOf(r.Err) != engine.Unknown {
				t.Errorf("operation %d: %v", i, r.Err)
			}
		}
		release()
		table.Put(b, "0", 1, &results[0])
		if err := b.Do(ctx); !errors.Is(err, context.Canceled) || engine.OutcomeOf(results[0].Err) != engine.NotDone {
			t.Errorf("under an ended context: %v, %v", err, results[0].Err)
		}
		table.Put(b, "0", 1, &results[0])
		must(t, b.Do(context.Background()))
		if results[0].Value != 2 {
			t.Errorf("%+v: the cancelled batch was done, the other one not", results[0])
		}
	})
}

// Goal: a batch that is larger than all inboxes together goes through, in order.
func TestBatchMayBeLargerThanTheInboxes(t *testing.T) {
	table := lines("lines")
	store := enginetest.OpenOptions(t, engine.Options{Shards: 2, Partitions: 16, EventBytesMax: 64, KeyBytesMax: 64, InboxBytes: 4 << 10}, table)
	b := store.Engine().Batch()
	for i := range int64(30000) {
		table.Put(b, fmt.Sprint(i%3), i/3, nil)
	}
	if err := b.Do(context.Background(), engine.Applied); err != nil {
		t.Fatal(err)
	}
	checkLines(t, table, map[string]int64{"0": 10000, "1": 10000, "2": 10000})
}
