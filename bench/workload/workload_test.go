package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
)

func stream(t testing.TB, g Generated) *Generator {
	t.Helper()
	gen, err := NewGenerator(g)
	if err != nil {
		t.Fatal(err)
	}
	return gen
}

func TestKeyNumberInvertsAppendKey(t *testing.T) {
	for _, n := range []uint64{0, 1, 9, 10, 4711, 10_000_000, KeysMax - 1} {
		key := AppendKey(nil, n)
		got, err := KeyNumber(key)
		if err != nil || got != n || len(key) != KeyBytes {
			t.Errorf("%d: key %q gives %d, %v", n, key, got, err)
		}
	}
	for _, bad := range []string{"", "key-00000000001", "key-0000000000a1", "kex-000000000001"} {
		if n, err := KeyNumber([]byte(bad)); err == nil {
			t.Errorf("%q: number %d and no error", bad, n)
		}
	}
}

func TestScrambleIsAPermutation(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 5, 64, 1000, 1025, 40_000} {
		s, seen := newScramble(n), make(map[uint64]bool)
		for x := range n {
			y := s.of(x)
			if y >= n || seen[y] {
				t.Fatalf("n=%d: %d goes to %d, out of range or taken", n, x, y)
			}
			seen[y] = true
		}
	}
}

func TestZetaTailAgreesWithTheSum(t *testing.T) {
	for _, theta := range []float64{0.5, 0.9, 0.99} {
		var sum float64
		const n = 300_000
		for i := n; i >= 1; i-- {
			sum += math.Pow(float64(i), -theta)
		}
		if got := zeta(n, theta); math.Abs(got/sum-1) > 1e-12 {
			t.Errorf("theta %v: %v, sum %v", theta, got, sum)
		}
	}
}

// Goal: ranks are drawn as often as Zipf's law says. Method: a grid of uniform
// numbers instead of random ones; the closed form is exact for the first two ranks
// and an approximation after them, so the shares of ranges are compared.
func TestZipfDrawsRanksAsOftenAsTheLawSays(t *testing.T) {
	const n, theta, draws = 10_000, 0.99, 1 << 20
	z, err := newZipf(n, theta)
	if err != nil {
		t.Fatal(err)
	}
	var counts [n]int
	for i := range draws {
		counts[z.rank((float64(i)+0.5)/draws)]++
	}
	total := zeta(n, theta)
	for _, r := range []struct {
		from, to  int
		tolerance float64
	}{{0, 1, 1e-4}, {1, 2, 1e-4}, {2, 10, 0.15}, {10, 100, 0.05}, {100, 1000, 0.05}, {1000, n, 0.05}} {
		var got, want float64
		for rank := r.from; rank < r.to; rank++ {
			got += float64(counts[rank]) / draws
			want += math.Pow(float64(rank+1), -theta) / total
		}
		if math.Abs(got/want-1) > r.tolerance {
			t.Errorf("ranks %d to %d: share %.5f, the law says %.5f", r.from, r.to, got, want)
		}
	}
}

func TestStreamDependsOnItsSeedOnly(t *testing.T) {
	for _, dist := range []string{"uniform", "zipf:0.99"} {
		g := Generated{Keys: 1000, Dist: dist, Seed: 42, Events: 5000}
		var one, two Batch
		a, b := stream(t, g), stream(t, g)
		for a.Fill(&one, 7) == nil {
		}
		for b.Fill(&two, 1024) == nil {
		}
		if one.Len() != 5000 || two.Len() != 5000 {
			t.Fatalf("%s: %d and %d events", dist, one.Len(), two.Len())
		}
		for i := range one.Len() {
			if fmt.Sprint(one.At(i)) != fmt.Sprint(two.At(i)) {
				t.Fatalf("%s: event %d differs", dist, i)
			}
		}
		g.Seed++
		var other Batch
		if err := stream(t, g).Fill(&other, 10); err != nil || fmt.Sprint(other.At(0)) == fmt.Sprint(one.At(0)) {
			t.Errorf("%s: another seed begins with the same event (%v)", dist, err)
		}
	}
}

func TestUniformReachesEveryKey(t *testing.T) {
	seen := make(map[string]bool)
	err := ForEach(stream(t, Generated{Keys: 100, Seed: 1, Events: 5000}), func(e Event) error {
		seen[string(e.Key)] = true
		return nil
	})
	if err != nil || len(seen) != 100 {
		t.Errorf("%d of 100 keys, %v", len(seen), err)
	}
}

func TestGeneratorRefusesWhatItCannotDraw(t *testing.T) {
	for _, g := range []Generated{{}, {Keys: KeysMax + 1}, {Keys: 1, Dist: "zipf:1"}, {Keys: 1, Dist: "zipf:NaN"}, {Keys: 1, Dist: "normal"}, {Keys: 1, Dist: "0.9"}} {
		if _, err := NewGenerator(g); err == nil {
			t.Errorf("%+v: no error", g)
		}
	}
}

func TestFillAllocatesNothingOnceItsBatchHasRoom(t *testing.T) {
	gen := stream(t, Generated{Keys: 1 << 20, Dist: "zipf:0.99"})
	var b Batch
	if n := testing.AllocsPerRun(100, func() {
		b.Reset()
		if err := gen.Fill(&b, 1000); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for 1000 events", n)
	}
}

func TestForEachStopsAtTheFirstError(t *testing.T) {
	stop, n := errors.New("stop"), 0
	err := ForEach(stream(t, Generated{Keys: 1}), func(Event) error {
		n++
		if n == 3000 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 3000 {
		t.Errorf("%v after %d events", err, n)
	}
	var b Batch
	if err := stream(t, Generated{Keys: 1, Events: 1}).Fill(&b, 0); err != nil {
		t.Errorf("nothing asked for: %v", err)
	}
	if errors.Is(err, io.EOF) {
		t.Error("the end of the stream got out")
	}
}

func TestLimitEndsAStream(t *testing.T) {
	for _, n := range []uint64{0, 1, 1500, 5000} {
		var got uint64
		err := ForEach(Limit(stream(t, Generated{Keys: 9, Events: 5000}), n), func(e Event) error {
			got++
			return nil
		})
		if err != nil || got != n {
			t.Errorf("%d of %d events, %v", got, n, err)
		}
	}
}

func BenchmarkGenerator(b *testing.B) {
	for _, dist := range []string{"uniform", "zipf:0.99"} {
		b.Run("dist="+dist, func(b *testing.B) {
			gen := stream(b, Generated{Keys: 10_000_000, Dist: dist})
			var batch Batch
			for left := b.N; left > 0; left -= 1024 {
				batch.Reset()
				if err := gen.Fill(&batch, 1024); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
