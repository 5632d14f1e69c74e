//go:build !race

package engine_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

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

// Goal: no event allocates, from the call to the log, where types hold no pointers.
// Method: the difference of all allocations of the process, over so many events that
// an allocation in a hundred would show. The keys are there before.
func TestEventsWithoutPointersAllocateNothing(t *testing.T) {
	table := engine.NewTable(engine.Spec[[16]byte, sum, int64, int64]{
		Name:  "sums",
		Check: func(c *engine.Context[[16]byte], s *sum, e int64) error { return nil },
		Apply: func(c *engine.Context[[16]byte], s *sum, e int64) int64 {
			s.Count++
			return s.Count + int64(c.Key()[0])*0
		},
	})
	ctx := context.Background()
	e, err := engine.Open(ctx, filepath.Join(t.TempDir(), "store"), engine.Options{Shards: 1, Device: engine.DeviceDirect}, table)
	must(t, err)
	defer e.Close()
	p, err := table.Producer(engine.ProducerOptions[[16]byte, int64]{})
	must(t, err)
	key := func(i int) [16]byte { return [16]byte{byte(i), byte(i >> 8 & 3)} }
	send := func(n int) {
		for i := range n {
			if err := p.Send(ctx, key(i), 1); err != nil {
				t.Fatal(err)
			}
		}
		must(t, p.Flush(ctx))
	}
	calls := func(ack engine.Ack, callers int) func(n int) {
		return func(n int) {
			var group sync.WaitGroup
			for caller := range callers {
				group.Go(func() {
					for i := caller; i < n; i += callers {
						if _, err := table.Do(ctx, key(i), 1, ack); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
		}
	}
	gets := func(n int) {
		for i := range n {
			if _, _, err := table.Get(ctx, key(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tries := func(n int) {
		for i := range n {
			if _, err := table.TryDo(ctx, key(i), 1, engine.Applied); err != nil {
				t.Fatal(err)
			}
		}
	}
	batch, puts, reads := e.Batch(), make([]engine.Result[int64], 100), make([]engine.StateResult[sum], 100)
	batches := func(n int) {
		for range n / 200 {
			for i := range puts {
				table.Put(batch, key(i), 1, &puts[i])
				table.Read(batch, key(i), &reads[i])
			}
			must(t, batch.Do(ctx))
			if puts[99].Value == 0 || puts[99].Value != reads[99].State.Count {
				t.Fatalf("put gave %d, and the read behind it %+v", puts[99].Value, reads[99])
			}
		}
	}
	n := 1_000_000
	if testing.Short() {
		n /= 10
	}
	for _, c := range []struct {
		name string
		run  func(n int)
	}{
		{"producer", send},
		{"get", gets},
		{"try", tries},
		{"batch", batches},
		{"applied", calls(engine.Applied, 4)},
		{"written", calls(engine.Written, 64)},
		{"durable", calls(engine.Durable, 256)},
	} {
		c.run(n / 4) // what is made once
		count := mallocs(func() { c.run(n) })
		t.Logf("%s: %d allocations for %d events", c.name, count, n)
		if each := float64(count) / float64(n); each >= 0.01 {
			t.Errorf("%s: %.4f allocations an event", c.name, each)
		}
	}
	must(t, p.Close(ctx))
}
