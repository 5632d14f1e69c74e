package workload

import (
	"fmt"
	"math"
	"math/bits"
)

// zipf turns a uniform number into a rank below n that follows Zipf's law with an
// exponent between 0 and 1: rank r is drawn (r+1)^-theta as often as rank 0.
//
// The closed form is that of Gray, Sundaresan, Englert, Baclawski and Weinberger,
// "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), which
// YCSB uses as well. math/rand has only exponents above 1. Its power function is
// taken from a grid: between two neighbours the density changes by less than a
// hundredth, and a draw takes a tenth of the time (BenchmarkGenerator).
type zipf struct {
	n      uint64
	total  float64 // the sum of (r+1)^-theta over all ranks
	second float64 // below this share of total: rank 1
	grid   []float64
}

// zipfCells is the count of cells of the grid.
const zipfCells = 4096

func newZipf(n uint64, theta float64) (zipf, error) {
	if !(theta > 0 && theta < 1) {
		return zipf{}, fmt.Errorf("workload: the exponent of zipf must lie between 0 and 1, not %v", theta)
	}
	total := zeta(n, theta)
	z := zipf{n: n, total: total, second: 1 + math.Pow(0.5, theta), grid: make([]float64, zipfCells+1)}
	if n <= 2 {
		return z, nil // the first two ranks need no grid
	}
	eta := (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta(2, theta)/total)
	for i := range z.grid {
		u := float64(i) / zipfCells
		z.grid[i] = float64(n) * math.Pow(max(eta*u-eta+1, 0), 1/(1-theta))
	}
	return z, nil
}

// rank is the rank that a uniform u of [0, 1) stands for.
func (z *zipf) rank(u float64) uint64 {
	share := u * z.total
	if share < 1 {
		return 0
	}
	if share < z.second {
		return min(1, z.n-1)
	}
	cell := int(u * zipfCells)
	low, high := z.grid[cell], z.grid[cell+1]
	return min(uint64(low+(high-low)*(u*zipfCells-float64(cell))), z.n-1)
}

// zetaExact is how many terms of zeta are summed; the rest is integrated.
const zetaExact = 4096

// zeta is the sum of i^-theta for i from 1 to n. The tail is the Euler-Maclaurin
// formula with two correction terms, whose error is below 1e-15 after 4096 terms;
// it saves a second of start-up at ten million keys.
func zeta(n uint64, theta float64) float64 {
	var sum float64
	m := min(n, zetaExact)
	for i := m; i >= 1; i-- {
		sum += math.Pow(float64(i), -theta)
	}
	if n == m {
		return sum
	}
	a, b := float64(m), float64(n)
	integral := (math.Pow(b, 1-theta) - math.Pow(a, 1-theta)) / (1 - theta)
	ends := (math.Pow(b, -theta) - math.Pow(a, -theta)) / 2
	slope := -theta * (math.Pow(b, -theta-1) - math.Pow(a, -theta-1)) / 12
	return sum + integral + ends + slope
}

// scramble is a permutation of the numbers below n, so that the keys that are
// drawn most often do not have neighbouring numbers. It permutes the next power
// of two and walks on until the number is below n again: twice at most on average.
type scramble struct {
	n    uint64
	mask uint64
	fold uint
}

func newScramble(n uint64) scramble {
	width := max(bits.Len64(n-1), 1)
	return scramble{n: n, mask: 1<<width - 1, fold: uint(width+1) / 2}
}

func (s scramble) of(x uint64) uint64 {
	for {
		x = (x*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019) & s.mask
		x ^= x >> s.fold
		x = x * 0xd6e8feb86659fd93 & s.mask
		x ^= x >> s.fold
		if x < s.n {
			return x
		}
	}
}
