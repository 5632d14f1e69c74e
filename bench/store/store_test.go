package store

import (
	"fmt"
	"testing"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
)

func TestOptionsAreRefusedInWords(t *testing.T) {
	good := Options{EventBytes: EventBytesMin}
	for name, spoil := range map[string]func(*Options){
		"ack": func(o *Options) { o.Ack = "maybe" }, "sync": func(o *Options) { o.Sync = "soon" },
		"event bytes": func(o *Options) { o.EventBytes = 15 }, "device": func(o *Options) { o.Device = "tape" },
		"interval": func(o *Options) { o.Sync = "-1ms" },
	} {
		o := good
		o.Dir = t.TempDir()
		spoil(&o)
		if target, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
			_ = target.Close(t.Context())
		}
	}
}

func TestPaddedEventsSurviveTheirEncoding(t *testing.T) {
	for _, n := range []int64{17, 64, 65_536, 200_000} {
		in := padded{event{1<<40 + 7, -2.5}, n}
		b, err := padding{}.Append(nil, in)
		var out padded
		if err != nil || int64(len(b)) != n || (padding{}).Decode(b, &out) != nil || out != in {
			t.Errorf("%+v became %+v in %d bytes, %v", in, out, len(b), err)
		}
	}
	if (padding{}).Decode(make([]byte, 15), new(padded)) == nil {
		t.Error("a short event was accepted")
	}
}

func TestStatesAreThoseOfASingleThreadBeforeAndAfterReopening(t *testing.T) {
	g := workload.Generated{Keys: 1000, Dist: "uniform", Seed: 3, Events: 3000}
	for _, bytes := range []int{EventBytesMin, 100} {
		for name, door := range map[string]bench.Door{"producer": bench.Batched, "source": bench.Batched, "do": bench.Single} {
			t.Run(fmt.Sprintf("bytes=%d/door=%s", bytes, name), func(t *testing.T) {
				o := Options{Dir: t.TempDir(), Shards: 2, EventBytes: bytes, Read: name == "source"}
				target, err := Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				l := bench.Load{Source: stream(t, g), Producers: 64, Door: door, Window: 500}
				if _, err := bench.Run(t.Context(), target, l); err != nil {
					t.Fatal(err)
				}
				check(t, target, g)
				o.Shards = 3
				if target, err = Open(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if r := target.Recovery(); !r.Clean || r.ShardsBefore != 2 || r.Keys == 0 {
					t.Errorf("%+v", r)
				}
				check(t, target, g)
			})
		}
	}
}

func stream(t *testing.T, g workload.Generated) workload.Source {
	t.Helper()
	s, err := workload.NewGenerator(g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check audits the target and closes it.
func check(t *testing.T, target bench.Target, g workload.Generated) {
	t.Helper()
	a, err := workload.NewNumbered(g.Keys)
	if err != nil {
		t.Fatal(err)
	}
	f, err := bench.Audit(t.Context(), target, a, stream(t, g), nil)
	if err != nil || f.Err() != nil || f.Events != g.Events {
		t.Errorf("%+v, %v", f, err)
	}
	if err := target.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Goal: a change that a reader misses, or gets twice, shows.
func TestReaderThatMissesAChangeIsFound(t *testing.T) {
	g := workload.Generated{Keys: 10, Dist: "uniform", Seed: 3, Events: 500}
	type plain = follower[workload.Stats, event, struct{}]
	key := string(workload.AppendKey(nil, 3))
	for name, spoil := range map[string]func(*plain){
		"nothing": func(*plain) {},
		"missed":  func(f *plain) { delete(f.states, key) },
		"twice":   func(f *plain) { f.add(key, &event{7, 7}) },
	} {
		target, err := Open(t.Context(), Options{Dir: t.TempDir(), Shards: 2, EventBytes: EventBytesMin})
		if err != nil {
			t.Fatal(err)
		}
		reader, err := target.(*folded[workload.Stats, event, struct{}]).Follow(true, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bench.Run(t.Context(), target, bench.Load{Source: stream(t, g), Producers: 1, Window: 100}); err != nil {
			t.Fatal(err)
		}
		read, err := reader.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		spoil(reader.(*plain))
		a, err := workload.NewNumbered(g.Keys)
		if err != nil {
			t.Fatal(err)
		}
		f, err := bench.Audit(t.Context(), reader, a, stream(t, g), nil)
		if err != nil || f.OK() != (name == "nothing") || read.Events != 500 || read.Wrong != 0 {
			t.Errorf("%s: %+v, %+v, %v", name, f, read, err)
		}
		if plain := reader.(*plain); name == "nothing" { // a state that is not what it must be
			plain.states[key].Sum++
			if plain.compare(key); plain.read.Wrong != 1 {
				t.Errorf("%d states are wrong", plain.read.Wrong)
			}
		}
		if err := target.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestTimersThatFireEarlyOrTwiceAreCounted(t *testing.T) {
	s := timed{Due: 10}
	for _, now := range []int64{10, 11} {
		s.fire(now)
	}
	if s.Fired != 2 || s.Wrong != 1 {
		t.Errorf("in time, and again: %+v", s)
	}
	s.Due = 20
	if s.fire(19); s.Fired != 3 || s.Wrong != 2 || s.Due != 0 {
		t.Errorf("early: %+v", s)
	}
}
