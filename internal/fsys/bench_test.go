package fsys

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkRemoval measures what those feel who sync while a log file of 64 MiB is
// removed: small syncs in a closed loop beside it, the worst of which is reported
// (the mean over the iterations), with how many of them there were. mode=none is the
// loop without a removal.
func BenchmarkRemoval(b *testing.B) {
	steps := func(name string) error {
		return RemoveTreeInSteps(OS(), name, 1<<20, func() { <-time.After(4 * time.Millisecond) })
	}
	atOnce := func(name string) error { return RemoveTree(OS(), name) }
	none := func(string) error { return nil }
	b.Run("mode=none", func(b *testing.B) { removeBesideSyncs(b, none) })
	b.Run("mode=at-once", func(b *testing.B) { removeBesideSyncs(b, atOnce) })
	b.Run("mode=steps", func(b *testing.B) { removeBesideSyncs(b, steps) })
}

// removalWindow is how long is looked at least; what a removal costs may come later.
const removalWindow = 100 * time.Millisecond

func removeBesideSyncs(b *testing.B, remove func(name string) error) {
	dir := b.TempDir()
	log, err := OS().OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	large := filepath.Join(dir, "large")
	var worst time.Duration
	syncs := 0
	for b.Loop() {
		if err := ReplaceFile(OS(), large, make([]byte, 64<<20)); err != nil {
			b.Fatal(err)
		}
		removed := make(chan error, 1)
		began := time.Now()
		go func() { removed <- remove(large) }()
		slowest := time.Duration(0)
		for done := false; !done || time.Since(began) < removalWindow; syncs++ {
			slowest = max(slowest, syncOnce(b, log))
			select {
			case err := <-removed:
				if err != nil {
					b.Fatal(err)
				}
				done = true
			default:
			}
		}
		worst += slowest
	}
	if _, err := os.Lstat(large); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	b.ReportMetric(float64(worst.Microseconds())/1e3/float64(b.N), "worst-ms")
	b.ReportMetric(float64(syncs)/float64(b.N), "syncs")
}

func syncOnce(b *testing.B, log File) time.Duration {
	began := time.Now()
	_, err := log.WriteAt([]byte("a frame"), 0)
	if err == nil {
		err = log.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
