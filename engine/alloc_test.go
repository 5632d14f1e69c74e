//go:build !race

package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// mallocs counts what the whole process allocates while f runs.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// An allocRig is a store whose events are counted against its allocations.
type allocRig struct {
	*testing.T
	table  *engine.Table[[16]byte, sum, int64, int64]
	engine *engine.Engine
}

func newAllocRig(t *testing.T) *allocRig {
	table := engine.NewTable(engine.Spec[[16]byte, sum, int64, int64]{
		Name:  "sums",
		Check: func(c *engine.Context[[16]byte], s *sum, e int64) error { return nil },
		Apply: func(c *engine.Context[[16]byte], s *sum, e int64) int64 {
			s.Count++
			return s.Count + int64(c.Key()[0])*0
		},
	})
	e, err := engine.Open(context.Background(), filepath.Join(t.TempDir(), "store"), engine.Options{Shards: 1, Device: engine.DeviceDirect}, table)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	return &allocRig{t, table, e}
}

// Goal: neither events nor firings of a table with timers and a TTL allocate.
func TestTimersWithoutPointersAllocateNothing(t *testing.T) {
	table := engine.NewTable(engine.Spec[[16]byte, sum, int64, int64]{
		Name: "sums", TTL: engine.TTL{Idle: time.Hour},
		Apply: func(c *engine.Context[[16]byte], s *sum, e int64) int64 {
			c.SetTimer(c.Now().Add(time.Millisecond))
			s.Count++
			return s.Count
		},
		OnTimer: func(c *engine.Context[[16]byte], s *sum) { s.Total++ },
	})
	e, err := engine.Open(context.Background(), filepath.Join(t.TempDir(), "store"), engine.Options{Shards: 1}, table)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	r := &allocRig{t, table, e}
	send := r.sends()
	send(50_000)
	const n = 200_000
	count := mallocs(func() { send(n) })
	stats, err := e.Stats(context.Background())
	must(t, err)
	if each := float64(count) / n; each >= 0.01 || stats.Fired.Timers < 1000 {
		t.Errorf("%.4f allocations an event; %d firings", each, stats.Fired.Timers)
	}
}

func allocKey(i int) [16]byte { return [16]byte{byte(i), byte(i >> 8 & 3)} }

func (r *allocRig) sends() func(n int) {
	p, err := r.table.Producer(engine.ProducerOptions[[16]byte, int64]{})
	must(r, err)
	r.Cleanup(func() { must(r, p.Close(context.Background())) })
	return func(n int) {
		for i := range n {
			must(r, p.Send(context.Background(), allocKey(i), 1))
		}
		must(r, p.Flush(context.Background()))
	}
}

func (r *allocRig) calls(ack engine.Ack, callers int) func(n int) {
	return func(n int) {
		var group sync.WaitGroup
		for caller := range callers {
			group.Go(func() {
				for i := caller; i < n; i += callers {
					if _, err := r.table.Do(context.Background(), allocKey(i), 1, ack); err != nil {
						r.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

func (r *allocRig) tries(n int) {
	for i := range n {
		_, err := r.table.TryDo(context.Background(), allocKey(i), 1, engine.Applied)
		must(r, err)
	}
}

func (r *allocRig) gets(n int) {
	for i := range n {
		_, _, err := r.table.Get(context.Background(), allocKey(i))
		must(r, err)
	}
}

// batches makes pairs of a put and a read of what it has left.
func (r *allocRig) batches() func(n int) {
	batch, puts, reads := r.engine.Batch(), make([]engine.Result[int64], 100), make([]engine.StateResult[sum], 100)
	return func(n int) {
		for range n / 200 {
			for i := range puts {
				r.table.Put(batch, allocKey(i), 1, &puts[i])
				r.table.Read(batch, allocKey(i), &reads[i])
			}
			must(r, batch.Do(context.Background()))
			if puts[99].Value == 0 || puts[99].Value != reads[99].State.Count {
				r.Fatalf("put gave %d, and the read behind it %+v", puts[99].Value, reads[99])
			}
		}
	}
}

// Goal: no event allocates, from the call to the log, where types hold no pointers.
// Method: the difference of all allocations of the process, over so many events that
// an allocation in a hundred would show. The keys are there before.
func TestEventsWithoutPointersAllocateNothing(t *testing.T) {
	r := newAllocRig(t)
	n := 1_000_000
	if testing.Short() {
		n /= 10
	}
	for _, c := range []struct {
		name string
		run  func(n int)
	}{
		{"producer", r.sends()},
		{"get", r.gets},
		{"try", r.tries},
		{"batch", r.batches()},
		{"applied", r.calls(engine.Applied, 4)},
		{"written", r.calls(engine.Written, 64)},
		{"durable", r.calls(engine.Durable, 256)},
	} {
		c.run(n / 4) // what is made once
		count := mallocs(func() { c.run(n) })
		t.Logf("%s: %d allocations for %d events", c.name, count, n)
		if each := float64(count) / float64(n); each >= 0.01 {
			t.Errorf("%s: %.4f allocations an event", c.name, each)
		}
	}
}

// Goal: a move takes the memory of those before. Method: a partition of a mebibyte moves to
// and fro, and the bytes are counted that the whole process allocates.
func TestMovesUseTheirMemoryAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which gives it back
	table := sums("sums")
	e, err := engine.Open(t.Context(), filepath.Join(t.TempDir(), "store"), engine.Options{Shards: 2, Partitions: 2, Sync: engine.SyncNever}, table)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	for i := range 30_000 {
		_, err := table.Do(t.Context(), fmt.Sprint(i), 1, engine.Applied)
		must(t, err)
	}
	moves, bytes := 0, uint64(0)
	for range 12 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		must(t, e.Move(t.Context(), 0, moves%2))
		runtime.ReadMemStats(&after)
		if moves++; moves > 2 {
			bytes += after.TotalAlloc - before.TotalAlloc
		}
	}
	if each := bytes / 10; each > 64<<10 {
		t.Errorf("each move allocates %d bytes", each)
	}
}
