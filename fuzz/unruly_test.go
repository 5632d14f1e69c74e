package fuzz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A misdeed is an event that makes a function of its table end badly, or not at all.
type misdeed struct {
	At  string // init, check, apply, late (behind a change of the state), encode or decode
	How string // panic, nil, goexit or block
}

// An unruly is a table whose functions do what its events say.
type unruly struct {
	table   *engine.Table[string, ledger, misdeed, int64]
	entered chan struct{} // a function that blocks has begun
	leave   chan struct{} // and may return
}

// A ledger is a state with pointers.
type ledger struct {
	Count int64
	Trace string
}

func (u *unruly) commit(m misdeed, at string) {
	if m.At != at {
		return
	}
	switch m.How {
	case "panic":
		panic("on purpose")
	case "nil":
		panic(nil)
	case "goexit":
		runtime.Goexit()
	case "block":
		u.entered <- struct{}{}
		<-u.leave
	}
}

func newUnruly() *unruly {
	u := &unruly{entered: make(chan struct{}), leave: make(chan struct{})}
	u.table = engine.NewTable(engine.Spec[string, ledger, misdeed, int64]{
		Name:       "unruly",
		EventCodec: unrulyCodec{u},
		Init: func(c *engine.Context[string], _ *ledger) {
			if how, found := initOf(c.Key()); found {
				u.commit(misdeed{"init", how}, "init")
			}
		},
		Check: func(_ *engine.Context[string], _ *ledger, m misdeed) error { u.commit(m, "check"); return nil },
		Apply: func(_ *engine.Context[string], s *ledger, m misdeed) int64 {
			u.commit(m, "apply")
			s.Count++
			s.Trace += "."
			u.commit(m, "late")
			return s.Count
		},
	})
	return u
}

// initOf says how Init ends for a key: it does not see the event.
func initOf(key string) (how string, found bool) {
	_, err := fmt.Sscanf(key, "init-%s", &how)
	return how, err == nil
}

// An unrulyCodec is run by callers when they encode, and by shards when they decode.
type unrulyCodec struct{ u *unruly }

func (unrulyCodec) Name() string { return "unruly/1" }

func (c unrulyCodec) Append(dst []byte, m misdeed) ([]byte, error) {
	c.u.commit(m, "encode")
	return append(dst, m.At+" "+m.How...), nil
}

func (c unrulyCodec) Decode(src []byte, m *misdeed) error {
	*m = misdeed{}
	_, _ = fmt.Sscan(string(src), &m.At, &m.How) // an empty event is none of those
	c.u.commit(*m, "decode")
	return nil
}

// Goal: whatever a function of a table does, the process lives, the event is not
// acknowledged, its key is as it was, and other keys go on, those of its shard as well.
// Method: each function panics, panics with nil, or ends its goroutine, for a new key and
// for an old one; after a crash the states are the same.
func TestNoFunctionOfATableTakesMoreThanItsEventDown(t *testing.T) {
	t.Parallel()
	row := tries(t, "R19", "functions of tables and codecs that panic or end their goroutine, for new keys and old ones", "the process lives, no ack for the event, its key as before, other keys go on, the same states after a crash")
	u := newUnruly()
	r := newRig(small(), hashes["full"])
	must(t, r.openWith(u.table))
	want := map[string]int64{}
	send := func(key string) {
		must(t, u.fine(key))
		want[key]++
	}
	for _, at := range []string{"init", "check", "apply", "late", "encode", "decode"} {
		for _, how := range []string{"panic", "nil", "goexit"} {
			for _, key := range []string{"new-" + at + how, "old"} {
				if at == "init" {
					key = "init-" + how
				}
				if err := u.refuses(key, misdeed{at, how}); err != nil {
					t.Fatalf("%s by %s: %v", at, how, err)
				}
				row.Cycles++
				for i := range 8 { // of both shards
					send(fmt.Sprint("other-", i))
				}
				if at != "init" {
					send(key)
				}
			}
		}
	}
	for _, model := range []crashfs.Model{{}, {Data: crashfs.Kept}} {
		must(t, u.holds(want))
		must(t, r.crash(model))
		u = newUnruly()
		must(t, r.openWith(u.table))
		row.Checked += int64(len(want))
	}
	must(t, u.holds(want))
	must(t, r.abandon())
}

var errEnded = errors.New("the caller's goroutine has ended")

// refuses sends an event that must not be acknowledged. Encoding is done by the caller,
// who is the one that a codec ends.
func (u *unruly) refuses(key string, m misdeed) error {
	ended := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() { ended <- err }()
		ctx, cancel := patiently()
		defer cancel()
		_, err = u.table.Do(ctx, key, m)
	}()
	err := <-ended
	switch {
	case errors.Is(err, errEnded) && m == misdeed{"encode", "goexit"}:
		return nil
	case err == nil || engine.OutcomeOf(err) != engine.NotDone || errors.Is(err, errEnded):
		return violated("it says %w", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return violated("it hangs: %w", err)
	}
	return nil
}

// fine sends an event that nothing happens to.
func (u *unruly) fine(key string) error {
	ctx, cancel := patiently()
	defer cancel()
	_, err := u.table.Do(ctx, key, misdeed{})
	return mustNotHang(err)
}

// holds compares the counts of all keys.
func (u *unruly) holds(want map[string]int64) error {
	ctx, cancel := patiently()
	defer cancel()
	have := map[string]int64{}
	for e, err := range u.table.All(ctx) {
		if err != nil {
			return err
		}
		if int(e.State.Count) != len(e.State.Trace) {
			return violated("%s has counted %d and traced %d", e.Key, e.State.Count, len(e.State.Trace))
		}
		have[e.Key] = e.State.Count
	}
	if !maps.Equal(have, want) {
		return violated("it holds %v and must hold %v", have, want)
	}
	return nil
}

// Goal: a function that does not return holds up its shard and nothing else: callers with
// a context come back and know that the outcome is unknown, the other shard goes on, and
// when it returns everything does.
func TestAFunctionThatBlocksHoldsUpItsShardAlone(t *testing.T) {
	t.Parallel()
	row := tries(t, "R19", "functions of tables that block", "callers come back with their context, the other shard goes on, nothing is lost when it ends")
	for _, at := range []string{"check", "apply", "late"} {
		u := newUnruly()
		r := newRig(small(), hashes["full"])
		must(t, r.openWith(u.table))
		held, free := r.keyOf(0), r.keyOf(r.options.Partitions-1)
		ctx, cancel := context.WithCancel(t.Context())
		blocked, behind := make(chan error, 1), make(chan error, 1)
		go func() { _, err := u.table.Do(ctx, held, misdeed{at, "block"}); blocked <- err }()
		<-u.entered
		go func() { _, err := u.table.Do(ctx, held, misdeed{}); behind <- err }()
		for range 20 {
			must(t, u.fine(free))
		}
		cancel()
		if err := <-blocked; !errors.Is(err, engine.ErrUnknownOutcome) {
			t.Errorf("blocked in %s: %v", at, err)
		}
		late := int64(0) // whether the second was admitted before its context ended
		if errors.Is(<-behind, engine.ErrUnknownOutcome) {
			late = 1
		}
		close(u.leave)
		must(t, u.fine(held))
		must(t, u.holds(map[string]int64{held: 2 + late, free: 20}))
		must(t, r.crash(crashfs.Model{}))
		u = newUnruly()
		u.entered = make(chan struct{}, 8) // the replay runs Apply again
		close(u.leave)
		must(t, r.openWith(u.table))
		must(t, u.holds(map[string]int64{held: 2 + late, free: 20}))
		must(t, r.abandon())
		row.Cycles++
		row.Checked += 22 + late
	}
}
