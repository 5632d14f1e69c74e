package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A slowStore is a lab with a table whose events take a millisecond each, and keys that
// begin with the number of their partition, in hexadecimal.
type slowStore struct {
	*lab
	table *engine.Table[string, int64, int64, int64]
	stop  chan struct{}
	group sync.WaitGroup
}

// slowly makes a store of 16 partitions. It is for a testing/synctest bubble, where a
// millisecond passes when everybody waits for it.
func slowly(t *testing.T, options engine.Options) *slowStore {
	options.Partitions = 16
	s := &slowStore{stop: make(chan struct{})}
	s.table = engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "slow",
		Apply: func(_ *engine.Context[string], n *int64, e int64) int64 {
			<-time.After(time.Millisecond)
			*n += e
			return *n
		},
	})
	s.lab = &lab{tb: t, options: options, tables: []engine.Definition{s.table}}
	s.hash = func(key []byte, _ uint64) uint64 {
		return uint64(strings.IndexByte("0123456789abcdef", key[0]))<<60 | uint64(len(key))<<8 | uint64(key[len(key)-1])
	}
	s.start()
	return s
}

// load sends events to a partition, one after the other, until halt.
func (s *slowStore) load(partition uint32) {
	s.group.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			default:
				if _, err := s.table.Do(context.Background(), fmt.Sprintf("%x-key", partition), 1, engine.Applied); err != nil {
					return
				}
			}
		}
	})
}

func (s *slowStore) halt() {
	close(s.stop)
	s.group.Wait()
}

func (s *slowStore) stats() engine.Stats {
	s.tb.Helper()
	stats, err := s.engine.Stats(context.Background())
	must(s.tb, err)
	return stats
}

// owned is the partitions of a shard.
func (s *slowStore) owned(shard int) (all []uint32) {
	for _, p := range s.stats().Partitions {
		if p.Shard == shard {
			all = append(all, p.Partition)
		}
	}
	return all
}

// Goal: eight hot partitions on one of two shards are advice to move some of them, which
// is told once, and ends with the load.
func TestAdviceIsToSpreadHotPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journalist{}
		options := logged(j)
		options.Shards = 2
		s := slowly(t, options)
		for _, p := range s.owned(0) {
			s.load(p)
		}
		<-time.After(5 * time.Second)
		a := s.stats().Advice
		if len(a.Moves) < 3 || len(a.Moves) > 5 || a.Before < 0.8 || a.After > 0.7 || a.Gain() < 0.5 || a.TooHot != 0 {
			t.Errorf("the advice is %+v, gain %.2f", a, a.Gain())
		}
		for _, m := range a.Moves {
			if m.From != 0 || m.To != 1 || s.stats().Partitions[m.Partition].Shard != 0 {
				t.Errorf("%+v", m)
			}
		}
		s.halt()
		<-time.After(10 * time.Second)
		if a := s.stats().Advice; len(a.Moves) != 0 {
			t.Errorf("without any load the advice is %+v", a)
		}
		must(t, s.engine.Close())
		j.told(t, "store opened", "INFO keyfold: moves would relieve the busiest shard|dir=/store moves=|busy=|busy_after=")
	})
}

// Goal: when it may, the engine spreads hot partitions itself, then lets them be; nothing
// is lost on the way; and Close stops it.
func TestHotPartitionsAreSpreadWhenThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journalist{}
		options := logged(j)
		options.Shards, options.Rebalance = 2, engine.RebalanceAutomatic
		s := slowly(t, options)
		for _, p := range s.owned(0) {
			s.load(p)
		}
		<-time.After(4 * time.Second)
		first := s.stats()
		moves := first.Shards[1].Moves.In
		if moves < 3 || moves > 5 || first.Shards[0].Moves.Out != moves {
			t.Errorf("after four seconds %d partitions have moved", moves)
		}
		<-time.After(4 * time.Second)
		if second := s.stats(); second.Events < first.Events+4*1500 {
			t.Errorf("%d events in four seconds, two shards can do 8000", second.Events-first.Events)
		}
		<-time.After(30 * time.Second)
		if all := s.stats().Shards[0].Moves; all.In+all.Out > moves+1 {
			t.Errorf("%d partitions moved at first, and %d later", moves, all.In+all.Out-moves)
		}
		s.halt()
		after := s.stats()
		checkSums(t, after)
		must(t, s.engine.Close())
		told := 0
		for _, line := range j.lines {
			told += strings.Count(line, "INFO keyfold: partition moved")
		}
		if told < int(moves) {
			t.Errorf("%d lines of %d moves:\n%s", told, moves, strings.Join(j.lines, "\n"))
		}
		s.open()
		total := int64(0)
		for _, state := range everything(t, s.table) {
			total += state
		}
		if uint64(total) != after.Events {
			t.Errorf("%d events are there, of %d", total, after.Events)
		}
	})
}

func TestAdviceBeginsWithTheSecondShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := smallStore()
		options.Shards = 1
		s := slowly(t, options)
		must(t, s.engine.Resize(context.Background(), 2))
		for _, p := range s.owned(0) {
			s.load(p)
		}
		<-time.After(5 * time.Second)
		if a := s.stats().Advice; len(a.Moves) == 0 {
			t.Errorf("%+v", a)
		}
		s.halt()
	})
}

func TestOneHotPartitionIsTooHotForAnyMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journalist{}
		options := logged(j)
		options.Shards = 2
		s := slowly(t, options)
		hot := s.owned(1)[3]
		s.load(hot)
		s.load(hot)
		<-time.After(5 * time.Second)
		a := s.stats().Advice
		if len(a.Moves) != 0 || a.Partition != hot || a.TooHot < 0.8 || a.Gain() != 0 {
			t.Errorf("the advice is %+v", a)
		}
		s.halt()
		must(t, s.engine.Close())
		j.told(t, "store opened", fmt.Sprintf("WARN keyfold: a partition is too hot for a shard|partition=%d", hot))
	})
}

// Goal: advice costs an idle engine nothing, and who switches it off gets none.
func TestAdviceLeavesIdleShardsAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := smallStore()
		s := slowly(t, options)
		do(t, s.table, "0-key", 1)
		<-time.After(10 * time.Second)
		before := s.stats()
		<-time.After(time.Hour)
		for i, sh := range s.stats().Shards {
			if woken := sh.Parks - before.Shards[i].Parks; woken > 1 {
				t.Errorf("shard %d woke up %d times in an idle hour", i, woken)
			}
		}
	})
}

func TestNoAdviceWhenItIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := smallStore()
		options.Rebalance = engine.RebalanceOff
		s := slowly(t, options)
		for _, p := range s.owned(0) {
			s.load(p)
		}
		<-time.After(5 * time.Second)
		if a := s.stats().Advice; a.Before != 0 || len(a.Moves) != 0 {
			t.Errorf("%+v", a)
		}
		s.halt()
	})
}

func TestNoAdviceToMoveToAFailedShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slowly(t, smallStore())
		first, other := s.owned(0), s.owned(1)
		s.failing(crashfs.ErrIO, func(op crashfs.Op) bool {
			return op.Kind == crashfs.Sync && strings.Contains(op.Name, "shard-001/log")
		})
		if _, err := s.table.Do(context.Background(), fmt.Sprintf("%x-key", other[0]), 1); err == nil {
			t.Fatal("the shard has not failed")
		}
		for _, p := range first {
			s.load(p)
		}
		<-time.After(5 * time.Second)
		if a := s.stats().Advice; len(a.Moves) != 0 {
			t.Errorf("%+v", a)
		}
		s.halt()
	})
}
