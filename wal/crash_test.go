package wal

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: wherever the power is cut, the log that is left is whole up to some frame,
// has all that a Sync has reported, and is never taken for a damaged one.
// Method: random scripts, a crash after every operation of each, every model of a
// crash, and a second one during the recovery.
func TestACrashAnywhereLeavesAPrefixWithAllThatWasSynced(t *testing.T) {
	r := random(t)
	scripts, crashes := 40, 0
	if testing.Short() {
		scripts = 4
	}
	for range scripts {
		s := randomScript(r)
		s.options.Device = Direct
		s.make()
		for stop := 0; ; stop++ {
			n, whole := crashAt(t, &s, stop, r.Uint64())
			crashes += n
			if whole {
				break
			}
		}
	}
	t.Logf("%d crashes", crashes)
}

// crashAt runs the script until stop operations are done, and judges what each model
// leaves. It says whether the script came to its end.
func crashAt(t *testing.T, s *script, stop int, seed uint64) (crashes int, whole bool) {
	t.Helper()
	disk := crashfs.New()
	disk.StopAfter(stop)
	s.options.FS = disk
	durable, claimed := uint64(0), false
	w, err := Create("g", s.id, s.start(), s.options)
	if err == nil {
		claimed, err = runUntilError(w, s)
		durable = w.Durable()
	}
	for _, model := range crashfs.Models(seed) {
		left := disk.Crash(model)
		first, err := survivors(s, left, durable, claimed)
		if err != nil {
			t.Fatalf("cut after operation %d, %v: %v", stop, model, err)
		}
		again := crashfs.Model{Seed: seed + 1} // takes from a killed process what it had not synced
		second, err := survivors(s, left.Crash(again), durable, claimed)
		if err != nil || model.Data != crashfs.Kept && second.End != first.End {
			t.Fatalf("cut after operation %d, and again, %v: %+v, then %+v: %v", stop, model, first.End, second.End, err)
		}
		crashes += 2
	}
	return crashes, err == nil
}

// survivors judges what a crash has left.
func survivors(s *script, left *crashfs.FS, durable uint64, claimed bool) (ScanResult, error) {
	result, err := s.scan(left, "g", ScanOptions{})
	switch {
	case errors.Is(err, os.ErrNotExist) && !claimed:
		return ScanResult{Void: true}, nil
	case err != nil:
		return result, err
	case result.Void && claimed:
		return result, errors.New("void, although a sync had succeeded")
	case result.End.Frame < durable:
		return result, fmt.Errorf("ends with frame %d, although %d was durable", result.End.Frame, durable)
	}
	return result, nil
}
