//go:build !unix

package machine

import "time"

// CPUTime is the processor time that this process has used so far; 0 where the system does
// not say.
func CPUTime() time.Duration { return 0 }
