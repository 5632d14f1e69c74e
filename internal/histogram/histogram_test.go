package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// Goal: buckets have no gaps and no overlaps, and begin, widen and end where the comment of
// Histogram says. From 1.024 µs on none is wider than an eighth of what is in it.
func TestBucketsMeetAndStayNarrow(t *testing.T) {
	for i := range Buckets {
		bound := Bound(i)
		if below := bucket(bound - 1); below != i {
			t.Errorf("%v, just below the end of bucket %d, is in bucket %d", bound-1, i, below)
		}
		if at := bucket(bound); at != min(i+1, Buckets-1) {
			t.Errorf("%v, the end of bucket %d, is in bucket %d", bound, i, at)
		}
		if i >= steps && bound-Bound(i-1) > Bound(i-1)/steps {
			t.Errorf("bucket %d goes from %v to %v", i, Bound(i-1), bound)
		}
	}
	narrow, last := Bound(steps-1), Bound(Buckets-2)
	if Bound(0) != 128*time.Nanosecond || narrow != 1024*time.Nanosecond || last.Truncate(time.Second) != 64*time.Second {
		t.Errorf("the first bucket ends at %v, those of its width at %v, and the last begins at %v", Bound(0), narrow, last)
	}
	var h Histogram
	h.Add(-5)
	h.Add(1 << 62)
	if h.Counts[0] != 1 || h.Counts[Buckets-1] != 1 {
		t.Error("what lies beyond the ends is not in the first and the last bucket")
	}
}

// Goal: a quantile is never shorter than the true one, and at most an eighth longer.
func TestQuantilesAreNeverTooShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Histogram
		all := rapid.SliceOfN(rapid.Int64Range(int64(time.Microsecond), int64(10*time.Second)), 1, 300).Draw(t, "durations")
		sum := time.Duration(0)
		for _, d := range all {
			h.Add(time.Duration(d))
			sum += time.Duration(d)
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			want := time.Duration(all[min(int(q*float64(len(all))), len(all)-1)])
			if have := h.Quantile(q); have < want || have > want+want/steps+1 {
				t.Fatalf("quantile %v of %d durations is %v, should be %v", q, len(all), have, want)
			}
		}
		if h.Sum != sum || h.Count != uint64(len(all)) {
			t.Fatalf("%d durations of %v in all, should be %d of %v", h.Count, h.Sum, len(all), sum)
		}
	})
}

func TestSinceIsWhatCameBetween(t *testing.T) {
	var h, want Histogram
	h.Add(time.Millisecond)
	before := h
	for range 100 {
		d := time.Duration(rand.Int64N(int64(time.Second)))
		h.Add(d)
		want.Add(d)
	}
	if h.Since(before) != want {
		t.Error("the difference of two copies is not what was added between them")
	}
	if (&Histogram{}).Quantile(0.5) != 0 {
		t.Error("an empty histogram has a quantile")
	}
}

// BenchmarkAdd is what one duration costs. bytes is what a copy of a histogram takes.
func BenchmarkAdd(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Add(time.Duration(i))
	}
	if h.Count != uint64(b.N) {
		b.Fatal(h.Count)
	}
	b.ReportMetric(float64(unsafe.Sizeof(h)), "bytes")
}
