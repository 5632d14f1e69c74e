// Package histogram counts durations in buckets that grow with them: small enough to
// live inside a shard and to be copied with its figures, exact enough to tell 2 ms from
// 2.3. It is ours because what the library links goes into other people's programs.
package histogram

import (
	"math/bits"
	"time"
)

const (
	// stepBits is how finely an octave is cut: into 1<<stepBits buckets of equal width.
	stepBits = 3
	steps    = 1 << stepBits
	// unitBits makes the unit of the first buckets 1<<unitBits nanoseconds.
	unitBits = 7
	octaves  = 27

	// Buckets is how many there are.
	Buckets = octaves * steps
	// PerOctave is how many it takes to double the duration.
	PerOctave = steps
)

// A Histogram counts durations. From 1.024 µs to 64 s a bucket is at most an eighth of
// its lower end wide, and below that 128 ns; the last one takes whatever is longer. It
// only grows, so that the difference of two copies is what came between them. It is a
// value: a copy stays what it is. It must be used by one goroutine at a time. The zero
// Histogram is empty.
type Histogram struct {
	Count  uint64          // of durations
	Sum    time.Duration   // of all
	Counts [Buckets]uint64 // bucket i holds those below Bound(i), and not below Bound(i-1)
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0) // a clock may be set back
	h.Count++
	h.Sum += d
	h.Counts[bucket(d)]++
}

// bucket is that of a duration, which is not negative.
func bucket(d time.Duration) int {
	units := uint64(d) >> unitBits
	if units < steps {
		return int(units)
	}
	octave := bits.Len64(units) - stepBits - 1 // by how much units are to be shifted
	return min(octave*steps+int(units>>octave), Buckets-1)
}

// Bound is the upper end of a bucket: what lies in it is shorter. That of the last
// bucket is a bound for nothing.
func Bound(bucket int) time.Duration {
	bucket++
	octave := max(bucket/steps-1, 0)
	return time.Duration(bucket-octave*steps) << (octave + unitBits)
}

// Quantile is a duration that the share q of all is at most as long as, 0.99 for the
// p99: the upper end of the bucket that it lies in, so that it is never too short. It is
// 0 if the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.Count))
	seen := uint64(0)
	for i, n := range h.Counts {
		if seen += n; seen > rank || seen == h.Count {
			return Bound(i)
		}
	}
	return Bound(Buckets - 1)
}

// Since returns what was added after before was copied from h.
func (h Histogram) Since(before Histogram) Histogram {
	h.Count -= before.Count
	h.Sum -= before.Sum
	for i, n := range before.Counts {
		h.Counts[i] -= n
	}
	return h
}
