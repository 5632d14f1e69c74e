package machine

import "testing"

func TestLowerTakesNoLimitForNone(t *testing.T) {
	if lower(0, 5.0) != 5 || lower(3.0, 5) != 3 || lower(uint64(9), 5) != 5 {
		t.Error("not the lower limit")
	}
}
