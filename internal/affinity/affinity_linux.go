package affinity

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// cpusMax bounds the size of a mask. The kernel is built for at most 8192.
const cpusMax = 1 << 16

// mask is a set of CPUs, as large as the kernel wants it; unix.CPUSet ends at 1024.
type mask = unix.CPUSetDynamic

func allowed() ([]int, error) {
	set, err := threadMask()
	if err != nil {
		return nil, err
	}
	var cpus []int
	for cpu, left := 0, set.Count(); left > 0; cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
			left--
		}
	}
	return cpus, nil
}

func pin(cpu int) (unpin func() error, err error) {
	before, err := threadMask()
	if err != nil {
		return nil, err
	}
	if cpu < 0 || !before.IsSet(cpu) {
		return nil, fmt.Errorf("%w: CPU %d", ErrNotAllowed, cpu)
	}
	one := unix.NewCPUSet(cpu + 1)
	one.Set(cpu)
	if err := setThreadMask(one); err != nil {
		return nil, err
	}
	return func() error { return setThreadMask(before) }, nil
}

func setThreadMask(set mask) error {
	if err := unix.SchedSetaffinityDynamic(0, set); err != nil {
		return fmt.Errorf("affinity: sched_setaffinity: %w", err)
	}
	return nil
}

// threadMask asks for the mask of the calling thread, with more room each time
// that the kernel says it has more CPUs than fit.
func threadMask() (mask, error) {
	for cpus := 1024; cpus <= cpusMax; cpus *= 2 {
		set := unix.NewCPUSet(cpus)
		err := unix.SchedGetaffinityDynamic(0, set)
		if err == nil {
			return set, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("affinity: sched_getaffinity: %w", err)
		}
	}
	return nil, fmt.Errorf("affinity: more than %d CPUs", cpusMax)
}
