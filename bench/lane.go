package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/keyfold/keyfold/bench/workload"
)

// lane is one producer of a load: it sends what the feeder hands it. It belongs to
// the goroutine of run, but for the channels.
type lane struct {
	number int
	target Target
	door   Producer
	load   *Load
	meter  *laneMeter
	full   chan *workload.Batch // from the feeder; closed at the end
	free   chan *workload.Batch // back to it

	nanosPerEvent float64 // of an open loop; else 0
	sent          uint64
	acked         uint64
	window        []int64 // since when the events that are not acknowledged wait
	clock         int64   // the time when it was last read
	last          uint64  // the ordinal after that of the last event
	marks         struct{ sent, acked uint64 }
}

// stampEvents is how many events of a closed loop share one reading of the clock.
const stampEvents = 64

// starvedFor is how long a lane without events waits before it flushes.
const starvedFor = 10 * time.Millisecond

func newLane(number int, t Target, p Producer, l *Load, m *meter) *lane {
	ln := &lane{
		number: number, target: t, door: p, load: l, meter: m.lane(),
		full: make(chan *workload.Batch, feedBatches),
		free: make(chan *workload.Batch, feedBatches),
	}
	for range feedBatches {
		ln.free <- new(workload.Batch)
	}
	if l.Rate > 0 {
		ln.nanosPerEvent = 1e9 / l.Rate
	}
	return ln
}

// take is an empty batch for the feeder; nil if ctx ends before one is free.
func (ln *lane) take(ctx context.Context) *workload.Batch {
	if ctx.Err() != nil {
		return nil
	}
	select {
	case b := <-ln.free:
		b.Reset()
		return b
	case <-ctx.Done():
		return nil
	}
}

// run sends until the feeder closes the lane.
func (ln *lane) run(ctx context.Context) error {
	defer ln.meter.close()
	send := ln.batch
	if ln.load.Door == Single {
		send = ln.singles
	}
	for {
		b, err := ln.next(ctx)
		if err != nil || b == nil {
			return err
		}
		if n := b.Len(); n > 0 {
			ln.marks.sent = b.At(n-1).Ordinal + 1
		}
		if err := ln.mark(); err != nil {
			return err
		}
		if err := send(ctx, b); err != nil {
			return err
		}
		ln.free <- b
	}
}

// next is the next batch; nil at the end, when all are acknowledged. A lane that
// has to wait for it flushes.
func (ln *lane) next(ctx context.Context) (*workload.Batch, error) {
	select {
	case b := <-ln.full:
		if b == nil {
			return nil, ln.flush(ctx)
		}
		return b, nil
	default:
	}
	select {
	case b := <-ln.full:
		if b == nil {
			return nil, ln.flush(ctx)
		}
		return b, nil
	case <-ctx.Done():
		return nil, nil // another lane failed
	case <-time.After(starvedFor):
	}
	if err := ln.flush(ctx); err != nil {
		return nil, err
	}
	return <-ln.full, nil
}

// batch sends the events of b through the producer.
func (ln *lane) batch(ctx context.Context, b *workload.Batch) error {
	for i := range b.Len() {
		e := b.At(i)
		if err := ln.stamp(ctx, e.Ordinal, i); err != nil {
			return err
		}
		if err := ln.door.Send(ctx, e); err != nil {
			return fmt.Errorf("bench: send: %w", err)
		}
		ln.sent++
		ln.last = e.Ordinal + 1
		if ln.sent-ln.acked >= uint64(ln.load.Window) {
			if err := ln.flush(ctx); err != nil {
				return err
			}
		}
	}
	ln.meter.sent.Store(ln.sent)
	return nil
}

// stamp notes since when an event waits: in a closed loop since the last reading of
// the clock, in an open loop since it was due. Until it is due, what was sent before
// it is flushed.
func (ln *lane) stamp(ctx context.Context, ordinal uint64, i int) error {
	if ln.nanosPerEvent == 0 {
		if i%stampEvents == 0 || len(ln.window) == 0 {
			ln.clock = ln.meter.now()
		}
		ln.window = append(ln.window, ln.clock)
		return nil
	}
	due := ln.due(ordinal)
	if due > ln.clock || i%stampEvents == 0 {
		ln.clock = ln.meter.now()
	}
	if due > ln.clock {
		if err := ln.flush(ctx); err != nil {
			return err
		}
		ln.wait(ctx, due)
	}
	if i%stampEvents == 0 {
		ln.meter.late(ln.clock - due)
	}
	ln.window = append(ln.window, due)
	return nil
}

// due is when an event of an open loop is due.
func (ln *lane) due(ordinal uint64) int64 {
	return int64(min(float64(ordinal)*ln.nanosPerEvent, math.MaxInt64/2))
}

// sleepAtLeast is the shortest time that is worth a sleep: the runtime may make a
// millisecond of it. Below it the lane yields until the time has come.
const sleepAtLeast = 200 * time.Microsecond

// wait returns at the time due, or when ctx ends.
func (ln *lane) wait(ctx context.Context, due int64) {
	for ctx.Err() == nil {
		ln.clock = ln.meter.now()
		left := time.Duration(due - ln.clock)
		switch {
		case left <= 0:
			return
		case left < sleepAtLeast && !ln.load.onlySleep:
			runtime.Gosched()
		default:
			select {
			case <-time.After(left):
			case <-ctx.Done():
			}
		}
	}
}

// flush waits until every event of the window is acknowledged and records their
// latencies.
func (ln *lane) flush(ctx context.Context) error {
	if len(ln.window) == 0 {
		return nil
	}
	if err := ln.door.Flush(ctx); err != nil {
		return fmt.Errorf("bench: flush: %w", err)
	}
	ln.clock = ln.meter.now()
	ln.acked, ln.marks.acked = ln.sent, ln.last
	ln.meter.record(ln.window, ln.clock)
	ln.window = ln.window[:0]
	ln.meter.sent.Store(ln.sent)
	ln.meter.acked.Store(ln.acked)
	return ln.mark()
}

// mark tells how far the lane is, and how far it may go before the next mark.
func (ln *lane) mark() error {
	if ln.load.Mark == nil {
		return nil
	}
	return ln.load.Mark(ln.number, ln.marks.sent, ln.marks.acked)
}

// singles sends the events of b one by one.
func (ln *lane) singles(ctx context.Context, b *workload.Batch) error {
	for i := range b.Len() {
		e := b.At(i)
		since := ln.meter.now()
		if ln.nanosPerEvent > 0 {
			since = ln.due(e.Ordinal)
			ln.wait(ctx, since)
			ln.meter.late(ln.clock - since)
		}
		if err := ln.target.Do(ctx, e); err != nil {
			return fmt.Errorf("bench: do: %w", err)
		}
		ln.sent++
		ln.acked, ln.marks.acked = ln.sent, e.Ordinal+1
		ln.window = append(ln.window[:0], since)
		ln.meter.record(ln.window, ln.meter.now())
		ln.window = ln.window[:0]
		ln.meter.sent.Store(ln.sent)
		ln.meter.acked.Store(ln.acked)
		if err := ln.mark(); err != nil {
			return err
		}
	}
	return nil
}
