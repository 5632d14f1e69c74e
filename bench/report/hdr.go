package report

import (
	"fmt"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// encode writes a histogram in the format that all HdrHistograms read; "" for none.
func encode(h *hdr.Histogram) string {
	if h == nil || h.TotalCount() == 0 {
		return ""
	}
	text, err := h.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return "" // only a writer in memory could fail
	}
	return string(text)
}

// Times is the histogram of all latencies; nil if the result has none.
func (r *Result) Times() (*hdr.Histogram, error) {
	if r.LatencyHDR == "" {
		return nil, nil
	}
	h, err := hdr.Decode([]byte(r.LatencyHDR))
	if err != nil {
		return nil, fmt.Errorf("report: latency_hdr is not a histogram: %w", err)
	}
	return h, nil
}
