package chart

import (
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
)

// nines is where a percentile, from 0 to 100, lies on an axis on which each further
// nine takes the same room: 0 is at 0, 90 at 1, 99 at 2.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// ninesTicks name the percentiles that people ask for.
type ninesTicks struct{}

// Ticks is what plot asks an axis for.
func (ninesTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for _, text := range []string{"50", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"} {
		percentile, _ := strconv.ParseFloat(text, 64) // all of them are numbers
		if at := nines(percentile); at >= low && at <= high {
			ticks = append(ticks, plot.Tick{Value: at, Label: text + " %"})
		}
	}
	return ticks
}

// logTicks are powers of a base, with their multiples between them as minor ticks.
type logTicks struct {
	base  float64
	label func(float64) string
}

// Ticks is what plot asks an axis for.
func (t logTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	if !(low > 0) || math.IsInf(high, 0) {
		return nil
	}
	for at := math.Pow(t.base, math.Floor(math.Log(low)/math.Log(t.base)+1e-9)); at <= high*1.0000001; at *= t.base {
		if at >= low*0.9999999 {
			ticks = append(ticks, plot.Tick{Value: at, Label: t.label(at)})
		}
		for i := 2.0; i < t.base; i++ {
			if v := at * i; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v})
			}
		}
	}
	return ticks
}

// labelled are the ticks that plot chooses for a linear axis, under other names.
type labelled func(float64) string

// Ticks is what plot asks an axis for.
func (l labelled) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = l(ticks[i].Value)
		}
	}
	return ticks
}

// duration writes nanoseconds as 100µs.
func duration(nanos float64) string { return time.Duration(math.Round(nanos)).String() }

// number writes a count as 200k or 1.5M.
func number(n float64) string {
	for _, unit := range []struct {
		factor float64
		suffix string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(n) >= unit.factor {
			return trim(n/unit.factor) + unit.suffix
		}
	}
	return trim(n)
}

func trim(n float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(n, 'g', 4, 64), ".0")
}
