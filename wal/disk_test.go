package wal

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

var (
	testID  = ID{Store: [16]byte{0: 0xab, 15: 0xcd}, Layout: 2, Shard: 3}
	devices = []DeviceKind{Library, Direct}
)

const testGeneration = 7

var seedFlag = flag.Uint64("seed", 0, "of the random tests; 0: a new one each time")

// random is a source of chance that a failed test can be repeated with.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with: go test ./wal -run '^%s$' -seed %d", t.Name(), seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// disk is the files of one directory in memory, to be damaged at will.
type disk struct {
	fsys.FS
	files fstest.MapFS
}

func newDisk() *disk { return &disk{files: fstest.MapFS{}} }

func (d *disk) put(number uint64, data []byte) {
	d.files[segmentPath("", number)] = &fstest.MapFile{Data: data, Mode: 0o600}
}

func (d *disk) names() []string { return slices.Sorted(maps.Keys(d.files)) }

// clone copies the directory and not the bytes.
func (d *disk) clone() *disk { return &disk{files: maps.Clone(d.files)} }

func (d *disk) with(name string, data []byte) *disk {
	c := d.clone()
	c.files[name] = &fstest.MapFile{Data: data, Mode: 0o600}
	return c
}

func (d *disk) ReadDir(string) ([]os.DirEntry, error) { return d.files.ReadDir(".") }

func (d *disk) OpenFile(name string, _ int, _ os.FileMode) (fsys.File, error) {
	f, ok := d.files[filepath.Base(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return diskFile{Reader: bytes.NewReader(f.Data)}, nil
}

type diskFile struct {
	fsys.File
	*bytes.Reader
}

func (f diskFile) Size() (int64, error)                          { return f.Reader.Size(), nil }
func (f diskFile) Close() error                                  { return nil }
func (f diskFile) ReadAt(p []byte, off int64) (n int, err error) { return f.Reader.ReadAt(p, off) }

// load reads a generation that a Writer has written.
func load(t testing.TB, from fsys.FS, dir string) *disk {
	t.Helper()
	d := newDisk()
	entries, err := from.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := fsys.ReadFile(from, filepath.Join(dir, e.Name()), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		d.files[e.Name()] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return d
}

// A script is what to write to a log.
type script struct {
	id         ID
	generation uint64
	options    Options
	bodies     []int  // lengths; 0: an empty frame
	synced     []int  // sync behind these frames
	seed       uint64 // of the bodies
	made       [][]byte
}

func smallScript() script {
	return script{
		id: testID, generation: testGeneration, seed: 1,
		options: Options{FS: crashfs.New(), Device: Direct, SegmentBytes: 4 << 10},
		bodies:  []int{100, 900, 0, 1500, 40, 2000, 700, 3000, 1200, 10, 3100, 1000, 300, 0, 250, 180, 700},
		synced:  []int{0, 2, 3, 7, 13}, // the horizon is 13, and 14 to 17 are above it
	}
}

// make makes the bodies.
func (s *script) make() {
	s.made = nil
	r := rand.New(rand.NewPCG(s.seed, 0))
	for _, n := range s.bodies {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		s.made = append(s.made, b)
	}
}

// body is the body of a frame of a script.
func (s *script) body(number int) []byte { return s.made[number-1] }

func (s *script) start() Start {
	return Start{Generation: s.generation, Previous: End{s.generation - 1, 41, 42}, Time: 1000, Payload: []byte("payload")}
}

// write runs the script in dir and closes the log.
func (s *script) write(t testing.TB, dir string) End {
	t.Helper()
	s.make()
	w, err := Create(dir, s.id, s.start(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	var f Frame
	for number := 0; number <= len(s.bodies); number++ {
		if number > 0 {
			s.append(t, w, &f, number)
		}
		if slices.Contains(s.synced, number) {
			if _, err := w.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := w.End()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return end
}

func (s *script) append(t testing.TB, w *Writer, f *Frame, number int) {
	t.Helper()
	s.fill(f, number)
	if err := w.Room(f.Len()); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Append(f); err != nil || n != uint64(number) {
		t.Fatalf("Append: frame %d, %v; want %d", n, err, number)
	}
}

func (s *script) fill(f *Frame, number int) {
	f.Reset()
	f.Bytes = append(f.Bytes, s.body(number)...)
	f.Count = uint32(s.bodies[number-1] / 10)
	f.Time = int64(1000 + number)
}

// disk is what the script leaves on disk.
func (s *script) disk(t testing.TB) (*disk, End) {
	t.Helper()
	dir := "g"
	end := s.write(t, dir)
	return load(t, s.options.FS, dir), end
}

// scan reads a log and makes sure that every frame is one of the script, in order.
func (s *script) scan(from fsys.FS, dir string, o ScanOptions) (ScanResult, error) {
	next := 0
	result, err := Scan(from, dir, s.id, s.generation, o, func(v FrameView) error {
		if err := s.compare(v, next); err != nil {
			return err
		}
		next++
		return nil
	})
	if err == nil && uint64(next) != result.Frames {
		err = fmt.Errorf("%w: %d frames handed out, %d counted", errWrongData, next, result.Frames)
	}
	return result, err
}

var errWrongData = fmt.Errorf("wrong data")

func (s *script) compare(v FrameView, number int) error {
	want := s.start().Payload
	if number > len(s.bodies) {
		return fmt.Errorf("%w: frame %d was never written", errWrongData, v.Number)
	}
	if number > 0 {
		want = s.body(number)
	}
	if v.Number != uint64(number) || !bytes.Equal(v.Body, want) || v.Time != int64(1000+number) || (v.Start != nil) != (number == 0) {
		return fmt.Errorf("%w: frame %d instead of %d, time %d, %d bytes", errWrongData, v.Number, number, v.Time, len(v.Body))
	}
	return nil
}

// A place says where a frame lies.
type place struct {
	file       string
	off, end   int // of the entry
	number     uint64
	last       bool // in the last segment
	headerFrom int
}

// places finds the frames of a log that is whole.
func places(t testing.TB, s *script, d *disk) []place {
	t.Helper()
	var all []place
	names := d.names()
	number := uint64(0)
	for i, name := range names {
		data := d.files[name].Data
		for off := 0; off < len(data); number++ {
			_, prefix, h := readEntry(t, data[off:], s.id.seed(s.generation))
			if h.number != number {
				t.Fatalf("frame %d at the place of %d", h.number, number)
			}
			end := off + prefix + frameBytesMin + int(h.length)
			all = append(all, place{name, off, end, number, i == len(names)-1, off + prefix})
			off = end
		}
	}
	return all
}

func readEntry(t testing.TB, b []byte, seed uint64) (frame []byte, prefix int, h header) {
	t.Helper()
	for prefix = 1; b[prefix-1] >= 0x80; prefix++ {
	}
	h, _, err := readHeader(b[prefix:], seed)
	if err != nil {
		t.Fatal(err)
	}
	return b[prefix:][:frameBytesMin+int(h.length)], prefix, h
}

func horizonOf(t testing.TB, s *script, d *disk) uint64 {
	t.Helper()
	result, err := s.scan(d, "", ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return result.Horizon
}

func requireContains(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}
