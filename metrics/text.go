package metrics

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/internal/histogram"
)

// ContentType is the media type of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Bounds are the upper ends of the buckets of every histogram, in seconds, each twice as
// long as the one before. Above the last there is only infinity.
func Bounds() []float64 {
	var bounds []float64
	for i := histogram.PerOctave - 1; i < histogram.Buckets-1; i += histogram.PerOctave {
		bounds = append(bounds, histogram.Bound(i).Seconds())
	}
	return bounds
}

func bucketsOf(h *histogram.Histogram) *Buckets {
	b := &Buckets{Count: h.Count, Sum: h.Sum.Seconds()}
	below := uint64(0)
	for i, n := range h.Counts[:histogram.Buckets-1] {
		if below += n; i%histogram.PerOctave == histogram.PerOctave-1 {
			b.Below = append(b.Below, below)
		}
	}
	return b
}

// Write writes metrics in the text format of Prometheus.
func Write(w io.Writer, families []Family) error {
	b := bufio.NewWriter(w)
	bounds := Bounds()
	for _, f := range families {
		b.WriteString("# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + string(f.Kind) + "\n")
		for _, s := range f.Samples {
			if s.Buckets == nil {
				writeSample(b, f.Name, f.Labels, s.Labels, s.Value)
				continue
			}
			labels := append(f.Labels[:len(f.Labels):len(f.Labels)], "le")
			for i, n := range s.Buckets.Below {
				writeSample(b, f.Name+"_bucket", labels, append(s.Labels[:len(s.Labels):len(s.Labels)], number(bounds[i])), float64(n))
			}
			writeSample(b, f.Name+"_bucket", labels, append(s.Labels[:len(s.Labels):len(s.Labels)], "+Inf"), float64(s.Buckets.Count))
			writeSample(b, f.Name+"_sum", f.Labels, s.Labels, s.Buckets.Sum)
			writeSample(b, f.Name+"_count", f.Labels, s.Labels, float64(s.Buckets.Count))
		}
	}
	return b.Flush()
}

// escaped is how values of labels are written.
var escaped = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

func writeSample(b *bufio.Writer, name string, labels, values []string, value float64) {
	b.WriteString(name)
	for i, label := range labels {
		b.WriteString([]string{"{", ","}[min(i, 1)] + label + `="`)
		escaped.WriteString(b, values[i])
		b.WriteByte('"')
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + number(value) + "\n")
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
