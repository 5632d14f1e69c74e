package engine

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// openOn opens a store with one table, from inside of the package.
func openOn(t *testing.T, disk *crashfs.FS, shards int) (*Engine, *Table[string, int64, int64, struct{}]) {
	t.Helper()
	table := Fold("sums", func(_ *Context[string], s *int64, e int64) { *s += e })
	e, err := Open(context.Background(), "/store", Options{
		Shards: shards, Partitions: 16, Environment: &seam.Environment{FS: disk, Now: func() int64 { return 1e18 }, Seed: 3},
	}, table)
	if err != nil {
		t.Fatal(err)
	}
	return e, table
}

// Goal: what is kept under a name is there after a crash, a snapshot, a move and with
// another number of shards, and nobody sees it among their own. Method: keep, forget and
// look up through all of that.
func TestPositionsSurviveAndAreNotShown(t *testing.T) {
	ctx := context.Background()
	disk := crashfs.New()
	e, table := openOn(t, disk, 2)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		have, err := e.positionsOf(ctx, "source")
		must(err)
		if !maps.Equal(have, want) {
			t.Fatalf("%v, want %v", have, want)
		}
		stats, err := e.Stats(ctx)
		must(err)
		if stats.Keys != 1 || len(stats.Tables) != 1 || stats.Tables[0].Name != "sums" {
			t.Fatalf("shown: %d keys, %+v", stats.Keys, stats.Tables)
		}
	}
	_, err := table.Do(ctx, "key", 1)
	must(err)
	must(e.keepPosition(ctx, "source", "a", "1"))
	must(e.keepPosition(ctx, "source", "b", "2"))
	must(e.keepPosition(ctx, "sources", "c", "other kind"))
	check(map[string]string{"a": "1", "b": "2"})

	lost := disk.Crash(crashfs.Model{Data: crashfs.Lost})
	_ = e.Close()
	disk = lost
	e, _ = openOn(t, disk, 3)
	if keys := e.Recovery().Keys; keys != 1 {
		t.Fatalf("Recovery says %d keys", keys)
	}
	check(map[string]string{"a": "1", "b": "2"})
	for partition := range 16 {
		must(e.Move(ctx, partition, partition%3))
	}
	check(map[string]string{"a": "1", "b": "2"})
	must(e.keepPosition(ctx, "source", "a", ""))
	must(e.Close())
	e, _ = openOn(t, disk, 1)
	check(map[string]string{"b": "2"})
	if value, found, err := e.position(ctx, "source", "b"); value != "2" || !found || err != nil {
		t.Fatal(value, found, err)
	}
	if err := e.keepPosition(ctx, "source", strings.Repeat("x", positionBytesMax+1), "1"); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	must(e.Close())
}

func TestNamesOfTheEngineAreRefused(t *testing.T) {
	_, err := Open(context.Background(), t.TempDir(), Options{}, Fold(positionsName, func(*Context[string], *int64, int64) {}))
	if err == nil || !strings.Contains(err.Error(), "the engine's own") {
		t.Fatal(err)
	}
}

// over is a source that is at its end.
type over struct{}

func (over) Poll([]Record[string, int64]) (int, error) { return 0, io.EOF }

// Goal: a name that a crash may still take back is not given out: the events that bear it
// could outlive it, and be done again under the next one. Method: the disk is held up while
// a source gets a name; it gives up, and another one asks for the same.
func TestANameIsGivenOutWhenItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		disk := crashfs.New()
		e, table := openOn(t, disk, 1)
		gate := make(chan struct{})
		disk.SetHook(func(op crashfs.Op) error {
			if op.Kind == crashfs.Sync {
				<-gate
			}
			return nil
		})
		named := SourceOptions[string, int64]{Name: "s"}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := table.Consume(short, over{}, named); !errors.Is(err, ErrUnknownOutcome) {
			t.Fatalf("a name that could not be written: %v", err)
		}
		given := make(chan error, 1)
		go func() {
			_, err := table.Consume(ctx, over{}, named)
			given <- err
		}()
		synctest.Wait()
		select {
		case err := <-given:
			t.Errorf("the name was given out before it was durable: %v", err)
			given <- err
		default:
		}
		close(gate)
		if err := errors.Join(<-given, e.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// Goal: what Refused sends takes no sequence away from the event that is being sent. Method:
// so many refusals wait that SendAt hands them back first.
func TestRefusedMaySendBeforeSendAtDoes(t *testing.T) {
	ctx := context.Background()
	table := NewTable(Spec[string, int64, int64, struct{}]{
		Name: "sums",
		Check: func(_ *Context[string], _ *int64, e int64) error {
			return map[bool]error{true: errors.ErrUnsupported}[e < 0]
		},
		Apply: func(_ *Context[string], s *int64, e int64) struct{} { *s += e; return struct{}{} },
	})
	e, err := Open(ctx, "/store", Options{Shards: 1, Partitions: 4, Environment: &seam.Environment{FS: crashfs.New(), Now: func() int64 { return 1e18 }}}, table)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	corrections := 1
	var p *Producer[string, int64, int64, struct{}]
	p, err = table.Producer(ProducerOptions[string, int64]{Name: "p", Refused: func(k string, _ int64, _ error) {
		if corrections > 0 {
			corrections--
			must(p.Send(ctx, k, 1))
		}
	}})
	must(err)
	for i := range uint64(refusedMax) {
		must(p.SendAt(ctx, 10*(i+1), "key", -1))
	}
	must(p.sender.pushAll(ctx))
	must(p.sender.slot.WaitCompleted(ctx, p.sender.sent))
	if n := p.sender.refused.count.Load(); n != refusedMax {
		t.Fatalf("%d refusals wait", n)
	}
	must(p.SendAt(ctx, 1e6, "key", 10))
	must(p.Close(ctx))
	if sum, _, err := table.Get(ctx, "key"); err != nil || sum != 11 {
		t.Errorf("the sum is %d, want 10 and 1: %v", sum, err)
	}
	must(e.Close())
}
