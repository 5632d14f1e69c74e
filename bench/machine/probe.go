package machine

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// probeSyncsMin and probeSyncsMax bound how often a probe syncs.
const (
	probeSyncsMin = 20
	probeSyncsMax = 500
)

// probeSync writes and syncs 4 KiB again and again for about d.
func probeSync(dir string, d time.Duration) (p Probe, err error) {
	f, err := os.CreateTemp(dir, "sync-probe-*")
	if err != nil {
		return p, fmt.Errorf("machine: probe of syncs: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, blockBytes)
	p, err = probe(d, func(int64) error {
		if _, err := f.Write(block); err != nil {
			return err
		}
		return syncData(f)
	})
	if err != nil {
		err = fmt.Errorf("machine: probe of syncs: %w", err)
	}
	return p, err
}
