//go:build !linux

package guest

import "time"

// A pacer waits for moments. It must be used by one goroutine at a time.
type pacer struct{}

func newPacer() (*pacer, error) { return new(pacer), nil }

// wait returns when d is over.
func (p *pacer) wait(d time.Duration) error {
	if d > 0 {
		<-time.After(d)
	}
	return nil
}

func (p *pacer) close() error { return nil }
