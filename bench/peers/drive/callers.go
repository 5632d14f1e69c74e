package drive

import (
	"errors"
	"sync"
	"sync/atomic"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/limit"
)

// callers is the door rival.Callers: as many goroutines as may be in flight, spread over the
// parts. Each takes the next event of its part.
func (d *driver) callers() ([]uint64, error) {
	parts := min(len(d.parts), d.cell.InFlight)
	queues := make([]queue, parts)
	for i := range queues {
		queues[i] = queue{part: d.parts[i], lane: i, end: d.laneEvents(parts)}
	}
	var group sync.WaitGroup
	for i := range d.cell.InFlight {
		group.Go(func() {
			times := newHistogram(2) // of which there are many
			d.add(times, d.call(&queues[i%parts], times))
		})
	}
	group.Wait()
	sent := make([]uint64, parts)
	for i := range queues {
		sent[i] = min(queues[i].next.Load(), queues[i].end)
	}
	return sent, errors.Join(d.errs...)
}

// queue is where callers of a part take events from.
type queue struct {
	part limit.Stream
	lane int
	end  uint64
	next atomic.Uint64 // a counter; each caller's Add gives it an event of its own
}

// call sends one event after the other until time is up. An event that was taken is
// sent.
func (d *driver) call(q *queue, times *hdr.Histogram) error {
	for now := d.now(); now < d.cell.Duration; {
		n := q.next.Add(1) - 1
		if n >= q.end {
			return nil
		}
		at := n % uint64(len(q.part.Keys))
		if err := d.store.Do(q.lane, &q.part.Keys[at], &q.part.Events[at]); err != nil {
			return err
		}
		since := now
		now = d.now()
		record(times, now-since, 1)
	}
	return nil
}
