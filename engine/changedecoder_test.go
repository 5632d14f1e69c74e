package engine_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

var liftSeed = flag.Uint64("lift.seed", 0, "seed of the kept log of several versions; 0: a new one")

// A ledger is the events of each key in their order, as version 3 must see them.
type ledger map[string][]paid2

// readOn reads what is durable behind a position.
func (l ledger) readOn(table *engine.Table[string, card3, paid2, struct{}], from engine.Position) (engine.Position, error) {
	changes, err := table.Changes(context.Background(), from, engine.ChangesOptions{Stop: true})
	if err != nil {
		return from, err
	}
	defer changes.Close()
	for {
		c, err := changes.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return changes.Position(), nil
		}
		if err != nil {
			return changes.Position(), err
		}
		l[c.Key] = append(l[c.Key], c.Event)
	}
}

// paidWith sends events of a version; what of them version 3 sees goes into the ledger.
func (l ledger) paidWith(t *testing.T, version int, random *rand.Rand, table engine.Definition) {
	for range 5 + random.IntN(30) {
		key, cents, flags := fmt.Sprint("card-", random.IntN(9)), random.Int64N(500), uint8(random.IntN(3))
		seen := paid2{cents, "eur"}
		switch table := table.(type) {
		case *engine.Table[string, card1a, paid1a, struct{}]:
			do(t, table, key, paid1a{cents})
		case *engine.Table[string, card1b, paid1b, struct{}]:
			do(t, table, key, paid1b{cents, flags})
		case *engine.Table[string, card2, paid2, struct{}]:
			seen.Currency = fmt.Sprint("version ", version)
			do(t, table, key, seen)
		case *engine.Table[string, card3, paid2, struct{}]:
			seen.Currency = fmt.Sprint("version ", version)
			do(t, table, key, seen)
		}
		l[key] = append(l[key], seen)
	}
}

// editionsOfCards are the programs of four deploys, each of which can open what those
// before it have left.
func editionsOfCards() []engine.Definition {
	to2 := []engine.Upgrade{engine.UpgradeState(1, 2, stateTo2), engine.UpgradeEvent(1, 2, eventTo2)}
	to3 := append(slices.Clone(to2), engine.UpgradeState(2, 3, stateTo3), engine.SameEvents(2, 3))
	return []engine.Definition{cards1a(), cards1b(), cards2(to2...), cards3(to3...)}
}

// Goal: who reads a kept log gets the events of all versions that wrote it, as the present
// one understands them, from the beginning and from where a reader of an earlier version
// was; a replay of it, too. Method: random histories of four programs, with crashes, moves,
// snapshots and other numbers of shards, against a list of what was sent.
func TestAKeptLogOfSeveralVersionsIsReadAsThePresentOne(t *testing.T) {
	seed := *liftSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i := range uint64(6) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("repeat with: go test ./engine -run '^TestAKeptLogOfSeveralVersionsIsReadAsThePresentOne$' -lift.seed %d", seed)
				}
			})
			readSeveralVersions(t, rand.New(rand.NewPCG(seed, i)))
		})
	}
}

func readSeveralVersions(t *testing.T, random *rand.Rand) {
	want, programs := make(ledger), editionsOfCards()
	options := smallStore()
	options.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, options, programs[0])
	last := programs[len(programs)-1].(*engine.Table[string, card3, paid2, struct{}])
	versions := []int{1, 1, 2, 3}
	for i, program := range programs {
		for range 1 + random.IntN(3) {
			if l.with(program); i > 0 {
				l.options.Shards = 1 + random.IntN(3)
				l.open()
			}
			want.paidWith(t, versions[i], random, program)
			must(t, l.engine.Move(t.Context(), random.IntN(64), random.IntN(min(2, l.options.Shards))))
			for range random.IntN(4) {
				must(t, l.engine.Snapshot(t.Context()))
				want.paidWith(t, versions[i], random, program)
			}
			if random.IntN(2) == 0 {
				must(t, l.engine.Close())
			} else {
				l.die(crashfs.Lost)
			}
			if i == 0 {
				break
			}
		}
	}
	l.open()
	mustRead(t, last, want)
	want.paidWith(t, 3, random, last)
	mustRead(t, last, want)
	mustReplay(t, l, want)
}

// mustRead reads the changes of all versions, at once and in two parts.
func mustRead(t *testing.T, table *engine.Table[string, card3, paid2, struct{}], want ledger) {
	t.Helper()
	have := make(ledger)
	_, err := have.readOn(table, engine.Position{})
	must(t, err)
	if !maps.EqualFunc(have, want, slices.Equal) {
		t.Fatalf("the changes are %v, want %v", have, want)
	}
}

// mustReplay replays the log into another table, while the store runs and when it is closed.
func mustReplay(t *testing.T, l *lab, want ledger) {
	t.Helper()
	totals := make(map[string]sum)
	for key, events := range want {
		for _, e := range events {
			s := totals[key+e.Currency]
			totals[key+e.Currency] = sum{s.Count + 1, s.Total + e.Cents, e.Cents}
		}
	}
	from := editionsOfCards()[3].(*engine.Table[string, card3, paid2, struct{}])
	for _, how := range []string{"running", "closed"} {
		into := sums("totals")
		other := newLab(t, smallStore(), into)
		step := engine.ReplayInto(from, into, func(c engine.Change[string, paid2]) (string, int64, bool) {
			return c.Key + c.Event.Currency, c.Event.Cents, true
		})
		replay := l.engine.Replay
		if how == "closed" {
			must(t, l.engine.Close())
			replay = func(ctx context.Context, o engine.ReplayOptions, steps ...engine.ReplayStep) (engine.Replayed, error) {
				o.Environment = &seam.Environment{FS: l.disk, Now: l.now.Load}
				return engine.Replay(ctx, "/store", o, steps...)
			}
		}
		_, err := replay(t.Context(), engine.ReplayOptions{}, step)
		must(t, err)
		if have := everything(t, into); !maps.Equal(have, totals) {
			t.Fatalf("%s: the replay made %v, want %v", how, have, totals)
		}
		must(t, other.engine.Close())
	}
	l.open()
}

// Goal: what an older version wrote is not handed out untold: the reader is refused with
// the way out, keeps its place, and goes on there when it was given one.
func TestChangesOfAnOlderVersionAreNotHandedOutUntold(t *testing.T) {
	one := cards1a()
	options := smallStore()
	options.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, options, one)
	do(t, one, "a", paid1a{5})
	must(t, l.engine.Close())
	two := cards2(engine.UpgradeState(1, 2, stateTo2))
	l.with(two).open()
	do(t, two, "a", paid2{6, "usd"})
	state := []engine.Upgrade{engine.UpgradeState(1, 2, stateTo2), engine.UpgradeState(2, 3, stateTo3)}
	refused := func(say string, upgrades ...engine.Upgrade) {
		t.Helper()
		three := cards3(append(state[:2:2], upgrades...)...)
		must(t, l.engine.Close())
		l.with(three).open()
		have := make(ledger)
		at, err := have.readOn(three, engine.Position{})
		version := (*engine.VersionError)(nil)
		if !errors.As(err, &version) {
			t.Fatalf("it is read: %v, %v", have, err)
		}
		mustSay(t, version.Diff, "event 1 of partition", say)
		if _, again := have.readOn(three, at); again == nil || len(have["a"]) > 0 {
			t.Fatalf("from its place on it reads %v, %v", have, again)
		}
	}
	refused("UpgradeEvent(1, 2, ...), or SameEvents(1, 2)")
	refused("SameEvents(1, 2)", engine.SameEvents(2, 3))
	refused("what follows takes a engine_test.paid2", engine.SameEvents(2, 3), engine.UpgradeEvent(1, 2, func(paid1a) (card1a, error) { return card1a{}, nil }))
	must(t, l.engine.Close())
	l.with(cards3(append(state[:2:2], engine.SameEvents(2, 3), engine.UpgradeEvent(1, 2, eventTo2))...)).open()
	three := l.tables[0].(*engine.Table[string, card3, paid2, struct{}])
	do(t, three, "a", paid2{7, "chf"})
	mustRead(t, three, ledger{"a": {{5, "eur"}, {6, "usd"}, {7, "chf"}}})
}

// An upgrade that fails, or panics, is an error of the reader, not of the program.
func TestAnUpgradeThatFailsIsAnErrorOfTheReader(t *testing.T) {
	one := cards1a()
	options := smallStore()
	options.KeepLog = engine.KeepLog{Bytes: 1 << 30}
	l := newLab(t, options, one)
	do(t, one, "a", paid1a{5})
	must(t, l.engine.Close())
	broken := errors.New("broken")
	for _, lift := range []func(paid1b) (paid2, error){
		func(paid1b) (paid2, error) { return paid2{}, broken },
		func(paid1b) (paid2, error) { panic(broken) },
	} {
		two := cards2(engine.UpgradeState(1, 2, stateTo2), engine.UpgradeEvent(1, 2, lift))
		l.with(two).open()
		changes, err := two.Changes(t.Context(), engine.Position{}, engine.ChangesOptions{Stop: true})
		must(t, err)
		_, err = changes.Next(t.Context())
		if err == nil {
			t.Fatal("it was handed out")
		}
		mustSay(t, err.Error(), `table "cards": event: `, "broken")
		must(t, l.engine.Close())
	}
	l.with(cards2(engine.UpgradeState(1, 2, stateTo2))).open()
}
