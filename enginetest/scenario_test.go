package enginetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

type shopTable = engine.Table[account, basket, buy, int]

// A shop is a scenario with a table: what was bought, and what was acknowledged of it.
type shop struct {
	table *shopTable
	ack   engine.Ack
	acked map[account]int // pieces that calls have answered
	sent  map[account]int // the same, with the call that failed
}

func newShop(spec baskets, ack engine.Ack) *shop {
	spec.Check = nil
	return &shop{table: engine.NewTable(spec), ack: ack, acked: map[account]int{}, sent: map[account]int{}}
}

func (s *shop) scenario() Scenario {
	return Scenario{Tables: []engine.Definition{s.table}, Run: s.run, Recovered: s.recovered}
}

func (s *shop) buy(name string, pieces int) error {
	k := account{Name: name}
	s.sent[k] += pieces
	total, err := s.table.Do(context.Background(), k, buy{Item: "a", Pieces: pieces}, s.ack)
	if err == nil {
		s.acked[k] = total
	}
	return err
}

// run buys, takes a snapshot, and has crashes and another number of shards in between.
func (s *shop) run(store *Store) error {
	for i := range 9 {
		if err := s.buy(fmt.Sprint("n", i%2), i+1); err != nil {
			return err
		}
		switch i {
		case 2:
			if err := store.Engine().Snapshot(context.Background()); err != nil {
				return err
			}
		case 4:
			store.Advance(time.Second)
			store.Reopen(3)
		case 6:
			store.CrashAndReopen(PowerLost)
		}
	}
	return nil
}

func (s *shop) recovered(*Store) error {
	for k, sent := range s.sent {
		state, _, err := s.table.Get(context.Background(), k)
		if err != nil {
			return err
		}
		if state.total != s.acked[k] && state.total != sent || state.Items["a"] != state.total {
			return fmt.Errorf("key %v: %d in all and %d of a, acknowledged were %d, and sent %d", k, state.total, state.Items["a"], s.acked[k], sent)
		}
	}
	return nil
}

func shopOptions() engine.Options {
	return engine.Options{Shards: 2, Partitions: 4, SegmentBytes: 4 << 10}
}

func TestCrashEverywherePassesAScenarioWithoutFault(t *testing.T) {
	runs := 0
	CrashEverywhere(t, shopOptions(), func() Scenario { runs++; return newShop(good(), engine.Durable).scenario() })
	if runs < 50 {
		t.Errorf("only %d runs: it must crash at more operations than that", runs)
	}
}

// Goal: each wrong scenario is found, by the words that say what is wrong with it.
func TestCrashEverywhereFindsWhatIsWrong(t *testing.T) {
	var outside atomic.Int64
	random := good()
	random.Apply = func(_ *engine.Context[account], s *basket, _ buy) int {
		s.total = int(outside.Add(7))
		s.Items = map[string]int{"a": s.total}
		return s.total
	}
	lossy := good()
	lossy.StateCodec = jsonCodec[basket, basketJSON]{
		func(b basket) basketJSON { return basketJSON{b.Items, b.Last, b.total} },
		func(j basketJSON) basket { return basket{j.Items, j.Last, 0} },
	}
	failing := newShop(good(), engine.Durable).scenario()
	failing.Run = func(*Store) error { return fmt.Errorf("no such shop") }
	ending := newShop(good(), engine.Durable).scenario()
	ending.Run = func(s *Store) error { s.Advance(-1); return nil }
	for _, c := range []struct {
		what, words string
		begin       func() Scenario
	}{
		{"acks that a crash may take back", "acknowledged were", func() Scenario { return newShop(good(), engine.Applied).scenario() }},
		{"a fold that is not deterministic", "acknowledged were", func() Scenario { return newShop(random, engine.Durable).scenario() }},
		{"a codec that loses a field", "0 in all and", func() Scenario { return newShop(lossy, engine.Durable).scenario() }},
		{"a scenario that fails by itself", "fails before there is a crash: no such shop", func() Scenario { return failing }},
		{"a clock that is set back", "the clock cannot be moved back", func() Scenario { return ending }},
	} {
		if err := crashEverywhere(t, shopOptions(), c.begin, 1); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", c.what, err, c.words)
		}
	}
}

func TestCheckCodecTellsRightFromWrong(t *testing.T) {
	draw := func(random *rand.Rand) account { return account{random.IntN(9), fmt.Sprint(random.IntN(99))} }
	CheckCodec(t, jsonCodec[account, account]{same[account], same[account]}, draw)
	err := checkCodec(jsonCodec[account, account]{func(a account) account { a.Shop = 0; return a }, same[account]}, draw, 1)
	if err == nil || !strings.Contains(err.Error(), "codec json/1: a value does not come back") {
		t.Errorf("a codec that loses a field: %v", err)
	}
}

// written makes a store with a log and two snapshots, with a good table.
func written(t *testing.T, keep engine.KeepLog) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	table := engine.NewTable(good())
	e, err := engine.Open(t.Context(), dir, engine.Options{Partitions: 4, KeepLog: keep}, table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if i%10 == 9 {
			err = e.Snapshot(t.Context())
		}
		if err == nil {
			_, err = table.Do(t.Context(), account{Shop: i % 3}, buy{Item: "b", Pieces: 1 + i%5})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckLogTellsRightFromWrong(t *testing.T) {
	dir := written(t, engine.KeepLog{Bytes: 1 << 20})
	CheckLog(t, dir, engine.NewTable(good()))
	var outside atomic.Int64
	random, other := good(), good()
	random.Apply = func(_ *engine.Context[account], s *basket, _ buy) int { s.total = int(outside.Add(1)); return 0 }
	other.Apply = func(_ *engine.Context[account], s *basket, e buy) int { s.total += 2 * e.Pieces; return 0 }
	for what, spec := range map[string]baskets{"is not deterministic": random, "does something else": other} {
		if _, err := checkLog(dir, t.TempDir(), []engine.Definition{engine.NewTable(spec)}); err == nil || !strings.Contains(err.Error(), "does not make the same states again") {
			t.Errorf("an Apply that %s: %v", what, err)
		}
	}
	if _, err := checkLog(filepath.Dir(dir), t.TempDir(), nil); err == nil {
		t.Errorf("no store passes")
	}
	never := filepath.Join(t.TempDir(), "store")
	e, err := engine.Open(t.Context(), never, engine.Options{}, engine.NewTable(good()))
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkLog(never, t.TempDir(), []engine.Definition{engine.NewTable(good())}); err == nil || !strings.Contains(err.Error(), "no events to fold") {
		t.Errorf("a log without events: %v", err)
	}
}
