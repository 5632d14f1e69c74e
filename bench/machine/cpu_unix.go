//go:build unix

package machine

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime is the processor time that this process has used so far; 0 where the system does
// not say.
func CPUTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
