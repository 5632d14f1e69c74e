package wal

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

func frameOf(bytes int) *Frame {
	var f Frame
	f.Reset()
	f.Bytes = append(f.Bytes, make([]byte, bytes)...)
	f.Count = 1
	return &f
}

func create(t testing.TB, o Options) (*Writer, string) {
	t.Helper()
	dir := "g"
	if o.FS == nil {
		dir = filepath.Join(t.TempDir(), "g")
	}
	w, err := Create(dir, testID, Start{Generation: testGeneration}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, dir
}

func mustAppend(t testing.TB, w *Writer, f *Frame) uint64 {
	t.Helper()
	n, err := w.Append(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustSync(t testing.TB, w *Writer) uint64 {
	t.Helper()
	n, err := w.Sync()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// requirePoisoned makes sure that a Writer gives the same error for ever, and does
// nothing any more.
func requirePoisoned(t testing.TB, w *Writer, want error) {
	t.Helper()
	for range 2 {
		_, appendErr := w.Append(frameOf(10))
		_, syncErr := w.Sync()
		for what, err := range map[string]error{"Append": appendErr, "Sync": syncErr, "Room": w.Room(1), "Err": w.Err()} {
			if err != want || err == nil {
				t.Fatalf("%s after the first error: %v, want %v", what, err, want)
			}
		}
	}
	if errors.Is(want, ErrNoSpace) {
		t.Errorf("the error of a Writer that is of no more use says that it can go on: %v", want)
	}
}

// Goal: the first failed operation of the disk is the last one: nothing is written,
// synced or claimed behind it.
// Method: fail each operation of a script once, in every way that a disk has, and
// then watch the disk.
func TestTheFirstErrorSticks(t *testing.T) {
	for _, failure := range []error{crashfs.ErrIO, crashfs.DropDirty(crashfs.ErrIO), crashfs.ShortWrite(30, crashfs.ErrFull)} {
		for n := 1; ; n++ {
			if !failOnce(t, n, failure) {
				t.Logf("%v: %d operations", failure, n-1)
				break
			}
		}
	}
}

// failOnce runs the small script with a failure in the nth operation, and says
// whether it came so far.
func failOnce(t *testing.T, n int, failure error) bool {
	t.Helper()
	s := smallScript()
	s.make()
	disk := crashfs.New()
	s.options.FS = disk
	disk.FailNth(crashfs.Any, n, failure)
	w, err := Create("g", s.id, s.start(), s.options)
	if err != nil {
		return true
	}
	durable, first := runUntilError(w, &s)
	if first == nil {
		w.Close()
		return n <= disk.Ops()
	}
	ops := disk.Ops()
	if errors.Is(first, ErrNoSpace) {
		t.Fatalf("operation %d: %v", n, first) // Room met a fault of the disk, not a full one
	}
	requirePoisoned(t, w, first)
	w.Close()
	if disk.Ops() != ops {
		t.Errorf("operation %d failed, and then the disk was changed", n)
	}
	after := disk.Crash(crashfs.Model{})
	result, err := s.scan(after, "g", ScanOptions{})
	if durable && err == nil && (result.Void || result.End.Frame < w.Durable()) {
		t.Errorf("operation %d failed: frame %d was durable, but the log ends with %+v", n, w.Durable(), result)
	}
	if err != nil && !(errors.Is(err, os.ErrNotExist) && !durable) {
		t.Errorf("operation %d failed: %v", n, err)
	}
	return true
}

// runUntilError runs a script and says whether a sync succeeded.
func runUntilError(w *Writer, s *script) (durable bool, err error) {
	var f Frame
	for number := 0; number <= len(s.bodies); number++ {
		if number > 0 {
			s.fill(&f, number)
			if err := w.Room(f.Len()); err != nil && !(errors.Is(err, ErrNoSpace) && w.Err() == nil) {
				return durable, err
			}
			if _, err := w.Append(&f); err != nil {
				return durable, err
			}
		}
		if slices.Contains(s.synced, number) {
			if _, err := w.Sync(); err != nil {
				return durable, err
			}
			durable = true
		}
	}
	return durable, nil
}

// A failed write of the device must not be followed by another, whichever device.
type brokenDevice struct {
	device
	fail  func() error
	calls int
}

func (d *brokenDevice) append(uint64, entry) error {
	d.calls++
	return guard(d.fail)
}

func TestAnErrorOrPanicOfADeviceSticks(t *testing.T) {
	for what, fail := range map[string]func() error{
		"error": func() error { return crashfs.ErrIO },
		"panic": func() error { panic("boom") },
	} {
		for _, kind := range devices {
			w, _ := create(t, Options{Device: kind})
			broken := &brokenDevice{device: w.device, fail: fail}
			w.device = broken
			_, err := w.Append(frameOf(10))
			requirePoisoned(t, w, err)
			if broken.calls != 1 {
				t.Errorf("%s, %v: the device was called %d times", what, kind, broken.calls)
			}
		}
	}
}

func TestAFrameThatCannotBeAppendedChangesNothing(t *testing.T) {
	w, dir := create(t, Options{Device: Direct, FrameBytesMax: 100})
	end := w.End()
	if _, err := w.Append(frameOf(101)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := w.Append(&Frame{}); !errors.Is(err, ErrFrame) {
		t.Errorf("no room for the header: %v", err)
	}
	if err := w.Room(101); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Room: %v", err)
	}
	if w.End() != end {
		t.Errorf("end %+v, was %+v", w.End(), end)
	}
	mustAppend(t, w, frameOf(100))
	if result, err := Scan(fsys.OS(), dir, testID, testGeneration, ScanOptions{}, nil); err != nil || result.End != w.End() || result.Bytes != w.Bytes() {
		t.Errorf("%+v, %v; want %+v", result, err, w.End())
	}
}

func TestCreateRefusesWhatItCannotKeep(t *testing.T) {
	fs := crashfs.New()
	for what, c := range map[string]struct {
		start   Start
		options Options
		is      error
	}{
		"generation 0":      {Start{}, Options{}, nil},
		"a later previous":  {Start{Generation: 3, Previous: End{Generation: 3}}, Options{}, nil},
		"a huge payload":    {Start{Generation: 1, Payload: make([]byte, PayloadBytesMax+1)}, Options{}, ErrTooLarge},
		"negative segments": {Start{Generation: 1}, Options{SegmentBytes: -1}, nil},
		"huge frames":       {Start{Generation: 1}, Options{FrameBytesMax: FrameBytesLimit + 1}, nil},
		"the library here":  {Start{Generation: 1}, Options{Device: Library}, os.ErrNotExist},
	} {
		if c.options.Device != Library || what != "the library here" {
			c.options.Device = Direct
		}
		c.options.FS = fs
		if _, err := Create("only-in-memory", testID, c.start, c.options); err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCreateNeverWritesToADirectoryThatIsThere(t *testing.T) {
	_, dir := create(t, Options{Device: Direct})
	if _, err := Create(dir, testID, Start{Generation: 1}, Options{Device: Direct}); !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
}

func TestTheLargestPayloadComesBack(t *testing.T) {
	fs := crashfs.New()
	payload := make([]byte, PayloadBytesMax)
	payload[len(payload)-1] = 1
	w, err := Create("g", testID, Start{Generation: 1, Payload: payload}, Options{FS: fs, Device: Direct, FrameBytesMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	result, err := Scan(fs, "g", testID, 1, ScanOptions{FrameBytesMax: 1}, nil)
	if err != nil || !slices.Equal(result.Start.Payload, payload) {
		t.Fatalf("%d bytes, %v", len(result.Start.Payload), err)
	}
}

func TestAClosedWriterRefusesEverything(t *testing.T) {
	for _, device := range devices {
		w, _ := create(t, Options{Device: device})
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Error(err)
		}
		_, appendErr := w.Append(frameOf(1))
		_, syncErr := w.Sync()
		for _, err := range []error{appendErr, syncErr, w.Room(1)} {
			if err != ErrClosed {
				t.Errorf("%v: %v", device, err)
			}
		}
	}
}

// Goal: nothing but the owner can read what is in a log.
func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes here")
	}
	for _, device := range devices {
		w, dir := create(t, Options{Device: device, SegmentBytes: 100})
		mustAppend(t, w, frameOf(100))
		requireMode(t, dir, 0o700)
		for number := uint64(1); number <= 3; number++ {
			requireMode(t, segmentPath(dir, number), 0o600)
		}
	}
}

func requireMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %v, want %v", path, got, want)
	}
}

func TestTheDirectDeviceMakesNoGarbage(t *testing.T) {
	w, _ := create(t, Options{Device: Direct, SegmentBytes: 1 << 30})
	f := frameOf(100)
	mustAppend(t, w, f)
	const frames = 10000
	before := mallocs()
	for range frames {
		f.Reset()
		f.Bytes = append(f.Bytes, "an event"...)
		f.Count++
		if err := w.Room(f.Len()); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, f)
	}
	if n := mallocs() - before; n > frames/100 {
		t.Errorf("%d allocations for %d frames", n, frames)
	}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func TestCloseGivesEveryDescriptorBack(t *testing.T) {
	for _, device := range devices {
		before := descriptors(t)
		for range 10 {
			w, _ := create(t, Options{Device: device, SegmentBytes: 500})
			for range 20 {
				mustAppend(t, w, frameOf(200))
			}
			mustSync(t, w)
			mustAppend(t, w, frameOf(400))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after := descriptors(t); after > before+2 {
			t.Errorf("%v: %d descriptors, before %d", device, after, before)
		}
	}
}

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("cannot count descriptors here: %v", err)
	}
	return len(entries)
}
