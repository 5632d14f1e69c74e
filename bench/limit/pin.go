package limit

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/keyfold/keyfold/internal/affinity"
)

// cpus says for each of n goroutines which CPU to pin it to, or -1 for each: by the
// rule of the engine, pinned if there is a CPU for each and no CPU quota.
func cpus(n int) []int {
	list := make([]int, n)
	allowed, err := affinity.Allowed()
	_, limited := affinity.Quota()
	for i := range list {
		list[i] = -1
		if err == nil && !limited && n <= len(allowed) {
			list[i] = allowed[len(allowed)-1-i]
		}
	}
	return list
}

// pinned calls fn on a thread of its own, which is pinned to a CPU unless that is -1
// or the system refuses.
func pinned(cpu int, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cpu >= 0 {
		if unpin, err := affinity.Pin(cpu); err == nil {
			defer func() { _ = unpin() }()
		}
	}
	return fn()
}

// together calls each of fns on a goroutine of its own, pinned, once all of them are
// ready, and returns how long it took until the last had ended, and all their errors.
func together(fns []func() error) (time.Duration, error) {
	errs := make([]error, len(fns))
	begin := make(chan struct{})
	var ready, done sync.WaitGroup
	for i, cpu := range cpus(len(fns)) {
		ready.Add(1)
		done.Go(func() {
			errs[i] = pinned(cpu, func() error {
				ready.Done()
				<-begin
				return fns[i]()
			})
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	return time.Since(start), errors.Join(errs...)
}
