package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

type numbered = engine.Record[string, int64]

// A pollFunc is a Source by one function.
type pollFunc func(records []numbered) (int, error)

func (f pollFunc) Poll(records []numbered) (int, error) { return f(records) }

// list is a source of so many records: record i is event 1+i/keys of key i%keys of
// those with the prefix. It gives at most a handful at once, and ends together with
// the last.
func list(prefix string, keys, count int) engine.Source[string, int64] {
	at := 0
	return pollFunc(func(records []numbered) (n int, err error) {
		for n < len(records) && n < 1+at%100 && at < count {
			records[n] = numbered{Key: fmt.Sprint(prefix, at%keys), Event: int64(1 + at/keys)}
			n++
			at++
		}
		if at == count {
			err = io.EOF
		}
		return n, err
	})
}

// ordered is a table that refuses any event but the next of its key.
func ordered(name string) *engine.Table[string, int64, int64, struct{}] {
	return engine.NewTable(engine.Spec[string, int64, int64, struct{}]{
		Name: name,
		Check: func(_ *engine.Context[string], s *int64, e int64) error {
			if e != *s+1 {
				return fmt.Errorf("%d behind %d", e, *s)
			}
			return nil
		},
		Apply: func(_ *engine.Context[string], s *int64, e int64) struct{} { *s = e; return struct{}{} },
	})
}

// Goal: what several sources give is folded completely, in the order of each source
// for equal keys, whatever shard reads it and whatever shard owns it, and survives.
func TestSourcesAreFoldedInTheirOrder(t *testing.T) {
	for _, ack := range []engine.Ack{engine.Applied, engine.Written, engine.Durable} {
		table := ordered("ordered")
		options := smallStore()
		options.Shards = 3
		l := newLab(t, options, table)
		const keys, count = 700, 20_000
		var feeds []*engine.Feed
		for i := range 4 {
			f, err := table.Consume(t.Context(), list(fmt.Sprint(i, "-"), keys, count), engine.SourceOptions[string, int64]{Ack: ack})
			must(t, err)
			feeds = append(feeds, f)
		}
		for _, f := range feeds {
			must(t, f.Wait(t.Context()))
			if polled, settled := f.Progress(); polled != count || settled != count {
				t.Errorf("polled %d, settled %d of %d", polled, settled, count)
			}
		}
		l.reopen()
		all := everything(t, table)
		for i := range 4 * keys {
			key := fmt.Sprint(i/keys, "-", i%keys)
			if want := int64((count-1-i%keys)/keys + 1); all[key] != want {
				t.Fatalf("%s: %d events, want %d", key, all[key], want)
			}
		}
	}
}

// Goal: a source is never told that a record is settled which a power cut then takes.
// Method: the disk dies at any moment; every record is a key of its own.
func TestSettledRecordsSurviveAPowerCut(t *testing.T) {
	table := counters("counters")
	l := newLab(t, smallStore(), table)
	for round := range 20 {
		var settled atomic.Uint64
		enough := make(chan struct{})
		prefix := fmt.Sprint(round, "-")
		at := 0
		endless := pollFunc(func(records []numbered) (int, error) {
			for i := range records {
				records[i] = numbered{Key: fmt.Sprint(prefix, at), Event: 1}
				at++
			}
			return len(records), nil
		})
		f, err := table.Consume(t.Context(), endless, engine.SourceOptions[string, int64]{Settled: func(n uint64) {
			if n > uint64(round*500) && settled.Load() <= uint64(round*500) {
				close(enough)
			}
			settled.Store(n)
		}})
		must(t, err)
		<-enough
		told := settled.Load()
		l.crash(crashfs.Lost)
		if err := f.Wait(t.Context()); err == nil {
			t.Error("the feed ended well on a disk that was gone")
		}
		all := everything(t, table)
		for i := range told {
			if key := fmt.Sprint(prefix, i); all[key] != 1 {
				t.Fatalf("round %d: record %d of %d settled ones is not there", round, i, told)
			}
		}
	}
}

// Goal: an event that is refused comes back with its reason, counts as settled, and
// holds up nothing; without Refused it ends the feed.
func TestRefusedRecordsComeBack(t *testing.T) {
	table := ordered("ordered")
	newLab(t, smallStore(), table)
	records := []numbered{{Key: "a", Event: 1}, {Key: "a", Event: 7}, {Key: "a", Event: 2}, {Key: strings.Repeat("x", 5000), Event: 1}, {Key: "b", Event: 1}}
	source := func() engine.Source[string, int64] {
		return pollFunc(func(into []numbered) (int, error) { return copy(into, records), io.EOF })
	}
	var back []string
	settled := uint64(0)
	f, err := table.Consume(t.Context(), source(), engine.SourceOptions[string, int64]{
		Refused: func(k string, e int64, err error) {
			back = append(back, fmt.Sprint(k[0:1], e, errors.Is(err, engine.ErrTooLarge)))
		},
		Settled: func(n uint64) { settled = n },
	})
	must(t, err)
	must(t, f.Wait(t.Context()))
	if got := fmt.Sprint(back); got != "[x1 true a7 false]" && got != "[a7 false x1 true]" {
		t.Errorf("came back: %v", got)
	}
	if a, _ := get(t, table, "a"); a != 2 || settled != 5 {
		t.Errorf("a is at %d, %d records settled", a, settled)
	}
	f, err = table.Consume(t.Context(), source(), engine.SourceOptions[string, int64]{})
	must(t, err)
	if err := f.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "behind") && !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("without Refused the feed ended with %v", err)
	}
}

// Goal: whatever a source does, only its feed ends, with an error that says so.
func TestABadSourceEndsItsFeedOnly(t *testing.T) {
	table := counters("counters")
	newLab(t, smallStore(), table)
	broken := errors.New("broken pipe")
	for name, c := range map[string]struct {
		poll func(calls int, records []numbered) (int, error)
		want func(err error) bool
	}{
		"error": {func(int, []numbered) (int, error) { return 1, broken }, func(err error) bool { return errors.Is(err, broken) }},
		"wrapped end": {func(int, []numbered) (int, error) { return 1, fmt.Errorf("fetch: %w", io.EOF) },
			func(err error) bool { return errors.Is(err, io.EOF) && err != io.EOF }},
		"panic":  {func(int, []numbered) (int, error) { panic("poll") }, func(err error) bool { return errors.Is(err, engine.ErrPanicked) }},
		"goexit": {func(int, []numbered) (int, error) { runtime.Goexit(); return 0, nil }, func(err error) bool { return errors.Is(err, engine.ErrPanicked) }},
		"too many": {func(_ int, records []numbered) (int, error) { return len(records) + 1, nil },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "records") }},
		"inside": {func(int, []numbered) (int, error) {
			_, err := table.Do(context.Background(), "k", 1)
			return 0, err
		}, func(err error) bool { return errors.Is(err, engine.ErrInside) }},
	} {
		before, _ := get(t, table, "key")
		calls := 0
		told := uint64(0)
		f, err := table.Consume(t.Context(), pollFunc(func(records []numbered) (int, error) {
			calls++
			records[0] = numbered{Key: "key", Event: 1}
			if calls == 1 {
				return 1, nil
			}
			return c.poll(calls, records)
		}), engine.SourceOptions[string, int64]{Settled: func(n uint64) { told = n }})
		must(t, err)
		if err := f.Wait(t.Context()); !c.want(err) {
			t.Errorf("%s: the feed ended with %v", name, err)
		}
		want := before + 1
		if name == "error" || name == "wrapped end" {
			want++ // the record that came with it counts
			if told != 2 {
				t.Errorf("%s: the source was told that %d records are settled, not 2", name, told)
			}
		}
		if now, _ := get(t, table, "key"); now != want {
			t.Errorf("%s: %d, want %d", name, now, want)
		}
	}
}

// Goal: a source that has nothing costs nothing: its shard sleeps until Wake.
func TestAnIdleSourceWaitsForWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := counters("counters")
		newLab(t, smallStore(), table)
		var there, polls atomic.Int64
		f, err := table.Consume(t.Context(), pollFunc(func(records []numbered) (int, error) {
			polls.Add(1)
			n := int(there.Swap(0))
			for i := range n {
				records[i] = numbered{Key: "key", Event: 1}
			}
			return n, nil
		}), engine.SourceOptions[string, int64]{})
		must(t, err)
		for round := range 3 {
			synctest.Wait()
			before := polls.Load()
			there.Store(5)
			synctest.Wait()
			if after := polls.Load(); after != before {
				t.Errorf("polled %d times without a Wake", after-before)
			}
			f.Wake()
			synctest.Wait()
			if n, _ := get(t, table, "key"); n != int64(5*(round+1)) {
				t.Errorf("round %d: %d events", round, n)
			}
		}
		must(t, f.Close(t.Context()))
	})
}

// Goal: what is settled is told also when the source has nothing more to give and its
// own shard nothing to do. Method: events of another shard, whose syncs are held.
func TestSettledIsToldToAnIdleSource(t *testing.T) {
	table := counters("counters")
	l := (&lab{tb: t, options: smallStore(), tables: []engine.Definition{table}, hash: parity}).start()
	release := l.holdSyncs()
	told := make(chan uint64, 10)
	given := false
	f, err := table.Consume(t.Context(), pollFunc(func(records []numbered) (n int, err error) {
		if !given {
			given, n = true, 10
		}
		for i := range n {
			records[i] = numbered{Key: "odd1", Event: 1}
		}
		return n, nil
	}), engine.SourceOptions[string, int64]{Settled: func(n uint64) { told <- n }})
	must(t, err)
	release()
	if n := <-told; n != 10 {
		t.Errorf("%d records are settled, want 10", n)
	}
	must(t, f.Close(t.Context()))
}

// parity is a hash that gives the keys with an odd last byte to the second of two
// shards.
func parity(key []byte, seed uint64) uint64 {
	return xxh3.HashSeed(key, seed)>>1 | uint64(key[len(key)-1]&1)<<63
}

// Goal: a shard whose neighbour takes nothing goes on with its own work, and what it
// holds for the neighbour arrives later. Method: a table function of one shard blocks.
func TestAShardDoesNotWaitForItsNeighboursInbox(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	table := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "gated",
		Apply: func(_ *engine.Context[string], s *int64, e int64) int64 {
			if e < 0 {
				entered <- struct{}{}
				<-gate
			}
			*s++
			return *s
		},
	})
	options := smallStore()
	options.InboxBytes, options.EventBytesMax, options.KeyBytesMax = 64<<10, 64, 64
	(&lab{tb: t, options: options, tables: []engine.Definition{table}, hash: parity}).start()
	go func() { _, _ = table.Do(context.Background(), "blocked1", -1, engine.Applied) }()
	<-entered
	const count = 50_000
	f, err := table.Consume(t.Context(), list("", 100, count), engine.SourceOptions[string, int64]{}) // read by shard 0
	must(t, err)
	for range 100 { // calls to the shard that is not blocked, while its feed cannot go on
		do(t, table, "free0", 1)
	}
	if _, settled := f.Progress(); settled >= count {
		t.Error("the blocked shard has settled its events")
	}
	close(gate)
	must(t, f.Wait(t.Context()))
	total := int64(0)
	for key, n := range everything(t, table) {
		if key != "blocked1" && key != "free0" {
			total += n
		}
	}
	if total != count {
		t.Errorf("%d events arrived, want %d", total, count)
	}
}

// Goal: Close of a feed stops an endless source with everything settled, Close of the
// engine ends feeds with ErrClosed, and a closed table takes no source.
func TestFeedsEndWhenTheyAreClosed(t *testing.T) {
	table := counters("counters")
	l := newLab(t, smallStore(), table)
	endless := func(key string) engine.Source[string, int64] {
		return pollFunc(func(records []numbered) (int, error) {
			for i := range records {
				records[i] = numbered{Key: key, Event: 1}
			}
			return len(records), nil
		})
	}
	first, err := table.Consume(t.Context(), endless("first"), engine.SourceOptions[string, int64]{InFlightMax: 1000})
	must(t, err)
	second, err := table.Consume(t.Context(), endless("second"), engine.SourceOptions[string, int64]{Ack: engine.Applied})
	must(t, err)
	for polled := uint64(0); polled < 10_000; polled, _ = first.Progress() {
		runtime.Gosched()
	}
	must(t, first.Close(t.Context()))
	polled, settled := first.Progress()
	if n, _ := get(t, table, "first"); uint64(n) != polled || polled != settled {
		t.Errorf("polled %d, settled %d, folded %d", polled, settled, n)
	}
	must(t, l.engine.Close())
	if err := second.Wait(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("the feed of a closed engine ended with %v", err)
	}
	if _, err := table.Consume(t.Context(), endless("x"), engine.SourceOptions[string, int64]{}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a closed table took a source: %v", err)
	}
}

// Goal: a source that is given while the engine closes is taken and ended, or not taken,
// and nothing panics.
func TestConsumeAndCloseMayMeet(t *testing.T) {
	table := counters("counters")
	l := newLab(t, smallStore(), table)
	for range 300 {
		begun, took := make(chan struct{}), make(chan error)
		go func() {
			close(begun)
			f, err := table.Consume(context.Background(), list("", 10, 10), engine.SourceOptions[string, int64]{})
			if err == nil {
				err = f.Wait(context.Background())
			}
			took <- err
		}()
		<-begun
		must(t, l.engine.Close())
		if err := <-took; err != nil && !errors.Is(err, engine.ErrClosed) {
			t.Errorf("neither taken nor closed: %v", err)
		}
		l.open()
	}
}
