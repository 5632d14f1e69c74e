// Package affinity knows which CPUs this process may use and how much of them, and
// pins a thread to one. It works on Linux; elsewhere there is nothing to know and
// pinning is refused, and the caller goes on without.
package affinity

import "errors"

// ErrUnsupported is matched by the error of Pin where threads cannot be pinned.
var ErrUnsupported = errors.New("affinity: threads cannot be pinned on this system")

// ErrNotAllowed is matched by the error of Pin for a CPU that this process may not
// use, or that does not exist.
var ErrNotAllowed = errors.New("affinity: the CPU is not allowed to this process")

// Allowed lists the CPUs that the calling thread may run on, in ascending order.
// They need not begin with 0, nor be without gaps. Call it before the first Pin,
// which changes the answer on the pinned thread. Where the system does not say, it
// returns nil and no error.
func Allowed() ([]int, error) { return allowed() }

// Quota is how many CPUs' worth of time the control groups of this process give
// it, and whether there is such a limit: the tightest one from the group of the
// process up to the root. Without a limit, or where there are no control groups,
// it returns 0 and false.
func Quota() (cpus float64, limited bool) { return quota() }

// Pin keeps the calling thread on one CPU. The caller must have called
// [runtime.LockOSThread], and calls unpin, which puts back what was before, on the
// same goroutine before it unlocks the thread. An error leaves the thread as it
// was: the caller goes on without pinning.
func Pin(cpu int) (unpin func() error, err error) { return pin(cpu) }
