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
	stepwise      bool    // only a Flush, or a call, says what is acknowledged
	sent, acked   uint64
	waiting       unsettled
	clock         int64  // the time when it was last read
	pushed        uint64 // so many events had been sent at the last Push
	marks         struct{ sent, acked uint64 }
	timer         *time.Timer
}

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
	// A mark is an acknowledged prefix; with several shards a count of settled events
	// does not tell which ones they are.
	ln.stepwise = l.Door == Single || l.Mark != nil && t.Shards() > 1
	ln.timer = time.NewTimer(0)
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

// next is the next batch; nil at the end, when all are acknowledged. A lane that has
// to wait for it long flushes.
func (ln *lane) next(ctx context.Context) (b *workload.Batch, err error) {
	came := true
	select {
	case b = <-ln.full:
	default:
		if b, came, err = ln.await(ctx, ln.full); err == nil && !came {
			if err = ln.flush(ctx); err == nil {
				b = <-ln.full
			}
		}
	}
	if b != nil || err != nil || ctx.Err() != nil {
		return b, err // an end of ctx is the failure of another lane
	}
	if _, _, err = ln.await(ctx, nil); err != nil || ctx.Err() != nil {
		return nil, err
	}
	return nil, ln.flush(ctx)
}

// await pushes, and settles until a batch comes, for starvedFor at most. Without a
// channel there is only so much to wait for as is unsettled.
func (ln *lane) await(ctx context.Context, full <-chan *workload.Batch) (b *workload.Batch, came bool, err error) {
	if err := ln.push(); err != nil {
		return nil, false, err
	}
	for began := ln.meter.now(); ln.meter.now()-began < int64(starvedFor) && (full != nil || !ln.waiting.empty()); {
		ln.timer.Reset(ln.nap(starvedFor))
		select {
		case b := <-full:
			return b, true, nil
		case <-ctx.Done():
			return nil, true, nil
		case <-ln.timer.C:
		}
		if err := ln.settle(); err != nil {
			return nil, false, err
		}
	}
	return nil, false, nil
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
		ln.waiting.grow(ln.sent, e.Ordinal+1)
		if ln.sent-ln.acked >= uint64(ln.load.Window) {
			if err := ln.shrink(ctx); err != nil {
				return err
			}
		}
	}
	ln.meter.sent.Store(ln.sent)
	return nil
}

// stamp notes since when an event waits: in a closed loop since the last reading of
// the clock, in an open loop since it was due. Until it is due, what was sent before
// it is pushed.
func (ln *lane) stamp(ctx context.Context, ordinal uint64, i int) error {
	due := ln.due(ordinal)
	if i%stampEvents == 0 || ln.waiting.empty() || ln.nanosPerEvent > 0 && due > ln.clock {
		if err := ln.settle(); err != nil {
			return err
		}
	}
	if ln.nanosPerEvent == 0 {
		if i%stampEvents == 0 || ln.waiting.empty() {
			ln.waiting.add(ln.clock, ln.clock)
		}
		return nil
	}
	if due > ln.clock {
		if err := ln.wait(ctx, due); err != nil {
			return err
		}
	}
	if i%stampEvents == 0 {
		ln.meter.late(ln.clock - due)
	}
	ln.waiting.add(due, ln.clock)
	return nil
}

// due is when an event of an open loop is due.
func (ln *lane) due(ordinal uint64) int64 {
	return int64(min(float64(ordinal-ln.load.First)*ln.nanosPerEvent, math.MaxInt64/2))
}

// sleepAtLeast is the shortest time that is worth a sleep: the runtime may make a
// millisecond of it. Below it the lane yields until the time has come.
const sleepAtLeast = 200 * time.Microsecond

// wait returns at the time due, or when ctx ends.
func (ln *lane) wait(ctx context.Context, due int64) error {
	if err := ln.push(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := ln.settle(); err != nil {
			return err
		}
		left := time.Duration(due - ln.clock)
		switch {
		case left <= 0:
			return nil
		case left < sleepAtLeast && !ln.load.onlySleep:
			runtime.Gosched()
		default:
			ln.timer.Reset(ln.nap(left))
			select {
			case <-ln.timer.C:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// nap is how long to sleep of a longer time: short while something is to be settled.
func (ln *lane) nap(d time.Duration) time.Duration {
	if ln.waiting.empty() {
		return d
	}
	return min(d, sleepAtLeast)
}

// push sends off what the producer has gathered.
func (ln *lane) push() error {
	if ln.pushed == ln.sent || ln.waiting.empty() {
		return nil
	}
	ln.pushed = ln.sent
	ln.meter.sent.Store(ln.sent)
	if err := ln.door.Push(); err != nil {
		return fmt.Errorf("bench: push: %w", err)
	}
	return nil
}

// settle reads the clock, and looks what has been acknowledged since the last look.
func (ln *lane) settle() error {
	settled := ln.acked
	if !ln.stepwise {
		settled = ln.door.Settled()
	}
	ln.clock = ln.meter.now()
	if settled == ln.acked {
		return nil
	}
	return ln.settled(settled)
}

// settled records the latencies of all events up to a count.
func (ln *lane) settled(count uint64) error {
	ln.acked = count
	ln.waiting.settle(count, func(r run, events uint64) {
		ln.meter.record(ln.clock-r.since, ln.clock-r.sent, events)
		ln.marks.acked = r.next
	})
	ln.meter.sent.Store(ln.sent)
	ln.meter.acked.Store(count)
	ln.meter.mergeNow(ln.clock)
	return ln.mark()
}

// shrink makes room in the window. A producer that has gathered most of it has to be
// flushed; a larger window never gets here, because Send waits.
func (ln *lane) shrink(ctx context.Context) error {
	if err := ln.settle(); err != nil || ln.sent-ln.acked < uint64(ln.load.Window) {
		return err
	}
	return ln.flush(ctx)
}

// flush waits until every event that was sent is acknowledged.
func (ln *lane) flush(ctx context.Context) error {
	if ln.waiting.empty() {
		return nil
	}
	if err := ln.door.Flush(ctx); err != nil {
		return fmt.Errorf("bench: flush: %w", err)
	}
	ln.clock = ln.meter.now()
	return ln.settled(ln.sent)
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
		sent := since
		if ln.nanosPerEvent > 0 {
			since = ln.due(e.Ordinal)
			if err := ln.wait(ctx, since); err != nil {
				return err
			}
			sent = ln.clock
			ln.meter.late(sent - since)
		}
		if err := ln.target.Do(ctx, e); err != nil {
			return fmt.Errorf("bench: do: %w", err)
		}
		ln.sent++
		ln.acked, ln.marks.acked = ln.sent, e.Ordinal+1
		ln.clock = ln.meter.now()
		ln.meter.record(ln.clock-since, ln.clock-sent, 1)
		ln.meter.mergeNow(ln.clock)
		ln.meter.sent.Store(ln.sent)
		ln.meter.acked.Store(ln.acked)
		if err := ln.mark(); err != nil {
			return err
		}
	}
	return nil
}
