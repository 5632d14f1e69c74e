package bench

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/bench/workload"
)

// Bounds of what waits between the feeder and a lane.
const (
	feedEvents    = 1024 // a batch
	feedEventsMax = 1 << 16
	feedBatches   = 3 // batches of a lane
)

// ProducerOf is which of n producers sends the events of a key.
func ProducerOf(key []byte, n int) int {
	if n == 1 {
		return 0
	}
	return int(xxh3.Hash(key) >> 32 * uint64(n) >> 32)
}

// feed splits the stream over the lanes until it ends, time is up, or ctx ends. Then
// it closes the lanes. It runs ahead of them by feedBatches at most.
func feed(ctx context.Context, l *Load, lanes []*lane) error {
	for _, ln := range lanes {
		defer close(ln.full)
	}
	f := feeder{load: l, lanes: lanes, open: make([]*workload.Batch, len(lanes))}
	end := time.Now().Add(l.Duration)
	for l.Duration == 0 || time.Now().Before(end) {
		more, err := f.round(ctx)
		if !more || err != nil {
			return err
		}
	}
	return nil
}

// feeder is the state of feed.
type feeder struct {
	load   *Load
	lanes  []*lane
	staged workload.Batch
	open   []*workload.Batch // one for each lane, while a round is split
}

// round takes one batch from the stream and hands it to the lanes. It returns false
// at the end of the stream or of ctx.
func (f *feeder) round(ctx context.Context) (bool, error) {
	if len(f.lanes) == 1 {
		return f.straight(ctx)
	}
	f.staged.Reset()
	err := f.load.Source.Fill(&f.staged, min(f.batch()*len(f.lanes), feedEventsMax))
	for i := range f.staged.Len() {
		if !f.put(ctx, f.staged.At(i)) {
			return false, nil
		}
	}
	for i, b := range f.open {
		if b != nil {
			f.lanes[i].full <- b // has room for every batch of the lane
			f.open[i] = nil
		}
	}
	return err == nil, notEOF(err)
}

// batch is how many events a lane is handed at a time: few when each of them is
// waited for, because what was handed over is sent when time is up.
func (f *feeder) batch() int {
	if f.load.Door == Single {
		return feedEvents / 64
	}
	return feedEvents
}

// straight feeds a single lane without the split.
func (f *feeder) straight(ctx context.Context) (bool, error) {
	b := f.lanes[0].take(ctx)
	if b == nil {
		return false, nil
	}
	err := f.load.Source.Fill(b, f.batch())
	f.lanes[0].full <- b
	return err == nil, notEOF(err)
}

// put appends an event to the open batch of its lane.
func (f *feeder) put(ctx context.Context, e workload.Event) bool {
	i := ProducerOf(e.Key, len(f.lanes))
	if f.open[i] == nil {
		f.open[i] = f.lanes[i].take(ctx)
	}
	if f.open[i] == nil {
		return false
	}
	f.open[i].Add(e)
	return true
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
