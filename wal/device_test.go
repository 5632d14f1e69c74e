package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	tidwall "github.com/tidwall/wal"

	"github.com/keyfold/keyfold/internal/fsys"
)

func libraryOptions() *tidwall.Options {
	return (&library{segmentBytes: 1000}).options()
}

// Goal: a store may be opened with either device, whichever has written it.
// Method: the golden log and random ones, on both, byte by byte and entry by entry.
func TestBothDevicesWriteTheSameBytes(t *testing.T) {
	scripts := []script{goldenScript(), smallScript()}
	r := random(t)
	for range 20 {
		scripts = append(scripts, randomScript(r))
	}
	for _, s := range scripts {
		s.options.FS = nil
		var logs [2]*disk
		for i, device := range devices {
			s.options.Device = device
			dir := filepath.Join(t.TempDir(), "g")
			s.write(t, dir)
			logs[i] = load(t, fsys.OS(), dir)
			requireReadable(t, &s, logs[i], dir)
		}
		requireSameFiles(t, logs[0], logs[1])
	}
}

func randomScript(r *rand.Rand) script {
	s := script{id: testID, generation: testGeneration, seed: r.Uint64()}
	s.options.SegmentBytes = 1 + r.Int64N(20<<10)
	for range 1 + r.IntN(60) {
		s.bodies = append(s.bodies, r.IntN(1<<r.IntN(13)))
		if r.IntN(5) == 0 {
			s.synced = append(s.synced, len(s.bodies))
		}
	}
	return s
}

func requireSameFiles(t *testing.T, a, b *disk) {
	t.Helper()
	if !slices.Equal(a.names(), b.names()) {
		t.Fatalf("segments %v and %v", a.names(), b.names())
	}
	for _, name := range a.names() {
		if !bytes.Equal(a.files[name].Data, b.files[name].Data) {
			t.Fatalf("segment %s differs", name)
		}
	}
}

// requireReadable reads a log with the library and compares every entry.
func requireReadable(t *testing.T, s *script, d *disk, dir string) {
	t.Helper()
	options := libraryOptions()
	options.SegmentSize = int(s.options.SegmentBytes)
	log, err := tidwall.Open(dir, options)
	if err != nil {
		t.Fatalf("the library cannot open it: %v", err)
	}
	defer log.Close()
	for _, p := range places(t, s, d) {
		entry, err := log.Read(p.number + 1)
		if err != nil || !bytes.Equal(entry, d.files[p.file].Data[p.headerFrom:p.end]) {
			t.Fatalf("frame %d as the library reads it: %v", p.number, err)
		}
	}
	if last, err := log.LastIndex(); err != nil || last != uint64(len(s.bodies)+1) {
		t.Fatalf("last index %d, %v", last, err)
	}
}

func TestAnUnknownDeviceIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "g")
	_, err := Create(dir, testID, Start{Generation: 1}, Options{Device: 9})
	requireContains(t, err, "DeviceKind(9)")
}

func TestAPanicOfTheLibraryIsAnError(t *testing.T) {
	err := guard(func() error { panic("index out of range") })
	requireContains(t, err, "tidwall", "index out of range")
}

// Goal: a link that lies where the library will begin a segment does not lead it to
// another file, which it would empty.
func TestTheLibraryIsNotLedThroughALink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "g")
	w, err := Create(dir, testID, Start{Generation: 1}, Options{Device: Library, SegmentBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, segmentPath(dir, 3)); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	_, err = w.Append(frameOf(2000))
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("Append: %v", err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("the victim holds %q, %v", got, err)
	}
	requirePoisoned(t, w, err)
}

// The tests below pin what github.com/tidwall/wal v1.2.1 does and what this package
// is built on. When one fails after an update, read it before you change it.

func openLibrary(t *testing.T, dir string) *tidwall.Log {
	t.Helper()
	log, err := tidwall.Open(dir, libraryOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func writeLibrary(t *testing.T, log *tidwall.Log, index uint64, bytes int) {
	t.Helper()
	if err := log.Write(index, make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
}

func TestTheLibraryBeginsASegmentInsideTheWriteThatFillsOne(t *testing.T) {
	dir := t.TempDir()
	log := openLibrary(t, dir)
	writeLibrary(t, log, 1, 997) // 999 bytes with its length
	requireSizes(t, dir, 999)
	writeLibrary(t, log, 2, 0)
	requireSizes(t, dir, 1000, 0)
	writeLibrary(t, log, 3, 5000)
	requireSizes(t, dir, 1000, 5002, 0)
	if _, err := os.Stat(segmentPath(dir, 4)); err != nil {
		t.Error(err)
	}
}

func requireSizes(t *testing.T, dir string, sizes ...int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Size())
	}
	if !slices.Equal(got, sizes) {
		t.Fatalf("sizes %v, want %v", got, sizes)
	}
}

func TestTheLibraryTakesZerosForEmptyEntries(t *testing.T) {
	dir := t.TempDir()
	log := openLibrary(t, dir)
	writeLibrary(t, log, 1, 10)
	appendTo(t, segmentPath(dir, 1), make([]byte, 5))
	if last, err := openLibrary(t, dir).LastIndex(); err != nil || last != 6 {
		t.Errorf("last index %d, %v", last, err)
	}
}

func TestTheLibraryHasNoChecksum(t *testing.T) {
	dir := t.TempDir()
	writeLibrary(t, openLibrary(t, dir), 1, 10)
	if err := os.WriteFile(segmentPath(dir, 1), []byte("\x0aXXXXXXXXXX"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := openLibrary(t, dir).Read(1); err != nil || string(got) != "XXXXXXXXXX" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTheLibraryNeverOpensATornLog(t *testing.T) {
	dir := t.TempDir()
	writeLibrary(t, openLibrary(t, dir), 1, 10)
	appendTo(t, segmentPath(dir, 1), []byte{10, 1, 2})
	for range 2 {
		if _, err := tidwall.Open(dir, libraryOptions()); !errors.Is(err, tidwall.ErrCorrupt) {
			t.Errorf("Open: %v", err)
		}
	}
}

func TestTheLibraryForgetsAFailedWrite(t *testing.T) {
	dir := t.TempDir()
	log := openLibrary(t, dir)
	if err := os.Mkdir(segmentPath(dir, 2), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := log.Write(1, make([]byte, 2000)); err == nil {
		t.Fatal("a segment was begun in the place of a directory")
	}
	if err := os.Remove(segmentPath(dir, 2)); err != nil {
		t.Fatal(err)
	}
	if last, err := log.LastIndex(); err != nil || last != 1 {
		t.Errorf("last index %d, %v: the library now remembers failures", last, err)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
