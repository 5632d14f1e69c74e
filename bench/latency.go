package bench

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution of times in nanoseconds.
type Latency struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// Range of the histograms: a time above it is recorded as the highest.
const (
	latencyLowest  = 64
	latencyHighest = int64(10 * time.Minute)
)

func newHistogram(digits int) *hdr.Histogram { return hdr.New(latencyLowest, latencyHighest, digits) }

// LatencyOf is what a histogram says.
func LatencyOf(h *hdr.Histogram) Latency {
	v := func(percent float64) int64 { return min(h.ValueAtPercentile(percent), h.Max()) }
	return Latency{P50: v(50), P90: v(90), P99: v(99), P999: v(99.9), Max: h.Max()}
}

// Progress is one second of a load.
type Progress struct {
	// Elapsed is the time since the load began.
	Elapsed time.Duration
	// Sent and Acked count events since then.
	Sent, Acked uint64
	// Rate is the acknowledged events per second since the Progress before.
	Rate float64
	// Latency is that of the acknowledgements since then.
	Latency Latency
}

// meter collects what the lanes measure. Each lane has histograms of its own and
// merges them here four times a second, so that nothing is shared on the way of an
// event, and memory does not depend on the length of the load.
type meter struct {
	start  time.Time
	digits int
	lanes  []*laneMeter
	slow   func(time.Duration) // of a Load
	after  int64               // when it is called

	mu     sync.Mutex
	total  *hdr.Histogram
	second *hdr.Histogram
	opens  *openTimes // nil in a closed loop
	end    time.Duration

	series []Progress // belongs to the goroutine of report until it is stopped
}

// openTimes are what an open loop has besides the latencies, which run from when events
// were due: service is from when they were sent, lates how late that was.
type openTimes struct{ service, lates *hdr.Histogram }

func newOpenTimes() *openTimes { return &openTimes{newHistogram(2), newHistogram(2)} }

// merge takes over what o has, which is empty afterwards.
func (t *openTimes) merge(o *openTimes) {
	t.service.Merge(o.service)
	t.lates.Merge(o.lates)
	o.service.Reset()
	o.lates.Reset()
}

// seriesMax bounds the seconds of a load that are kept: the last hour.
const seriesMax = 3600

// fineLanesMax is the count of lanes up to which histograms have three digits: 200
// KiB each. Beyond it two must do.
const fineLanesMax = 16

func newMeter(l *Load) *meter {
	m := &meter{start: time.Now(), digits: 3, total: newHistogram(3), second: newHistogram(3), slow: l.Slow, after: math.MaxInt64}
	if l.Slow != nil {
		m.after = int64(l.SlowAfter)
	}
	if l.Producers > fineLanesMax {
		m.digits = 2
	}
	if l.Rate > 0 {
		m.opens = newOpenTimes()
	}
	return m
}

// laneMeter is what one lane measures. It belongs to the lane, but for the counts.
type laneMeter struct {
	meter  *meter
	times  *hdr.Histogram
	opens  *openTimes    // nil in a closed loop
	merged int64         // when
	sent   atomic.Uint64 // the lane's Store publishes to progress's Load
	acked  atomic.Uint64 // the same
}

func (m *meter) lane() *laneMeter {
	lm := &laneMeter{meter: m, times: newHistogram(m.digits)}
	if m.opens != nil {
		lm.opens = newOpenTimes()
	}
	m.lanes = append(m.lanes, lm)
	return lm
}

// now is the time since the start, in nanoseconds.
func (lm *laneMeter) now() int64 { return int64(time.Since(lm.meter.start)) }

// record records that so many events were acknowledged after so many nanoseconds, and
// how many of them since they were sent.
func (lm *laneMeter) record(nanos, sinceSent int64, events uint64) {
	_ = lm.times.RecordValues(bounded(nanos), int64(events)) // bounded fits
	if lm.opens != nil {
		_ = lm.opens.service.RecordValues(bounded(sinceSent), int64(events)) // the same
	}
	if nanos > lm.meter.after {
		lm.meter.slow(time.Duration(nanos))
	}
}

// mergeNow merges now and then.
func (lm *laneMeter) mergeNow(now int64) {
	if now-lm.merged > int64(time.Second/4) {
		lm.merged = now
		lm.merge()
	}
}

func (lm *laneMeter) late(nanos int64) { _ = lm.opens.lates.RecordValue(bounded(nanos)) }

func bounded(nanos int64) int64 { return min(max(nanos, 0), latencyHighest) }

func (lm *laneMeter) merge() {
	m := lm.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	m.second.Merge(lm.times)
	m.total.Merge(lm.times)
	lm.times.Reset()
	if lm.opens != nil {
		m.opens.merge(lm.opens)
	}
	m.end = max(m.end, time.Since(m.start))
}

// close merges what is left.
func (lm *laneMeter) close() { lm.merge() }

// report keeps what happened in each second, and calls fn with it unless fn is nil,
// until the function that it returns is called.
func (m *meter) report(fn func(Progress)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		var last Progress
		for {
			select {
			case <-t.C:
				last = m.keep(last)
				if fn != nil {
					fn(last)
				}
			case <-quit:
				if time.Since(m.start)-last.Elapsed >= partMin {
					m.keep(last)
				}
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// partMin is how long what is left of the last second must be to count for one.
const partMin = time.Second / 4

// keep appends what happened since last to the series.
func (m *meter) keep(last Progress) Progress {
	p := m.progress(last)
	if len(m.series) == seriesMax {
		m.series = slices.Delete(m.series, 0, 1)
	}
	m.series = append(m.series, p)
	return p
}

// progress is what happened since last.
func (m *meter) progress(last Progress) Progress {
	p := Progress{Elapsed: time.Since(m.start)}
	for _, lm := range m.lanes {
		p.Sent += lm.sent.Load()
		p.Acked += lm.acked.Load()
	}
	p.Rate = float64(p.Acked-last.Acked) / max((p.Elapsed-last.Elapsed).Seconds(), 1e-9)
	m.mu.Lock()
	defer m.mu.Unlock()
	p.Latency = LatencyOf(m.second)
	m.second.Reset()
	return p
}

// measured is the result, after the lanes have ended.
func (m *meter) measured() Measured {
	r := Measured{Elapsed: m.end, Latency: LatencyOf(m.total), Times: m.total, Series: m.series}
	for _, lm := range m.lanes {
		r.Events += lm.acked.Load()
	}
	if m.opens != nil {
		r.Service, r.Late = LatencyOf(m.opens.service), LatencyOf(m.opens.lates)
	}
	return r
}
