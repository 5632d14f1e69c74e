package report

import (
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// hdrOf is a histogram of values.
func hdrOf(values ...int64) *hdr.Histogram {
	h := hdr.New(64, 1e12, 3)
	for _, v := range values {
		_ = h.RecordValue(v) // in range
	}
	return h
}

func TestLatenciesAreReadBackAsTheyWere(t *testing.T) {
	want := hdrOf(100, 2_000, 30_000, 30_000)
	r := Result{Measured: Measured{LatencyHDR: encode(want)}}
	got, err := r.Times()
	if err != nil || !got.Equals(want) {
		t.Errorf("%v, %v", got, err)
	}
	r.LatencyHDR = r.LatencyHDR[:10]
	if got, err := r.Times(); err == nil {
		t.Errorf("a part of it is %v", got)
	}
	if encode(nil) != "" || encode(hdrOf()) != "" {
		t.Error("nothing is encoded as something")
	}
}
