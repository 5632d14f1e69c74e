package drive

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench"
)

// Range of the histograms: a time outside it is recorded as its end.
const (
	latencyLowest  = 64
	latencyHighest = int64(time.Minute)
)

func newHistogram(digits int) *hdr.Histogram { return hdr.New(latencyLowest, latencyHighest, digits) }

// record records that so many events took so long.
func record(h *hdr.Histogram, took time.Duration, events uint64) {
	_ = h.RecordValues(min(max(int64(took), 0), latencyHighest), int64(events)) // it fits
}

func latencyOf(h *hdr.Histogram) bench.Latency {
	v := func(percent float64) int64 { return min(h.ValueAtPercentile(percent), h.Max()) }
	return bench.Latency{P50: v(50), P90: v(90), P99: v(99), P999: v(99.9), Max: h.Max()}
}

// batches are those of a lane that are not acknowledged yet, in their order. What a
// store takes without acknowledging it bounds them.
type batches struct {
	list    []waitingBatch
	head    int    // those before it are settled
	settled uint64 // events in those
}

type waitingBatch struct {
	since time.Duration // when it was handed over
	end   uint64        // events sent with it and before it
}

func (w *batches) add(b waitingBatch) {
	if len(w.list) == cap(w.list) && w.head > len(w.list)/2 {
		w.list = w.list[:copy(w.list, w.list[w.head:])]
		w.head = 0
	}
	w.list = append(w.list, b)
}

// settle takes off the batches that end at count or before.
func (w *batches) settle(count uint64, fn func(b waitingBatch, events uint64)) {
	for ; w.head < len(w.list) && w.list[w.head].end <= count; w.head++ {
		b := w.list[w.head]
		fn(b, b.end-w.settled)
		w.settled = b.end
	}
}
