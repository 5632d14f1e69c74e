package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
	"github.com/keyfold/keyfold/shard"
)

// A ticker is a store in memory with timers of all kinds.
type ticker struct {
	testing.TB
	disk   *crashfs.FS
	now    atomic.Int64
	moved  func(context.Context) error
	plain  *Table[string, int64, int64, struct{}]
	words  *Table[string, string, int64, struct{}]
	engine *Engine
}

func newTicker(tb testing.TB) *ticker {
	t := &ticker{TB: tb, disk: crashfs.New()}
	t.now.Store(1e18)
	t.open()
	return t
}

func (t *ticker) open() {
	t.plain = NewTable(Spec[string, int64, int64, struct{}]{
		Name: "plain", TTL: TTL{Idle: time.Minute, Age: 3 * time.Minute, Downtime: DowntimeStops},
		Apply: func(c *Context[string], s *int64, e int64) struct{} {
			*s++
			c.SetTimer(c.Now().Add(time.Duration(e) * time.Second))
			return struct{}{}
		},
		OnTimer: func(_ *Context[string], s *int64) { *s += 1000 },
	})
	t.words = NewTable(Spec[string, string, int64, struct{}]{
		Name: "words", TTL: TTL{Idle: 2 * time.Minute},
		Apply:    func(_ *Context[string], s *string, e int64) struct{} { *s += "x"; return struct{}{} },
		OnExpire: func(c *Context[string], s *string) { *s = "kept"; c.Keep() },
	})
	var err error
	t.engine, err = Open(context.Background(), "/store", Options{
		Shards: 1, Partitions: 4,
		Environment: &seam.Environment{FS: t.disk, Now: t.now.Load, Seed: 7, Hear: func(moved func(context.Context) error) { t.moved = moved }},
	}, t.plain, t.words)
	if err != nil {
		t.Fatal(err)
	}
}

// image is all that the stores hold, as a snapshot would.
func (t *ticker) image() string {
	t.Helper()
	var b strings.Builder
	for table := range uint16(2) {
		_, err := t.engine.shards()[0].Freeze(context.Background(), table, []uint32{0, 1, 2, 3}, func(image shard.Image) {
			_ = image.Blocks(100, func(form uint8, entries uint32, data []byte) error {
				if form == formTimes {
					data = data[8:] // without the time that the store was down
				}
				fmt.Fprintf(&b, "table %d form %d, %d: %x\n", table, form, entries, data)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// Goal: what is recovered is what the live store held, byte for byte, times included.
// Method: events, timers and deadlines, with and without a snapshot in between; the image
// of the live store, of what is recovered of it, and of what is recovered of that.
func TestImageOfARecoveredStoreIsThatOfTheLiveOne(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 2))
		s := newTicker(t)
		ctx := context.Background()
		for i := range 300 {
			key := fmt.Sprintf("key-%d", random.IntN(40))
			var err error
			if random.IntN(3) == 0 {
				_, err = s.words.Do(ctx, key, 1)
			} else {
				_, err = s.plain.Do(ctx, key, 1+random.Int64N(90))
			}
			if err != nil {
				t.Fatal(err)
			}
			if i == 150 && snapshot {
				if err = s.engine.Snapshot(ctx); err != nil {
					t.Fatal(err)
				}
			}
			s.now.Add(int64(random.IntN(4000)) * 1e6)
			if err = s.moved(ctx); err != nil {
				t.Fatal(err)
			}
		}
		stats, err := s.engine.Stats(ctx)
		if err != nil || stats.Fired.Timers < 10 || stats.Fired.Expired < 10 {
			t.Fatalf("%+v, %v", stats.Fired, err)
		}
		live := s.image()
		for range 2 {
			next := s.disk.Crash(crashfs.Model{Data: crashfs.Kept})
			_ = s.engine.Close() // on a disk that is gone
			s.disk = next
			if s.open(); s.image() != live {
				t.Fatalf("recovered\n%s, live\n%s", s.image(), live)
			}
		}
		if err := s.engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlockOfTimesIsAsThePageSaysAndRefusedIfItIsNot(t *testing.T) {
	s := newTicker(t)
	if _, err := s.plain.Do(context.Background(), "k", 5); err != nil {
		t.Fatal(err)
	}
	var block []byte
	_, err := s.engine.shards()[0].Freeze(context.Background(), 0, []uint32{0, 1, 2, 3}, func(image shard.Image) {
		_ = image.Blocks(1000, func(form uint8, entries uint32, data []byte) error {
			if form == formTimes {
				block = append([]byte(nil), data...)
			}
			return nil
		})
	})
	const want = "0000000000000000" + "00000000" + "87" + "000000" + "00f2b8dcb6b3e00d" + "000064a7b3b6e00d" + "000064a7b3b6e00d"
	if have := hex.EncodeToString(block); err != nil || len(have) != len(want) || have[:32] != want[:32] || have[48:] != want[48:] {
		t.Fatalf("%s, %v; want %s", have, err, want)
	}
	program := s.engine.bindings[0].Bind()
	fresh := func() shard.Store {
		st := program.NewStore()
		if err := st.Load(formEntries, 1, append([]byte{1, 'k', 8}, make([]byte, 8)...)); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if err := fresh().Load(formTimes, 1, block); err != nil {
		t.Fatal(err)
	}
	for at := range len(block) {
		if err := fresh().Load(formTimes, 1, block[:at]); err == nil {
			t.Errorf("%d bytes of it are taken", at)
		}
		if at < 8 || at >= timeBlockHeaderBytes {
			continue // times have no wrong values
		}
		for bit := range 8 {
			changed := append([]byte(nil), block...)
			if changed[at] ^= 1 << bit; at == 12 && bit == 7 {
				continue // by the other kind of clock
			}
			if err := fresh().Load(formTimes, 1, changed); err == nil {
				t.Errorf("bit %d of byte %d is not looked at", bit, at)
			}
		}
	}
	if err := s.engine.Close(); err != nil {
		t.Fatal(err)
	}
}
