package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/workload"
)

// Door says how events are sent.
type Door string

const (
	// Batched sends through producers, and goes on while a window of events is not
	// acknowledged.
	Batched Door = "producer"
	// Single sends each event by a call of its own, and waits for it.
	Single Door = "do"
)

// Load describes what to send, and how.
type Load struct {
	// Source is the stream.
	Source workload.Source
	// Producers is how many goroutines send; each has its own part of the keys.
	Producers int
	// Door is how they send. Empty is Batched.
	Door Door
	// Window is how many events of a batched producer may be unacknowledged.
	Window int
	// Rate is the events per second of an open loop; 0 is a closed loop.
	Rate float64
	// First is the ordinal of the first event, which is due at once.
	First uint64
	// Duration ends the load, if the stream does not end before; 0 is no limit.
	Duration time.Duration
	// Mark, if not nil, is told by each producer which of its events it may have sent,
	// before it sends them, and which are acknowledged: those with ordinals below sent
	// and acked. An error ends the load.
	Mark func(producer int, sent, acked uint64) error
	// Progress, if not nil, is called once a second.
	Progress func(Progress)
	// Slow, if not nil, is called by the producers, at the same time, with each latency
	// above SlowAfter, as soon as it is known. It must not wait.
	Slow      func(time.Duration)
	SlowAfter time.Duration

	// onlySleep makes an open loop sleep for short times too: in a bubble of
	// testing/synctest time stands still while a goroutine yields.
	onlySleep bool
}

// ProducersMax and WindowMax bound a Load.
const (
	ProducersMax = 4096
	WindowMax    = 1 << 20
)

// Check says what is wrong with the load, its source apart.
func (l *Load) Check() error {
	switch {
	case l.Producers < 1 || l.Producers > ProducersMax:
		return fmt.Errorf("bench: the count of producers must lie between 1 and %d, not %d", ProducersMax, l.Producers)
	case l.Window < 1 || l.Window > WindowMax:
		return fmt.Errorf("bench: the window must lie between 1 and %d, not %d", WindowMax, l.Window)
	case !(l.Rate >= 0) || math.IsInf(l.Rate, 0):
		return fmt.Errorf("bench: the rate must be a number of events per second, not %v", l.Rate)
	case l.Door != Batched && l.Door != Single && l.Door != "":
		return fmt.Errorf("bench: unknown door %q: %s or %s", l.Door, Batched, Single)
	}
	return nil
}

// Measured is what came of a load.
type Measured struct {
	// Events is how many were acknowledged.
	Events uint64
	// Elapsed is the time from the first event to the last acknowledgement.
	Elapsed time.Duration
	// Latency is that of the acknowledgements: in a closed loop from the call of Send,
	// rounded up by the time of up to 63 other sends, in an open loop from when the
	// event was due. It ends when the sender notices, which looks every 64 events, and
	// while it waits, every millisecond or so; a Send that waits for room notices late,
	// by up to three eighths of the window. Producers count what is acknowledged: with
	// several shards, which acknowledge independently, the count is right and which of
	// the events it was may not be, so that some latencies are too short and others too
	// long by as much.
	Latency Latency
	// Times are all the latencies that Latency sums up.
	Times *hdr.Histogram
	// Series is what happened in each second of the last hour, and in the part of a
	// second at the end.
	Series []Progress
	// Service is, in an open loop, the latency from when events were sent.
	Service Latency
	// Late is, in an open loop, by how much events were sent after they were due; one
	// event in 64 is looked at.
	Late Latency
}

// PerSecond is the rate of acknowledged events.
func (m *Measured) PerSecond() float64 {
	if m.Elapsed <= 0 {
		return 0
	}
	return float64(m.Events) / m.Elapsed.Seconds()
}

// Run sends a load to t and waits for its end. When ctx ends, no more events are
// taken from the stream, and those that were are acknowledged; that is no error.
// With an error, Measured covers what was settled before: with a shard that failed,
// that is more than what was acknowledged.
func Run(ctx context.Context, t Target, l Load) (Measured, error) {
	if err := l.Check(); err != nil {
		return Measured{}, err
	}
	m := newMeter(&l)
	calls, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(calls, stop)
	lanes, err := openLanes(t, &l, m)
	if err != nil {
		return Measured{}, err
	}
	var senders sync.WaitGroup
	for _, ln := range lanes {
		senders.Go(func() {
			if err := errors.Join(ln.run(calls), ln.door.Close(calls)); err != nil {
				fail(err)
			}
		})
	}
	progress := m.report(l.Progress)
	err = feed(feeding, &l, lanes)
	senders.Wait()
	progress()
	return m.measured(), errors.Join(err, cause(calls))
}

// cause is the first error of a sender.
func cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

func openLanes(t Target, l *Load, m *meter) ([]*lane, error) {
	lanes := make([]*lane, l.Producers)
	for i := range lanes {
		p, err := t.Producer(l.Window)
		if err != nil {
			return nil, fmt.Errorf("bench: producer: %w", err)
		}
		lanes[i] = newLane(i, t, p, l, m)
	}
	return lanes, nil
}
