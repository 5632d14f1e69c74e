package machine

import (
	"errors"
	"fmt"
	"os"
	"slices"
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
	var took []int64
	block := make([]byte, 4096)
	for start := time.Now(); len(took) < probeSyncsMin || len(took) < probeSyncsMax && time.Since(start) < d; {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return p, fmt.Errorf("machine: probe of syncs: %w", err)
		}
		if err := syncData(f); err != nil {
			return p, fmt.Errorf("machine: probe of syncs: %w", err)
		}
		took = append(took, int64(time.Since(began)))
	}
	slices.Sort(took)
	return Probe{P50: took[len(took)/2], P99: took[len(took)*99/100]}, nil
}
