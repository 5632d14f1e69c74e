package sizing

import "testing"

// Goal: each key gets one event of each pass, far from the one before.
func TestScatteredOrdersHaveEachKeyOnce(t *testing.T) {
	for _, count := range []uint64{KeysMin, 10_007, 1 << 14, 30_030, 99_999, 100_000} {
		order, times, before := scattered(count), make([]int, count), uint64(0)
		missing, near := count, 0
		for i := range count {
			at := order(i)
			if times[at]++; times[at] == 1 {
				missing--
			}
			if i > 0 && max(at, before)-min(at, before) < count/4 {
				near++
			}
			before = at
		}
		if missing != 0 || near != 0 {
			t.Errorf("of %d keys %d have no event, and %d have one next to that of a neighbour", count, missing, near)
		}
	}
}
