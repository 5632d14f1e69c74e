package wal

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: Room keeps its promise on a real file system that is really full, and gives
// back there what it took.
func TestARealFullDiskStopsRoomAndNotAppend(t *testing.T) {
	for _, device := range devices {
		t.Run("device="+device.String(), func(t *testing.T) {
			base := t.TempDir()
			if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=4m"); err != nil {
				t.Skipf("may not mount a tmpfs: %v", err)
			}
			t.Cleanup(func() { unix.Unmount(base, unix.MNT_DETACH) })
			dir := filepath.Join(base, "g")
			w, err := Create(dir, testID, Start{Generation: testGeneration}, Options{Device: device, SegmentBytes: 300 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			fillUp(t, random(t), w)
			mustSync(t, w)
			result, err := Scan(fsys.OS(), dir, testID, testGeneration, ScanOptions{}, nil)
			if err != nil || result.End != w.End() || result.Bytes < 3<<20 {
				t.Errorf("%+v, %v; want %+v", result, err, w.End())
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			requireNoReserve(t, dir)
		})
	}
}

// Goal: on a real file system, too, a segment that there is no room for is begun when
// there is. Method: a tmpfs has room for a number of files, and another one takes the last.
func TestASegmentThatARealDiskHasNoRoomForIsBegunLater(t *testing.T) {
	for _, device := range devices {
		t.Run("device="+device.String(), func(t *testing.T) {
			base := t.TempDir()
			if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=4m,nr_inodes=5"); err != nil {
				t.Skipf("may not mount a tmpfs: %v", err)
			}
			t.Cleanup(func() { unix.Unmount(base, unix.MNT_DETACH) })
			dir, other := filepath.Join(base, "g"), filepath.Join(base, "other")
			w, err := Create(dir, testID, Start{Generation: testGeneration}, Options{Device: device, SegmentBytes: 10 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			for range 2 {
				if err := w.Room(20 << 10); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(other, nil, 0o600); err != nil && w.tail.entries == 1 {
					t.Fatal(err)
				}
				mustAppend(t, w, frameOf(11<<10))
			}
			requireNoSegment(t, w)
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			if err := w.Room(100); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, frameOf(100))
			mustSync(t, w)
			result, err := Scan(fsys.OS(), dir, testID, testGeneration, ScanOptions{}, nil)
			if err != nil || result.End != w.End() {
				t.Errorf("%+v, %v; want %+v", result, err, w.End())
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			requireNoReserve(t, dir)
		})
	}
}

// requireNoReserve makes sure that no segment takes more blocks than its size needs.
func requireNoReserve(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		if stat.Blocks*512 > info.Size()+64<<10 {
			t.Errorf("%s has %d bytes and takes %d", e.Name(), info.Size(), stat.Blocks*512)
		}
	}
}

func TestSealedSegmentsGiveTheirReserveBackOnThisFileSystem(t *testing.T) {
	for _, device := range devices {
		w, dir := create(t, Options{Device: device, SegmentBytes: 1 << 20})
		for range 5 {
			if err := w.Room(4 << 20); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, frameOf(600<<10))
		}
		mustSync(t, w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		requireNoReserve(t, dir)
	}
}
