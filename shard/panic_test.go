package shard

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a table function that panics costs its own event and nothing else, wherever in
// a block and in a run it stands. Method: for each position in one block of several
// runs, let that event panic after it has changed the state; all others must be there,
// before and after a replay.
func TestPanicCostsOneEvent(t *testing.T) {
	const count = runOperations + 6
	for at := range count {
		r := newRig(t)
		r.accept(add("0a"))
		evs := adds("0a", count)
		evs[at].verb = verbPanic
		c := r.send(Durable, evs...)
		r.settle()
		c.want("settled", true)
		var wrong *PanicError
		if len(c.refused) != 1 || !errors.As(c.refused[0], &wrong) || !errors.Is(wrong, ErrPanicked) || len(wrong.Stack) == 0 {
			t.Fatalf("at %d: %v", at, c.refused)
		}
		if fmt.Sprint(wrong.Value) != "the ledger burns" || c.slot.err != nil {
			t.Fatal(wrong, c.slot.err)
		}
		want := contents(r.owned)
		if len(want[0]) != count {
			t.Fatalf("at %d: %d events of %d", at, len(want[0]), count)
		}
		r.checkSequences()
		r.crash(crashfs.Model{}).same("replayed", want)
	}
}

func TestPanicOnANewKeyLeavesNoKey(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, ev{key: "0new", verb: verbPanic})
	r.settle()
	c.want("settled", true)
	if n := r.parts[0].Stores[0].Len(); n != 0 || r.parts[0].Sequence != 0 {
		t.Fatalf("%d keys, sequence %d", n, r.parts[0].Sequence)
	}
}

// Goal: runtime.Goexit ends the shard's goroutine; another one goes on behind that
// event, and nobody waits for ever. Method: with real goroutines, put the event into
// the middle of a block of many, and into a block of its own.
func TestGoexitCostsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		evs := adds("0a", 2*runOperations)
		evs[runOperations/3].verb = verbGoexit
		evs[runOperations+5].verb = verbGoexit
		calls := []*call{
			r.send(Durable, evs...),
			r.send(Applied, ev{key: "0a", verb: verbGoexit}),
			r.send(Durable, adds("1b", 3)...),
		}
		synctest.Wait()
		for i, refused := range []int{2, 1, 0} {
			calls[i].want("idle", true)
			if len(calls[i].refused) != refused {
				t.Fatalf("block %d: %v", i, calls[i].refused)
			}
			for _, err := range calls[i].refused {
				if !errors.Is(err, ErrPanicked) {
					t.Fatal(err)
				}
			}
		}
		want := contents(r.owned)
		if len(want[0]) != 2*runOperations-2 || len(want[1]) != 3 {
			t.Fatalf("%d and %d events", len(want[0]), len(want[1]))
		}
		r.checkSequences()
		r.crash(crashfs.Model{}).same("replayed", want)
	})
}

// Goal: events are logged with the time that they were applied at, also when one
// behind them in the run has ended the goroutine and the time has moved on before the
// run does. Method: such a run, a clock that is moved in between, and a crash.
func TestGoexitKeepsTheTimeOfTheEventsBeforeIt(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"), ev{key: "0a", verb: verbGoexit}, add("0a"))
	ended := make(chan struct{})
	go func() { defer close(ended); r.turn() }()
	<-ended
	r.time += 5 * timeStep
	r.takeOver()
	r.settle()
	want := contents(r.owned)
	if n := len(want[0]); n != 2 {
		t.Fatalf("%d events", n)
	}
	r.crash(crashfs.Model{}).same("replayed", want)
}

// Goal: a goroutine that ends while the shard is about to park leaves nothing half
// done. Method: many events that end it, each sent when the shard is asleep.
func TestGoexitOfAShardThatWasAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		for range 20 {
			no, yes := r.send(Durable, ev{key: "0a", verb: verbGoexit}), r.send(Durable, add("0a"))
			synctest.Wait()
			no.want("idle", true)
			yes.want("idle", true)
		}
		if n := len(history(r.parts[0])); n != 20 {
			t.Fatalf("%d events", n)
		}
	})
}

func TestRefusedAndPanickedEventsAreNotCountedInTheSequence(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"), ev{key: "0a", verb: verbRefuse}, ev{key: "0a", verb: verbPanic}, add("0a"))
	r.settle()
	if s := r.stats(); s.Events != 2 || s.Refused != 2 || r.parts[0].Sequence != 2 {
		t.Fatalf("%+v, sequence %d", s, r.parts[0].Sequence)
	}
	r.checkSequences()
}

// Goal: a codec that does not return costs its round, and nothing else: the askers
// hear of it, the shard goes on, and its end says that there is no snapshot. Method:
// keys whose codec panics or ends the goroutine, of the lane and of the shard.
func TestCodecThatDoesNotReturnCostsItsRound(t *testing.T) {
	for _, key := range []string{keyGoexitFreeze, keyPanicEncode, keyGoexitEncode} {
		t.Run(key[2:], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.Start()
				r.send(Durable, add("1a"), add(key))
				for range 3 {
					if err := r.Snapshot(context.Background()); !errors.Is(err, ErrPanicked) {
						t.Error("told ", err)
					}
				}
				c := r.send(Durable, add("1a"))
				synctest.Wait()
				c.want("after the rounds", true)
				r.Stop()
				if err := r.Wait(context.Background()); err == nil || r.Err() != nil {
					t.Errorf("the end says %v; the shard failed with %v", err, r.Err())
				}
				if have := r.names("snapshot"); len(have) != 0 {
					t.Error("left over: ", have)
				}
				want := contents(r.owned)
				r.crash(crashfs.Model{}).same("recovered from the log", want)
			})
		})
	}
}
