package bench

import (
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Times are times that several goroutines record. They are safe for concurrent use, and
// made by NewTimes.
type Times struct {
	mu sync.Mutex
	h  *hdr.Histogram
}

// NewTimes makes an empty one.
func NewTimes() *Times { return &Times{h: newHistogram(3)} }

// Record records a time; less than none counts as none.
func (t *Times) Record(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.h.RecordValue(bounded(int64(d))) // bounded fits
}

// Latency is what was recorded so far.
func (t *Times) Latency() Latency {
	t.mu.Lock()
	defer t.mu.Unlock()
	return LatencyOf(t.h)
}
