package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Versions of one table. The names of the types are those of the versions; small letters
// tell programs apart whose version is the same.
type (
	paid1a struct{ Cents int64 }
	paid1b struct {
		Cents int64
		Flags uint8
	}
	card1a struct{ Spent int64 }
	card1b struct {
		Spent  int64
		Recent [2]struct{ Day uint16 }
		Limit  uint32
	}
	paid2 struct {
		Cents    int64
		Currency string
	}
	card2 struct {
		Spent int64
		Name  string
	}
	card3 struct{ Euros, Cents int64 }
)

// cards declares the table in one of its versions.
func cards[S, E any](version uint32, apply func(s *S, e E), upgrades ...engine.Upgrade) *engine.Table[string, S, E, struct{}] {
	return engine.NewTable(engine.Spec[string, S, E, struct{}]{
		Name: "cards", Version: version, Upgrades: upgrades,
		Apply: func(_ *engine.Context[string], s *S, e E) struct{} { apply(s, e); return struct{}{} },
	})
}

func cards1a() *engine.Table[string, card1a, paid1a, struct{}] {
	return cards(1, func(s *card1a, e paid1a) { s.Spent += e.Cents })
}

func cards1b() *engine.Table[string, card1b, paid1b, struct{}] {
	return cards(1, func(s *card1b, e paid1b) {
		s.Spent += e.Cents
		s.Recent[0].Day += uint16(e.Flags)
		s.Limit += uint32(e.Flags)
	})
}

func stateTo2(s card1b) (card2, error) { return card2{s.Spent, fmt.Sprint("limit ", s.Limit)}, nil }

func eventTo2(e paid1b) (paid2, error) { return paid2{e.Cents, "eur"}, nil }

func cards2(upgrades ...engine.Upgrade) *engine.Table[string, card2, paid2, struct{}] {
	return cards(2, func(s *card2, e paid2) { s.Spent, s.Name = s.Spent+e.Cents, e.Currency }, upgrades...)
}

func stateTo3(s card2) (card3, error) { return card3{s.Spent / 100, s.Spent % 100}, nil }

func cards3(upgrades ...engine.Upgrade) *engine.Table[string, card3, paid2, struct{}] {
	return cards(3, func(s *card3, e paid2) { s.Cents += e.Cents }, upgrades...)
}

// with makes the lab go on with another program.
func (l *lab) with(tables ...engine.Definition) *lab {
	l.tables = tables
	return l
}

// refused is the difference that keeps the present program out.
func (l *lab) refused() string {
	l.tb.Helper()
	_, err := l.tryOpen(l.options, l.tables...)
	var version *engine.VersionError
	if !errors.As(err, &version) {
		l.tb.Fatalf("not refused by version: %v", err)
	}
	return version.Diff
}

func mustSay(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}

// Goal: fields at the end need no code and no version: what was written before has them
// zero, in snapshots and in the log. Method: every way of ending the old program, and
// numbers of shards.
func TestFieldsAreAddedWithoutAWord(t *testing.T) {
	for _, end := range []string{"close", "kill", "snapshot and kill", "move and kill"} {
		for _, shards := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/shards=%d", strings.ReplaceAll(end, " ", "-"), shards), func(t *testing.T) {
				old := cards1a()
				l := newLab(t, smallStore(), old)
				want := make(map[string]card1b)
				for i := range 100 {
					key := fmt.Sprint("card-", i%30)
					do(t, old, key, paid1a{int64(i)})
					want[key] = card1b{Spent: want[key].Spent + int64(i)}
				}
				endBy(t, l, end)
				now := cards1b()
				l.options.Shards = shards
				l.with(now).open()
				if have := everything(t, now); !maps.Equal(have, want) {
					t.Fatalf("%v, want %v", have, want)
				}
				do(t, now, "card-1", paid1b{1000, 3})
				c := want["card-1"]
				c.Spent, c.Limit = c.Spent+1000, 3
				c.Recent[0].Day = 3
				want["card-1"] = c
				for range 2 {
					l.crash(crashfs.Lost)
					if have := everything(t, now); !maps.Equal(have, want) {
						t.Fatalf("after a crash: %v, want %v", have, want)
					}
				}
				l.reopen()
				if r := l.engine.Recovery(); r.Lifted != 0 || !r.Clean {
					t.Errorf("lifted again after a close: %+v", r)
				}
				must(t, l.engine.Close())
				mustSay(t, l.with(cards1a()).refused(), "field Limit (uint32) was removed")
				l.with(now).open()
			})
		}
	}
}

// withoutSnapshots makes every snapshot fail, so that the log stays.
func withoutSnapshots(l *lab) {
	l.failing(errors.New("no snapshots"), func(op crashfs.Op) bool {
		return op.Kind == crashfs.Create && strings.Contains(op.Name, "/snapshot/")
	})
}

// endBy ends a program.
func endBy(t *testing.T, l *lab, end string) {
	t.Helper()
	switch end {
	case "close":
		must(t, l.engine.Close())
		return
	case "snapshot and kill":
		must(t, l.engine.Snapshot(context.Background()))
	case "move and kill":
		must(t, l.engine.Snapshot(context.Background()))
		for p := range 64 {
			must(t, l.engine.Move(context.Background(), p, p%2))
		}
	}
	l.die(crashfs.Lost)
}

// Goal: states of older versions are lifted, one version after the other, and only once.
func TestStatesAreLiftedFromVersionToVersion(t *testing.T) {
	one := cards1a()
	l := newLab(t, smallStore(), one)
	do(t, one, "a", paid1a{150})
	do(t, one, "b", paid1a{275})
	must(t, l.engine.Close())
	three := cards3(engine.UpgradeState(1, 2, stateTo2), engine.UpgradeState(2, 3, stateTo3))
	l.with(three).open()
	if r := l.engine.Recovery(); r.Lifted != 2 || !r.Clean || !r.Shards[0].Older {
		t.Errorf("%+v", r)
	}
	want := map[string]card3{"a": {1, 50}, "b": {2, 75}}
	if have := everything(t, three); !maps.Equal(have, want) {
		t.Errorf("%v", have)
	}
	must(t, l.engine.Close())
	l.with(cards3()).open() // nothing is left to lift
	if r := l.engine.Recovery(); r.Lifted != 0 || r.Keys != 2 {
		t.Errorf("%+v", r)
	}
	must(t, l.engine.Close())
	mustSay(t, l.with(cards2()).refused(), "version 3", "version 2, which is older")
	l.with(three).open()
}

// Goal: a new Apply is never given the events of another version without being told,
// and both ways out work.
func TestEventsOfAnOlderVersionAreNotReplayedUntold(t *testing.T) {
	start := func(t *testing.T) *lab {
		one := cards1b()
		l := newLab(t, smallStore(), one)
		do(t, one, "a", paid1b{5, 1})
		must(t, l.engine.Snapshot(context.Background()))
		do(t, one, "a", paid1b{6, 1})
		do(t, one, "b", paid1b{7, 1})
		l.die(crashfs.Lost)
		return l
	}
	lift := engine.UpgradeState(1, 2, stateTo2)
	t.Run("refused", func(t *testing.T) {
		l := start(t)
		before := l.disk.Crash(crashfs.Model{})
		l.disk = l.disk.Crash(crashfs.Model{})
		mustSay(t, l.with(cards2(lift)).refused(), "version 1", "Close it", "UpgradeEvent(1, 2", "SameEvents(1, 2)")
		l.disk = before
		one := cards1b()
		l.with(one).open()
		must(t, l.engine.Close())
		two := cards2(lift)
		l.with(two).open()
		want := map[string]card2{"a": {11, "limit 2"}, "b": {7, "limit 1"}}
		if have := everything(t, two); !maps.Equal(have, want) {
			t.Errorf("%v", have)
		}
	})
	t.Run("upgraded", func(t *testing.T) {
		two := cards2(lift, engine.UpgradeEvent(1, 2, eventTo2))
		l := start(t).with(two)
		want := map[string]card2{"a": {11, "eur"}, "b": {7, "eur"}}
		for range 3 { // the frames that a kill leaves are copied as they are, each time
			withoutSnapshots(l)
			l.open()
			if have := everything(t, two); !maps.Equal(have, want) {
				t.Errorf("%v", have)
			}
			l.die(crashfs.Kept)
		}
		l.broken = true
	})
	t.Run("the-same", func(t *testing.T) {
		// Two rungs for events: version 1 lifts to 2, and 3 takes those of 2 as they are.
		three := cards3(lift, engine.UpgradeState(2, 3, stateTo3), engine.UpgradeEvent(1, 2, eventTo2), engine.SameEvents(2, 3))
		l := start(t).with(three)
		l.open()
		want := map[string]card3{"a": {0, 11}, "b": {0, 7}}
		if have := everything(t, three); !maps.Equal(have, want) {
			t.Errorf("%v", have)
		}
	})
}

// A version that only says that Apply has changed keeps its states.
func TestANewVersionKeepsStatesOfTheSameLayout(t *testing.T) {
	one := cards1b()
	l := newLab(t, smallStore(), one)
	do(t, one, "a", paid1b{5, 1})
	must(t, l.engine.Close())
	double := cards(7, func(s *card1b, e paid2) { s.Spent += 2 * e.Cents }) // and other events
	l.with(double).open()
	do(t, double, "a", paid2{Cents: 10})
	if s, _ := get(t, double, "a"); s.Spent != 25 || s.Limit != 1 {
		t.Errorf("%+v", s)
	}
	l.crash(crashfs.Lost)
	if s, _ := get(t, double, "a"); s.Spent != 25 {
		t.Errorf("%+v", s)
	}
}

// Goal: what is wrong with upgrades is told when the store is opened, and changes nothing.
func TestWrongUpgradesAreRefused(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		what   string
		table  engine.Definition
		words  []string
		differ bool // by a VersionError
	}{
		{"downwards", cards2(engine.UpgradeState(2, 1, stateTo2)), []string{"version 2 to 1"}, false},
		{"too high", cards2(engine.UpgradeState(1, 3, stateTo2)), []string{"up to 2"}, false},
		{"twice", cards2(engine.UpgradeState(1, 2, stateTo2), engine.UpgradeState(1, 2, stateTo2)), []string{"two upgrades of states from version 1"}, false},
		{"no function", cards2(engine.UpgradeState[card1b, card2](1, 2, nil)), []string{"no function"}, false},
		{"other type", cards3(engine.UpgradeState(1, 3, stateTo2)), []string{"makes a engine_test.card2", "takes a engine_test.card3"}, true},
		{"gap in types", cards3(engine.UpgradeState(1, 2, func(s card1b) (card1b, error) { return s, nil }), engine.UpgradeState(2, 3, stateTo3)),
			[]string{"makes a engine_test.card1b", "takes a engine_test.card2"}, true},
		{"other layout", cards2(engine.UpgradeState(1, 2, func(s renamed) (card2, error) { return card2{}, nil })), []string{"field Spent was renamed A"}, true},
		{"codec", cards2(engine.UpgradeCodedState(1, 2, named[card1b]{name: "mine/1"}, stateTo2)), []string{"and the upgrade reads codec mine/1"}, true},
		{"error", cards2(engine.UpgradeState(1, 2, func(card1b) (card2, error) { return card2{}, broken })),
			[]string{`the state of key key`, "upgrade from version 1 to 2: broken"}, false},
		{"panic", cards2(engine.UpgradeState(1, 2, func(card1b) (card2, error) { panic("ouch") })), []string{"ouch"}, false},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			one := cards1b()
			l := newLab(t, smallStore(), one)
			do(t, one, "key", paid1b{5, 1})
			must(t, l.engine.Close())
			_, err := l.tryOpen(l.options, c.table)
			if err == nil {
				t.Fatal("taken")
			}
			mustSay(t, err.Error(), append(c.words, "cards")...)
			if version := (*engine.VersionError)(nil); errors.As(err, &version) != c.differ {
				t.Errorf("%v", err)
			}
			l.open()
			if s, _ := get(t, one, "key"); s.Spent != 5 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Goal: a codec is changed, given and taken away with a new version.
func TestCodecsAreChangedByUpgrades(t *testing.T) {
	type bag = map[string]int
	define := func(version uint32, codec engine.Codec[bag], upgrades ...engine.Upgrade) *engine.Table[string, bag, string, struct{}] {
		return engine.NewTable(engine.Spec[string, bag, string, struct{}]{
			Name: "bags", Version: version, StateCodec: codec, Upgrades: upgrades,
			Apply: func(_ *engine.Context[string], s *bag, e string) struct{} {
				next := maps.Clone(*s)
				if next == nil {
					next = bag{}
				}
				next[e]++
				*s = next
				return struct{}{}
			},
		})
	}
	one := define(1, goldenBag{})
	l := newLab(t, smallStore(), one)
	do(t, one, "k", "x")
	must(t, l.engine.Close())
	two := define(2, named[bag]{name: "other/1"}, engine.UpgradeCodedState(1, 2, goldenBag{}, func(b bag) (bag, error) { return b, nil }))
	l.with(two).open()
	do(t, two, "k", "y")
	if s, _ := get(t, two, "k"); !maps.Equal(s, bag{"x": 1, "y": 1}) {
		t.Errorf("%v", s)
	}
	must(t, l.engine.Close())
	three := engine.NewTable(engine.Spec[string, int64, string, struct{}]{
		Name: "bags", Version: 3, Apply: func(*engine.Context[string], *int64, string) struct{} { return struct{}{} },
		Upgrades: []engine.Upgrade{engine.UpgradeCodedState(2, 3, named[bag]{name: "other/1"}, func(b bag) (int64, error) { return int64(len(b)), nil })},
	})
	l.with(three).open()
	if s, _ := get(t, three, "k"); s != 2 {
		t.Errorf("%v", s)
	}
}

// Goal: events that a codec has encoded and that only the log has are lifted, and without
// the codec that they had they are refused.
func TestCodedEventsAreLiftedFromTheLog(t *testing.T) {
	type order struct{ Euros int64 }
	define := func(version uint32, upgrades ...engine.Upgrade) *engine.Table[string, int64, int64, struct{}] {
		return engine.NewTable(engine.Spec[string, int64, int64, struct{}]{
			Name: "orders", Version: version, Upgrades: upgrades,
			Apply: func(_ *engine.Context[string], cents *int64, e int64) struct{} { *cents += e; return struct{}{} },
		})
	}
	one := engine.NewTable(engine.Spec[string, int64, order, struct{}]{
		Name: "orders", Version: 1, EventCodec: named[order]{name: "orders/1"},
		Apply: func(_ *engine.Context[string], cents *int64, e order) struct{} {
			*cents += 100 * e.Euros
			return struct{}{}
		},
	})
	l := newLab(t, smallStore(), one)
	do(t, one, "k", order{2})
	do(t, one, "k", order{3})
	l.die(crashfs.Lost)
	cents := func(o order) (int64, error) { return 100 * o.Euros, nil }
	mustSay(t, l.with(define(2, engine.UpgradeCodedEvent(1, 2, named[order]{name: "other/1"}, cents))).refused(), "orders/1", "other/1")
	two := define(2, engine.UpgradeCodedEvent(1, 2, named[order]{name: "orders/1"}, cents))
	l.with(two).open()
	do(t, two, "k", 7)
	if s, _ := get(t, two, "k"); s != 507 {
		t.Errorf("%d cents, want 507", s)
	}
}

// Goal: a table is let go by name, whatever the log still holds of it, and for good.
func TestDroppedTableIsLetGo(t *testing.T) {
	for _, end := range []string{"close", "kill", "snapshot and kill", "move and kill"} {
		a, b := sums("a"), lines("b")
		l := newLab(t, smallStore(), b, a)
		for i := range 50 {
			do(t, a, fmt.Sprint(i), 1)
			do(t, b, fmt.Sprint(i), 0)
		}
		endBy(t, l, end)
		l.with(a).refused()
		l.with(a, engine.Dropped("b"), engine.Dropped("never there")).open()
		if n := len(everything(t, a)); n != 50 {
			t.Errorf("%s: %d keys", end, n)
		}
		do(t, a, "new", 1)
		l.crash(crashfs.Lost)
		l.reopen()
		must(t, l.engine.Close())
		mustSay(t, l.with(a, lines("b")).refused(), "dropped", "another name")
		l.with(a).open()
		l.crash(crashfs.Lost)
		if n := len(everything(t, a)); n != 51 {
			t.Errorf("%s: %d keys", end, n)
		}
		if s, err := l.engine.Stats(context.Background()); err != nil || len(s.Tables) != 1 || s.Tables[0].Name != "a" {
			t.Errorf("%+v %v", s.Tables, err)
		}
	}
}

// Blank fields lie in records, but not in the layout.
func TestStatesWithBlankFieldsAreLifted(t *testing.T) {
	type blank struct {
		Spent int64
		_     [3]int64
	}
	one := cards(1, func(s *blank, e paid1a) { s.Spent += e.Cents })
	l := newLab(t, smallStore(), one)
	for i := range int64(100) {
		do(t, one, fmt.Sprint("key-", i), paid1a{i})
	}
	must(t, l.engine.Close())
	two := cards1b()
	l.with(two).open()
	for key, s := range everything(t, two) {
		if fmt.Sprint("key-", s.Spent) != key {
			t.Errorf("%s: %+v", key, s)
		}
	}
}
