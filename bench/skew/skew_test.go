package skew

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/input"
	"github.com/keyfold/keyfold/engine"
)

// small is a short run.
func small(t *testing.T, mode Mode, l Load) Options {
	return Options{
		Dir: t.TempDir() + "/store", Engine: engine.Options{Shards: 2}, Ack: engine.Applied, Mode: mode, Load: l,
		Even: 30 * time.Millisecond, Phase: 30 * time.Millisecond, Shifts: 2, Slice: 10 * time.Millisecond, InFlight: 1000,
	}
}

var few = Hot{Partitions: 8, Keys: 5, Part: 0.9, Cool: 300, Seed: 1}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// alternate gives keys to shards in turn.
func alternate(keys, each int) (owners []int) {
	for i := range keys {
		owners = append(owners, i/each%2)
	}
	return owners
}

// Goal: with a shift all that is hot is on one shard, in turn, and in partitions of which
// none was hot before; a balanced load has as much on each.
func TestHotKeysShiftFromShardToShard(t *testing.T) {
	l, err := few.Load()
	must(t, err)
	owners := alternate(len(l.Keys), few.Keys)
	hot := few.Partitions * few.Keys
	for towards := -1; towards < 2; towards++ {
		seen := map[uint32]bool{}
		for phase := range 3 {
			count := [2]int{}
			for _, place := range l.place(owners, 2, phase, towards)[:hot] {
				count[owners[place]]++
				if seen[place] {
					t.Fatalf("key %d is hot twice", place)
				}
				seen[place] = true
			}
			want := [2]int{hot / 2, hot / 2}
			if towards >= 0 {
				want = [2]int{}
				want[towards] = hot
			}
			if count != want {
				t.Errorf("towards %d: %v of the hot keys are with each shard, and should be %v", towards, count, want)
			}
		}
	}
	ranks := 0
	for _, rank := range l.draws {
		if int(rank) < hot {
			ranks++
		}
	}
	if part := float64(ranks) / float64(len(l.draws)); part < 0.89 || part > 0.91 {
		t.Errorf("%.3f of the events are hot", part)
	}
}

// Goal: names are exchanged, and nothing else: the events of a file keep their order and
// shares. The busiest ones go to one shard, or are dealt out.
func TestNamesOfAFileAreExchanged(t *testing.T) {
	l, err := Named(lines("b", "a", "a", "c", "a", "b", "d"))
	must(t, err)
	if !slices.Equal(l.draws, []uint32{1, 0, 0, 2, 0, 1, 3}) || l.Busiest() != 3.0/7 {
		t.Errorf("the ranks are %v, the busiest has %v", l.draws, l.Busiest())
	}
	owners := []int{1, 0, 1, 0}
	if got := l.place(owners, 2, 1, 1); !slices.Equal(got, []uint32{0, 2, 1, 3}) {
		t.Errorf("to the second shard: %v", got)
	}
	if got := l.place(owners, 2, 0, -1); !slices.Equal(got, []uint32{1, 0, 2, 3}) {
		t.Errorf("dealt: %v", got)
	}
}

func TestUnusableFilesAreErrors(t *testing.T) {
	for name, s := range map[string]*input.Reader{"nothing": lines(), "a long key": lines(strings.Repeat("x", 17))} {
		if _, err := Named(s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// lines is a file with these keys.
func lines(keys ...string) *input.Reader {
	text := "k\n" + strings.Join(keys, "\n") + "\n"
	r, err := input.Open(input.Options{Path: "-", Format: "csv", Key: ".k", Stdin: strings.NewReader(text)})
	if err != nil {
		panic(err)
	}
	return r
}

// Goal: whatever is done about the imbalance, every key is right in the end, and what was
// settled is in the slices.
func TestRunsOfEveryModeAreRight(t *testing.T) {
	l, err := few.Load()
	must(t, err)
	for _, mode := range Modes() {
		r, err := Run(context.Background(), small(t, mode, l))
		must(t, err)
		settled := uint64(0)
		for _, s := range r.Slices {
			settled += s.Events
			if n := s.Times.TotalCount(); n != int64(s.Events) {
				t.Errorf("%s: %d times of %d events", mode, n, s.Events)
			}
		}
		if r.Keys != len(l.Keys) || len(r.Slices) != 9 || settled == 0 || settled > r.Events {
			t.Errorf("%s: %d keys, %d slices with %d of %d events", mode, r.Keys, len(r.Slices), settled, r.Events)
		}
	}
}

// Goal: a state is compared with what was sent, and so is its order.
func TestAWrongStateIsFound(t *testing.T) {
	l, err := few.Load()
	must(t, err)
	for name, spoil := range map[string]func(d *drive){
		"one too many": func(d *drive) { send(t, d, d.keys[3], event{Number: 1}) },
		"lost":         func(d *drive) { d.feeders[1].sent[4]++ },
		"out of turn": func(d *drive) {
			send(t, d, d.keys[5], event{Number: 2})
			d.feeders[0].sent[5]++
		},
		"unknown": func(d *drive) { send(t, d, Key{1}, event{}) },
		"missing": func(d *drive) { d.keys = append(d.keys, Key{2}) },
	} {
		o := small(t, Off, l)
		d := &drive{Options: &o, table: newTable(0), keys: slices.Clone(l.Keys)}
		must(t, d.open(context.Background()))
		must(t, d.prepare(context.Background()))
		if _, err := d.verify(context.Background()); err != nil {
			t.Fatalf("before it was spoiled: %v", err)
		}
		spoil(d)
		if _, err := d.verify(context.Background()); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, d.engine.Close())
	}
}

func send(t *testing.T, d *drive, k Key, e event) {
	_, err := d.table.Do(context.Background(), k, e, engine.Applied)
	must(t, err)
}

// Goal: an event's time is from when it was read to when the source was told of it.
func TestTimesAreThoseOfTheEventsThatAreTold(t *testing.T) {
	o := Options{Even: time.Hour, Slice: time.Hour}
	f := &feeder{drive: &drive{Options: &o, began: time.Now()}, slices: []slice{{times: NewTimes()}}}
	f.polls = []poll{{10, -time.Second}, {30, -time.Minute}, {31, 0}}
	f.settled(5)
	f.settled(30)
	times := f.slices[0].times
	long := 0
	for _, b := range times.Distribution() {
		if b.From > int64(59*time.Second) {
			long += int(b.Count)
		}
	}
	if f.slices[0].events != 30 || times.TotalCount() != 30 || long != 20 || len(f.polls) != 1 {
		t.Errorf("%d events, %d of them took a minute; %v is left", f.slices[0].events, long, f.polls)
	}
}

func TestWrongOptionsAreErrors(t *testing.T) {
	l, err := few.Load()
	must(t, err)
	for name, spoil := range map[string]func(o *Options){
		"one shard": func(o *Options) { o.Engine.Shards = 1 }, "many shards": func(o *Options) { o.Engine.Shards = ShardsMax + 1 },
		"no shift": func(o *Options) { o.Shifts = 0 }, "no even time": func(o *Options) { o.Even = 0 }, "slices": func(o *Options) { o.Slice = 1 },
		"work": func(o *Options) { o.Work = -1 },
	} {
		o := small(t, Off, l)
		if spoil(&o); o.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, h := range map[string]Hot{
		"odd":    {Partitions: 7, Keys: 1, Part: 0.5, Cool: 1},
		"no key": {Partitions: 8, Part: 0.5, Cool: 1}, "all": {Partitions: 8, Keys: 1, Part: 1, Cool: 1}, "many": {Partitions: 64, Keys: KeysMax, Part: 0.5, Cool: 1},
	} {
		if _, err := h.Load(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
