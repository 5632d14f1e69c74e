package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// sendAll sends the events 1 to n of a producer that resumes, each to one of five keys.
func sendAll(t *testing.T, p *engine.Producer[string, int64, int64, int64], n uint64) (from uint64) {
	t.Helper()
	ctx := context.Background()
	from, err := p.Resume(ctx)
	must(t, err)
	for i := from; i <= n; i++ {
		must(t, p.Send(ctx, fmt.Sprint("key-", i%5), int64(i)))
	}
	must(t, p.Flush(ctx))
	return from
}

// Goal: what a named producer sends again is done once. Method: it sends everything from
// where it resumes, through a crash that loses the position, a close that keeps it, another
// number of shards; and everything again by sequences of its own.
func TestNamedProducerIsDoneOnce(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	l := newLab(t, smallStore(), table)
	named := engine.ProducerOptions[string, int64]{Name: "p"}
	check := func(n int64) {
		t.Helper()
		sum := int64(0)
		for _, v := range everything(t, table) {
			sum += v
		}
		if want := n * (n + 1) / 2; sum != want {
			t.Fatalf("%d in all, want %d", sum, want)
		}
	}
	p, err := table.Producer(named)
	must(t, err)
	if from := sendAll(t, p, 100); from != 1 {
		t.Fatalf("a new one begins with %d", from)
	}
	if _, err := table.Producer(named); !errors.Is(err, engine.ErrNameInUse) {
		t.Fatal(err)
	}
	l.crash(crashfs.Lost)
	check(100)
	p, err = table.Producer(named)
	must(t, err)
	sendAll(t, p, 150)
	check(150)
	must(t, p.Close(ctx))
	l.options.Shards = 3
	l.reopen()
	p, err = table.Producer(named)
	must(t, err)
	if from := sendAll(t, p, 200); from != 151 {
		t.Fatalf("it resumes with %d, want 151", from)
	}
	check(200)
	for _, sequence := range []uint64{0, math.MaxUint64} { // the next one could not be told
		if err := p.SendAt(ctx, sequence, "key-0", 1); !errors.Is(err, engine.ErrSequence) {
			t.Fatalf("sequence %d: %v", sequence, err)
		}
	}
	if err := p.SendAt(ctx, 200, "key-0", 1); !errors.Is(err, engine.ErrSequence) {
		t.Fatal(err)
	}
	must(t, p.SendAt(ctx, 300, "key-0", 1))
	must(t, p.Close(ctx))
}

// Goal: names are told apart, and a forgotten one is new. Method: two producers send the
// same sequences, one of them again when it was forgotten.
func TestForgottenNameIsNew(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	newLab(t, smallStore(), table)
	named := engine.ProducerOptions[string, int64]{Name: "p"}
	p, err := table.Producer(named)
	must(t, err)
	sendAll(t, p, 200)
	if err := table.Forget(ctx, "p"); !errors.Is(err, engine.ErrNameInUse) {
		t.Fatal(err)
	}
	must(t, p.Close(ctx))
	other, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "other"})
	must(t, err)
	sendAll(t, other, 10) // another origin has sequences of its own
	must(t, other.Close(ctx))
	plain, err := table.Producer(engine.ProducerOptions[string, int64]{})
	must(t, err)
	if err := plain.SendAt(ctx, 1, "a", 1); !errors.Is(err, engine.ErrNoName) {
		t.Fatal(err)
	}
	must(t, plain.Close(ctx))
	if _, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "x", Ack: engine.Applied}); err == nil {
		t.Fatal("a name was taken without durable acks")
	}
	must(t, table.Forget(ctx, "p"))
	p, err = table.Producer(named)
	must(t, err)
	if from := sendAll(t, p, 5); from != 1 { // they are done again: it is another stream
		t.Fatalf("a forgotten one begins with %d", from)
	}
	must(t, p.Close(ctx))
	sum := int64(0)
	for _, v := range everything(t, table) {
		sum += v
	}
	if want := int64(200*201/2 + 55 + 15); sum != want {
		t.Fatalf("%d in all, want %d", sum, want)
	}
}

// Goal: an event that was refused for want of room is not passed by a later one, which
// would leave it out for good. Method: a disk that is full for some events in the middle of
// a stream; then the producer resumes and sends again.
func TestRefusedEventStopsTheNamedProducer(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	options := smallStore()
	options.Shards = 1
	l := newLab(t, options, table)
	back := 0
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "p", Refused: func(_ string, _ int64, err error) {
		if !errors.Is(err, engine.ErrReadOnly) && !errors.Is(err, engine.ErrStopped) {
			t.Errorf("handed back: %v", err)
		}
		back++
	}})
	must(t, err)
	next := uint64(1)
	send := func(n uint64) {
		t.Helper()
		for end := next + n; next < end; next++ {
			if err := p.SendAt(ctx, next, fmt.Sprint("key-", next%5), int64(next)); err != nil {
				if errors.Is(err, engine.ErrStopped) {
					return
				}
				t.Fatal(err)
			}
		}
	}
	send(1000)
	must(t, p.Flush(ctx))
	l.disk.SetCapacity(l.disk.Used())
	for range 100 { // while there is room that had been reserved
		send(1000)
		must(t, p.Flush(ctx))
		if back > 0 {
			break
		}
	}
	if back == 0 {
		t.Fatal("the disk was never full")
	}
	l.disk.SetCapacity(0)
	if err := p.SendAt(ctx, next, "key-0", 1); !errors.Is(err, engine.ErrStopped) {
		t.Fatalf("the producer goes on: %v", err)
	}
	last := next - 1
	next, err = p.Resume(ctx)
	must(t, err)
	if next > last {
		t.Fatalf("it resumes with %d, behind %d events that were refused", next, back)
	}
	send(last + 1 - next)
	must(t, p.Close(ctx))
	sum := int64(0)
	for _, v := range everything(t, table) {
		sum += v
	}
	if want := int64(last) * int64(last+1) / 2; sum != want {
		t.Fatalf("%d in all, want %d", sum, want)
	}
}

// A roll is a source of numbers from 1 on.
type roll struct{ at, end int64 }

func (r *roll) Poll(records []engine.Record[string, int64]) (n int, err error) {
	for ; n < len(records) && r.at < r.end; n++ {
		r.at++
		records[n] = engine.Record[string, int64]{Key: fmt.Sprint("key-", r.at%7), Event: r.at}
	}
	if r.at == r.end {
		err = io.EOF
	}
	return n, err
}

// A resuming roll knows its offsets, of which there are two for each record.
type resuming struct {
	roll
	polled  int64 // the first record of the last Poll
	resumed uint64
}

func (r *resuming) Poll(records []engine.Record[string, int64]) (int, error) {
	r.polled = r.at
	return r.roll.Poll(records)
}

func (r *resuming) Resume(offset uint64) error {
	if r.end < 0 {
		panic("a source that is broken")
	}
	r.resumed, r.at = offset, int64(offset+1)/2
	return nil
}

func (r *resuming) Offset(i int) uint64 { return uint64(r.polled+int64(i)) * 2 }

// Goal: a source that gives records again after a crash has each done once, and one that
// can is told where to go on. Method: both kinds, one after the other in two partitions of
// one name.
func TestNamedSourceIsDoneOnce(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	l := newLab(t, smallStore(), table)
	consume := func(source engine.Source[string, int64], partition int) {
		t.Helper()
		f, err := table.Consume(ctx, source, engine.SourceOptions[string, int64]{Name: "s", Partition: partition})
		must(t, err)
		must(t, f.Wait(ctx))
	}
	func() { // its name is free again
		defer func() { _ = recover() }()
		_, _ = table.Consume(ctx, &resuming{roll: roll{end: -1}}, engine.SourceOptions[string, int64]{Name: "s"})
		t.Error("the panic of a source was taken")
	}()
	want := int64(0)
	for n := int64(100); n <= 300; n += 100 {
		consume(&roll{end: n}, 0)
		r := &resuming{roll: roll{end: n}}
		consume(r, 1)
		if r.resumed > uint64(2*n-200) || n > 100 && r.resumed != uint64(2*n-200)-1 {
			t.Fatalf("up to %d: it was resumed at %d", n, r.resumed)
		}
		want = n * (n + 1)
		l.crash(crashfs.Lost)
		l.options.Shards = 1 + int(n/100)%3
	}
	sum := int64(0)
	for _, v := range everything(t, table) {
		sum += v
	}
	if sum != want {
		t.Fatalf("%d in all, want %d", sum, want)
	}
}

// Rolls whose methods nearly make them what they are meant to be.
type (
	narrowOffset struct{ *roll }
	mutedResume  struct{ *roll }
	pointedOnly  struct{ *roll }
)

func (narrowOffset) Offset(i int64) uint64  { return uint64(i) }
func (mutedResume) Resume(uint64)           {}
func (*pointedOnly) Resume(uint64) error    { return nil }
func (n unasked) Offset(whence string) bool { return whence == "" }

// unasked has a method of the name, and no name.
type unasked struct{ *roll }

// Goal: a source whose offsets would be passed over without a word is refused, and its name
// is free again. Method: other arguments, no result, a pointer that was not given.
func TestMethodsThatAreNearlyThoseOfASourceAreRefused(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	newLab(t, smallStore(), table)
	named := engine.SourceOptions[string, int64]{Name: "s"}
	for _, c := range []struct {
		source engine.Source[string, int64]
		words  []string
	}{
		{narrowOffset{&roll{end: 3}}, []string{"source \"s\"", "engine_test.narrowOffset", "Offset func(", "int64) uint64", "a Numbered has Offset(i int) uint64"}},
		{mutedResume{&roll{end: 3}}, []string{"Resume func(", "a Resumer has Resume(offset uint64) error"}},
		{nil, []string{"needs a source"}},
		{pointedOnly{&roll{end: 3}}, []string{"engine_test.pointedOnly has", "Resume func(*engine_test.pointedOnly, uint64) error"}},
	} {
		_, err := table.Consume(ctx, c.source, named)
		if err == nil {
			t.Fatalf("%T was taken", c.source)
		}
		mustSay(t, err.Error(), c.words...)
	}
	for _, c := range []struct {
		source  engine.Source[string, int64]
		options engine.SourceOptions[string, int64]
	}{{&pointedOnly{&roll{end: 3}}, named}, {unasked{&roll{end: 3}}, engine.SourceOptions[string, int64]{}}} {
		f, err := table.Consume(ctx, c.source, c.options)
		must(t, err)
		must(t, f.Wait(ctx))
	}
	if n := len(everything(t, table)); n != 3 {
		t.Fatalf("%d keys", n)
	}
}

// Goal: what comes behind an event that found no room is not done before it. Method: room
// is refused for one event in the middle of a stream, and there is enough right behind it.
func TestEventThatFoundNoRoomIsNotPassed(t *testing.T) {
	ctx := context.Background()
	table := counters("counters")
	options := smallStore()
	options.Shards = 1
	l := newLab(t, options, table)
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "p", Refused: func(string, int64, error) {}})
	must(t, err)
	var reserved atomic.Int64 // the test's disk only counts
	l.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Reserve && strings.Contains(op.Name, "/log/") {
			if n := reserved.Add(1); n == 2 || n == 3 { // as much as would be good, and as little as must be
				return crashfs.ErrFull
			}
		}
		return nil
	})
	const last = 20_000
	stops := 0
	for next := uint64(1); next <= last; {
		err := p.SendAt(ctx, next, fmt.Sprint("key-", next%5), int64(next))
		if err == nil {
			if next++; next <= last {
				continue
			}
			_ = p.Flush(ctx)
		} else if !errors.Is(err, engine.ErrStopped) {
			t.Fatal(err)
		}
		resumed, err := p.Resume(ctx)
		must(t, err)
		if resumed < next {
			stops++
		}
		next = resumed
	}
	if stops == 0 {
		t.Fatal("no event was refused")
	}
	must(t, p.Close(ctx))
	sum := int64(0)
	for _, v := range everything(t, table) {
		sum += v
	}
	if want := int64(last) * (last + 1) / 2; sum != want {
		t.Fatalf("%d in all, want %d", sum, want)
	}
}

// Goal: a table takes so many names of producers and no more, those that it has go on, and
// one that is forgotten makes room; other tables have names of their own.
func TestNamesOfATableAreBounded(t *testing.T) {
	table, other := counters("counters"), counters("others")
	l := newLab(t, engine.Options{Shards: 1, Partitions: 1}, table, other)
	open := func(of *engine.Table[string, int64, int64, int64], name string) error {
		p, err := of.Producer(engine.ProducerOptions[string, int64]{Name: name})
		if err == nil {
			must(t, p.Close(t.Context()))
		}
		return err
	}
	const most = 1024
	for i := range most {
		if err := open(table, fmt.Sprint("p-", i)); err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	refused := func() {
		t.Helper()
		if err := open(table, "one more"); !errors.Is(err, engine.ErrTooManyNames) {
			t.Fatalf("one more: %v", err)
		}
		if err := open(table, "p-7"); err != nil {
			t.Fatalf("one that is there: %v", err)
		}
		must(t, open(other, "p-7"))
	}
	refused()
	l.reopen()
	refused()
	must(t, table.Forget(t.Context(), "p-9"))
	must(t, open(table, "one more"))
	if err := open(table, "p-9"); !errors.Is(err, engine.ErrTooManyNames) {
		t.Fatalf("one that was forgotten, when there is no room: %v", err)
	}
}

// Goal: streams of one table are never taken for those of another one, and Forget forgets
// those of the name that it is given. Method: names that would run together.
func TestNamesOfStreamsDoNotRunTogether(t *testing.T) {
	ctx := context.Background()
	short, long := counters("a"), counters("a/b")
	newLab(t, smallStore(), short, long)
	p, err := short.Producer(engine.ProducerOptions[string, int64]{Name: "b/x"})
	if err == nil {
		sendAll(t, p, 10)
		must(t, p.Close(ctx))
		other, err := long.Producer(engine.ProducerOptions[string, int64]{Name: "x"})
		must(t, err)
		from, err := other.Resume(ctx)
		must(t, err)
		t.Errorf("a name with a slash was taken; another table's producer begins with %d", from)
	}
	resumed := func(name string, partition int) uint64 {
		t.Helper()
		source := &resuming{roll: roll{end: 5}}
		f, err := short.Consume(ctx, source, engine.SourceOptions[string, int64]{Name: name, Partition: partition})
		must(t, err)
		must(t, f.Wait(ctx))
		return source.resumed
	}
	for _, name := range []string{"s", "s#1", "s#u"} {
		resumed(name, 0)
		resumed(name, 1)
	}
	must(t, short.Forget(ctx, "s#1"))
	must(t, short.Forget(ctx, "s"))
	for _, name := range []string{"s", "s#1"} {
		if a, b := resumed(name, 0), resumed(name, 1); a != 0 || b != 0 {
			t.Errorf("source %s was forgotten, and goes on at %d and %d", name, a, b)
		}
	}
	if a, b := resumed("s#u", 0), resumed("s#u", 1); a == 0 || b == 0 {
		t.Errorf("source s#u was not to be forgotten, and goes on at %d and %d", a, b)
	}
}

// Goal: what the engine keeps for itself is not refused for the limits of the user's keys
// and events. Method: limits of a few bytes, and names that are longer.
func TestOwnFactsHaveLimitsOfTheirOwn(t *testing.T) {
	ctx := context.Background()
	table := counters("a-table-with-a-long-name")
	options := smallStore()
	options.KeyBytesMax, options.EventBytesMax = 8, 8
	l := newLab(t, options, table)
	name := strings.Repeat("n", 255)
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Name: name})
	must(t, err)
	sendAll(t, p, 100)
	must(t, p.Close(ctx))
	cursor, err := l.engine.Cursor(ctx, name)
	must(t, err)
	at, err := table.States(ctx, func(string, int64) error { return nil })
	must(t, err)
	must(t, cursor.Commit(ctx, at))
	l.crash(crashfs.Lost)
	p, err = table.Producer(engine.ProducerOptions[string, int64]{Name: name})
	must(t, err)
	if from := sendAll(t, p, 100); from != 101 {
		t.Errorf("it resumes with %d, want 101", from)
	}
	must(t, p.Close(ctx))
	cursor, err = l.engine.Cursor(ctx, name)
	must(t, err)
	have, _ := cursor.Position().MarshalBinary()
	if want, _ := at.MarshalBinary(); !bytes.Equal(have, want) {
		t.Errorf("the cursor is at %x, want %x", have, want)
	}
}
