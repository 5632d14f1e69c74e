package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: a crash that has taken the end of a full segment takes what lies in the next one
// with it, as long as nothing there says that the missing frames were durable; if
// anything does, or a third segment was begun, it is damage.
// Method: a log of two segments, cut and zeroed at every byte of the first from its second
// frame on, with and without a sync behind the first segment.
func TestATornFullSegmentEndsTheLogUnlessSomethingVouchesForIt(t *testing.T) {
	for _, vouched := range []bool{false, true} {
		s := smallScript()
		s.options.SegmentBytes, s.bodies, s.synced = 2000, []int{300, 300, 1500, 400, 200}, nil
		if vouched {
			s.synced = []int{4}
		}
		d, _ := s.disk(t)
		names, all := d.names(), places(t, &s, d)
		if len(names) != 2 || all[3].file != names[0] || all[4].file != names[1] {
			t.Fatalf("the log has other segments than the test needs: %v", names)
		}
		whole := d.files[names[0]].Data
		for at := all[2].off; at < len(whole); at++ {
			for what, data := range map[string][]byte{
				"cut":    whole[:at],
				"zeroed": append(bytes.Clone(whole[:at]), make([]byte, len(whole)-at)...),
			} {
				result, err := s.scan(d.with(names[0], data), "", ScanOptions{})
				if err := tornAt(all, at, vouched, result, err); err != nil {
					t.Fatalf("%s at %d, vouched for: %v: %v", what, at, vouched, err)
				}
				third := d.with(names[0], data)
				third.put(uint64(len(all))+1, nil)
				if _, err := s.scan(third, "", ScanOptions{}); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%s at %d, with a third segment: %v", what, at, err)
				}
			}
		}
	}
}

// tornAt judges the scan of a log that was torn at a byte of its first segment.
func tornAt(all []place, at int, vouched bool, result ScanResult, err error) error {
	kept := uint64(0)
	for _, p := range all {
		if p.file == all[0].file && p.end <= at {
			kept = p.number
		}
	}
	switch {
	case vouched && !errors.Is(err, ErrCorrupt):
		return errors.New("not refused")
	case vouched:
		return nil
	case err != nil:
		return err
	case result.End.Frame != kept || result.TornBytes == 0 || result.TornFrames == 0:
		return errors.New("it does not end there, or does not count what it has dropped")
	}
	return nil
}

// Goal: the frame that fills a segment does not wait for the disk; the one that fills the
// next waits until the first is durable, so that no more than two are ever behind.
// Method: a gate that holds up every sync.
func TestAFullSegmentIsSyncedBeforeTheNextIsFull(t *testing.T) {
	g := &gate{FS: fsys.OS(), entered: make(chan struct{}), leave: make(chan struct{})}
	dir := filepath.Join(t.TempDir(), "g")
	w, err := Create(dir, testID, Start{Generation: 1}, Options{FS: g, Device: Direct, SegmentBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	mustSync(t, w)
	g.shut.Store(true)
	mustAppend(t, w, frameOf(1000))
	mustAppend(t, w, frameOf(10))
	if w.Segments() != 2 || w.Durable() != 0 {
		t.Fatalf("%d segments, durable up to %d", w.Segments(), w.Durable())
	}
	filled := make(chan error)
	go func() { // the appending goroutine of now
		_, err := w.Append(frameOf(1000))
		filled <- err
	}()
	select {
	case err := <-filled:
		t.Fatalf("the second full segment did not wait for the first: %v", err)
	case <-g.entered:
	}
	g.shut.Store(false)
	close(g.leave)
	if err := <-filled; err != nil || w.Segments() != 3 {
		t.Fatalf("%d segments, %v", w.Segments(), err)
	}
	mustSync(t, w)
	mustAppend(t, w, frameOf(1000))
	if w.Segments() != 4 {
		t.Fatalf("%d segments", w.Segments())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Goal: however the power is cut, full segments that nobody has synced leave a log that is
// whole up to some frame.
// Method: frames without any sync behind the first, over several segments, a crash after
// every operation, in every model.
func TestSegmentsThatNobodyHasSyncedLeaveAPrefix(t *testing.T) {
	r := random(t)
	s := smallScript()
	s.options.SegmentBytes, s.synced = 1500, []int{0}
	s.make()
	for stop := 0; ; stop++ {
		if _, whole := crashAt(t, &s, stop, r.Uint64()); whole {
			break
		}
	}
	disk := crashfs.New()
	s.options.FS = disk
	w, err := Create("g", s.id, s.start(), s.options)
	if err == nil {
		_, err = runUntilError(w, &s)
	}
	if err != nil || w.Segments() < 5 {
		t.Fatalf("%d segments, %v", w.Segments(), err)
	}
}
