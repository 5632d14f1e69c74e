package engine_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

var (
	upgradeSeed   = flag.Uint64("upgrade.seed", 0, "seed of the histories of schemas; 0: a new one")
	upgradeRounds = flag.Int("upgrade.rounds", 4, "how many histories of schemas to try")
)

// A truth is what a key must hold, whatever the type of its state in an edition is.
type truth struct {
	sum, hits int64
	old       bool // it was there in version 1
	extra     [2]int32
}

// An edition is the program in one step of its history.
type edition interface {
	definition() engine.Definition
	send(t *testing.T, key string, n int64, twice bool)
	check(want map[string]truth) error
}

// typed is an edition whose states are S and whose events are E.
type typed[S comparable, E any] struct {
	table *engine.Table[string, S, E, struct{}]
	event func(n int64, twice bool) E
	state func(w truth) S
}

func (p *typed[S, E]) definition() engine.Definition { return p.table }

func (p *typed[S, E]) send(t *testing.T, key string, n int64, twice bool) {
	do(t, p.table, key, p.event(n, twice))
}

func (p *typed[S, E]) check(want map[string]truth) error {
	have, states := make(map[string]S), make(map[string]S)
	for entry, err := range p.table.All(context.Background()) {
		if err != nil {
			return err
		}
		have[entry.Key] = entry.State
	}
	for key, w := range want {
		states[key] = p.state(w)
	}
	if !maps.Equal(have, states) {
		return fmt.Errorf("it holds %+v, and must hold %+v", have, states)
	}
	return nil
}

// The types of the editions: a field more, another version, a field more, a version that
// takes the events of the one before.
type (
	sum0 struct{ Sum int64 }
	add0 struct{ N int64 }
	sum1 struct{ Sum, Hits int64 }
	add1 struct {
		N     int64
		Twice bool
	}
	sum2 struct {
		Total int64
		Hits  uint32
		Note  string
	}
	add2 struct {
		Add      int64
		Hit, Old bool
	}
	sum3 struct {
		Total int64
		Hits  uint32
		Note  string
		Extra [2]int32
	}
	add3 struct {
		Add      int64
		Hit, Old bool
		X        int32
	}
	sum4 struct{ Total, Hits int64 }
)

func times(n int64, twice bool) int64 {
	if twice {
		return 2 * n
	}
	return n
}

func count(b bool) int64 { return times(1, b) - 1 }

func note(w truth) string {
	if w.old {
		return "v1"
	}
	return ""
}

func defineEdition[S, E any](version uint32, upgrades []engine.Upgrade, apply func(s *S, e E)) *engine.Table[string, S, E, struct{}] {
	return engine.NewTable(engine.Spec[string, S, E, struct{}]{
		Name: "t", Version: version, Upgrades: upgrades,
		Apply: func(_ *engine.Context[string], s *S, e E) struct{} { apply(s, e); return struct{}{} },
	})
}

// newEdition makes the program of a step.
func newEdition(step int) edition {
	lift := []engine.Upgrade{
		engine.UpgradeState(1, 2, func(s sum1) (sum2, error) { return sum2{s.Sum, uint32(s.Hits), "v1"}, nil }),
		engine.UpgradeEvent(1, 2, func(e add1) (add3, error) {
			return add3{Add: times(e.N, e.Twice), Hit: e.Twice, Old: true}, nil
		}),
	}
	to2 := func(e add3) (add2, error) { return add2{e.Add, e.Hit, e.Old}, nil }
	switch step {
	case 0:
		return &typed[sum0, add0]{defineEdition(1, nil, func(s *sum0, e add0) { s.Sum += e.N }),
			func(n int64, twice bool) add0 { return add0{times(n, twice)} }, func(w truth) sum0 { return sum0{w.sum} }}
	case 1:
		return &typed[sum1, add1]{defineEdition(1, nil, func(s *sum1, e add1) { s.Sum, s.Hits = s.Sum+times(e.N, e.Twice), s.Hits+count(e.Twice) }),
			func(n int64, twice bool) add1 { return add1{n, twice} }, func(w truth) sum1 { return sum1{w.sum, w.hits} }}
	case 2:
		lift[1] = engine.UpgradeEvent(1, 2, func(e add1) (add2, error) { return to2(add3{Add: times(e.N, e.Twice), Hit: e.Twice, Old: true}) })
		return &typed[sum2, add2]{defineEdition(2, lift, func(s *sum2, e add2) {
			if s.Total, s.Hits = s.Total+e.Add, s.Hits+uint32(count(e.Hit)); e.Old {
				s.Note = "v1"
			}
		}), func(n int64, twice bool) add2 { return add2{times(n, twice), twice, false} }, func(w truth) sum2 { return sum2{w.sum, uint32(w.hits), note(w)} }}
	case 3:
		lift[0] = engine.UpgradeState(1, 2, func(s sum1) (sum3, error) { return sum3{Total: s.Sum, Hits: uint32(s.Hits), Note: "v1"}, nil })
		return &typed[sum3, add3]{defineEdition(2, lift, func(s *sum3, e add3) {
			if s.Total, s.Hits = s.Total+e.Add, s.Hits+uint32(count(e.Hit)); e.Old {
				s.Note = "v1"
			}
			s.Extra[e.X&1] += e.X
		}), func(n int64, twice bool) add3 { return add3{times(n, twice), twice, false, int32(n)} },
			func(w truth) sum3 { return sum3{w.sum, uint32(w.hits), note(w), w.extra} }}
	}
	lift = append(lift, engine.SameEvents(2, 3), engine.UpgradeState(2, 3, func(s sum3) (sum4, error) { return sum4{s.Total, int64(s.Hits)}, nil }))
	lift[0] = engine.UpgradeState(1, 2, func(s sum1) (sum3, error) { return sum3{Total: s.Sum, Hits: uint32(s.Hits)}, nil })
	return &typed[sum4, add3]{defineEdition(3, lift, func(s *sum4, e add3) { s.Total, s.Hits = s.Total+e.Add, s.Hits+count(e.Hit) }),
		func(n int64, twice bool) add3 { return add3{Add: times(n, twice), Hit: twice} }, func(w truth) sum4 { return sum4{w.sum, w.hits} }}
}

const editions = 5

// A story is one history of schemas, with what the store must hold.
type story struct {
	*lab
	t      *testing.T
	random *rand.Rand
	want   map[string]truth
	step   int
	now    edition
}

// act does some things with the program of the step.
func (s *story) act() {
	for range 5 + s.random.IntN(40) {
		switch s.random.IntN(25) {
		case 0:
			must(s.t, s.engine.Snapshot(context.Background()))
		case 1:
			must(s.t, s.engine.Move(context.Background(), s.random.IntN(64), s.random.IntN(s.options.Shards)))
		}
		key, n, twice := fmt.Sprint("key-", s.random.IntN(12)), int64(s.random.IntN(100)), s.random.IntN(2) == 0
		s.now.send(s.t, key, n, twice)
		w := s.want[key]
		w.sum += times(n, twice)
		if s.step > 0 {
			w.hits += count(twice)
		}
		w.old = w.old || s.step < 2
		if s.step == 3 {
			w.extra[n&1] += int32(n)
		}
		s.want[key] = w
	}
}

// begin opens the store with the program of the step.
func (s *story) begin() {
	s.now = newEdition(s.step)
	s.options.Shards = 1 + s.random.IntN(3)
	s.with(s.now.definition()).open()
	must(s.t, s.now.check(s.want))
}

// end ends the program.
func (s *story) end() {
	if s.random.IntN(3) == 0 {
		must(s.t, s.engine.Close())
		return
	}
	models := crashfs.Models(s.random.Uint64())
	next := s.disk.Crash(models[s.random.IntN(len(models))])
	_ = s.engine.Close()
	s.disk = next
}

// tear crashes the opening by the program of the step, at operations of the disk all
// through it, and opens the store again each time.
func (s *story) tear() {
	shards := 1 + s.random.IntN(3)
	defer func() { s.disk = s.disk.Crash(crashfs.Model{Data: crashfs.Kept}) }()
	for stop := s.random.IntN(6); ; stop += 1 + s.random.IntN(12) {
		disk := s.disk.Crash(crashfs.Model{Data: crashfs.Kept})
		disk.StopAfter(stop)
		l := &lab{tb: s.t, disk: disk, options: s.options}
		l.now.Store(1e18)
		l.options.Shards = shards
		e, failed := l.tryOpen(l.options, newEdition(s.step).definition())
		models := crashfs.Models(uint64(stop))
		l.disk = disk.Crash(models[s.random.IntN(len(models))])
		if failed == nil {
			_ = e.Close()
		}
		program := newEdition(s.step)
		l.with(program.definition()).open()
		if err := program.check(s.want); err != nil {
			s.t.Fatalf("the opening as step %d was stopped after operation %d: %v", s.step, stop, err)
		}
		must(s.t, l.engine.Close())
		if failed == nil {
			return
		}
	}
}

// Goal: whatever a store goes through, of fields that are added, versions that are lifted
// one by one or several at a time, crashes, also while it is being lifted, and other
// numbers of shards: no acknowledged event is lost, and each state is what its program
// would have made of all events. Method: random histories of five programs, against what
// they must hold.
func TestHistoriesOfSchemasKeepEveryEvent(t *testing.T) {
	seed := *upgradeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i := range uint64(*upgradeRounds) {
		s := &story{t: t, random: rand.New(rand.NewPCG(seed+i, 0)), want: make(map[string]truth)}
		s.lab = &lab{tb: t, options: smallStore(), disk: crashfs.New()}
		s.lab.now.Store(1e18)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("repeat with: go test ./engine -run '^%s$' -upgrade.rounds 1 -upgrade.seed %d", t.Name(), seed+i)
			}
		})
		torn := s.random.IntN(editions)
		for s.step < editions {
			if s.step >= torn && len(s.want) > 0 {
				s.tear()
				torn = editions
			}
			s.begin()
			s.act()
			s.end()
			s.step += s.random.IntN(3)
		}
	}
}
