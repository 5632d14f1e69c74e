package rival

import (
	"sync"
	"time"
)

// A ticker syncs a store once a second. The first error is kept for stop.
type ticker struct {
	quit chan struct{}
	done sync.WaitGroup
	err  error // of the goroutine; stop waits for it
}

// everySecond begins a goroutine that calls sync; stop ends it.
func everySecond(sync func() error) *ticker {
	t := &ticker{quit: make(chan struct{})}
	t.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := sync(); err != nil && t.err == nil {
					t.err = err
				}
			case <-t.quit:
				return
			}
		}
	})
	return t
}

// stop waits for the goroutine. A nil ticker never ran.
func (t *ticker) stop() error {
	if t == nil {
		return nil
	}
	close(t.quit)
	t.done.Wait()
	return t.err
}
