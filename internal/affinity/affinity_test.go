package affinity

import (
	"errors"
	"runtime"
	"slices"
	"testing"
)

func requireCPUs(t *testing.T) []int {
	t.Helper()
	cpus, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	if cpus == nil {
		t.Skipf("%s does not say which CPUs are allowed", runtime.GOOS)
	}
	return cpus
}

func TestAllowedIsAscendingAndAtLeastOne(t *testing.T) {
	cpus := requireCPUs(t)
	if len(cpus) == 0 || cpus[0] < 0 || !slices.IsSorted(cpus) || len(slices.Compact(slices.Clone(cpus))) != len(cpus) {
		t.Fatalf("allowed: %v", cpus)
	}
}

func TestPinLeavesOneCPUAndUnpinAllThatWereThere(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := requireCPUs(t)
	for _, cpu := range before {
		unpin, err := Pin(cpu)
		if err != nil {
			t.Fatal(err)
		}
		if now := requireCPUs(t); !slices.Equal(now, []int{cpu}) {
			t.Errorf("pinned to %d, allowed are %v", cpu, now)
		}
		if err := unpin(); err != nil {
			t.Fatal(err)
		}
		if now := requireCPUs(t); !slices.Equal(now, before) {
			t.Fatalf("after unpin %v are allowed, before it were %v", now, before)
		}
	}
}

func TestPinRefusesACPUThatIsNotAllowedAndChangesNothing(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := requireCPUs(t)
	for _, cpu := range []int{-1, before[len(before)-1] + 1, 1 << 20} {
		if _, err := Pin(cpu); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("CPU %d: %v", cpu, err)
		}
	}
	if now := requireCPUs(t); !slices.Equal(now, before) {
		t.Errorf("allowed are now %v, were %v", now, before)
	}
}

// Goal: a thread that is pinned already may not move to a CPU outside its mask.
func TestPinStaysWithinTheMaskOfTheThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpus := requireCPUs(t)
	if len(cpus) < 2 {
		t.Skip("needs two allowed CPUs")
	}
	unpin, err := Pin(cpus[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Pin(cpus[1]); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("left the mask: %v", err)
	}
	if err := unpin(); err != nil {
		t.Fatal(err)
	}
}

func TestPinIsRefusedWhereItCannotWork(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("it works here")
	}
	if _, err := Pin(0); !errors.Is(err, ErrUnsupported) {
		t.Fatalf("got %v", err)
	}
}

func TestQuotaIsPositiveIfThereIsOne(t *testing.T) {
	cpus, limited := Quota()
	if limited != (cpus > 0) {
		t.Fatalf("Quota: %v, %v", cpus, limited)
	}
}
