package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/internal/fsys"
)

var benchFrames = []int{144, 4 << 10, 64 << 10, 256 << 10}

// benchGenerationBytes is how much goes to one generation: the shard begins a new one
// at every snapshot, and the benchmark must not fill the disk.
const benchGenerationBytes = 512 << 20

// An appender is what the benchmarks compare: a Writer, or its rival.
type appender interface {
	append(b *testing.B)
	sync(b *testing.B)
	close(b *testing.B)
}

type writerBench struct {
	w     *Writer
	frame *Frame
}

func newWriterBench(b *testing.B, dir string, device DeviceKind, bytes int) appender {
	w, err := Create(dir, testID, Start{Generation: 1}, Options{Device: device})
	if err != nil {
		b.Fatal(err)
	}
	return &writerBench{w, frameOf(bytes)}
}

func (a *writerBench) append(b *testing.B) {
	if err := a.w.Room(a.frame.Len()); err != nil {
		b.Fatal(err)
	}
	mustAppend(b, a.w, a.frame)
}

func (a *writerBench) sync(b *testing.B) { mustSync(b, a.w) }

func (a *writerBench) close(b *testing.B) {
	if err := a.w.Close(); err != nil {
		b.Fatal(err)
	}
}

// plainBench is the rival: one file, no frame, no hash, no segments.
type plainBench struct {
	f       fsys.File
	data    []byte
	off     int64
	written int64 // bytes that the file had before; 0: it grows
}

// newPlainBench makes a file that grows, or one in which everything is written over,
// again and again.
func newPlainBench(b *testing.B, path string, bytes int, written int64) appender {
	f, err := fsys.OS().OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil && written > 0 {
		_, err = f.WriteAt(make([]byte, written), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	return &plainBench{f: f, data: make([]byte, bytes), written: written}
}

func (a *plainBench) append(b *testing.B) {
	if a.written > 0 && a.off+int64(len(a.data)) > a.written {
		a.off = 0
	}
	n, err := a.f.WriteAt(a.data, a.off)
	if err != nil {
		b.Fatal(err)
	}
	a.off += int64(n)
}

func (a *plainBench) sync(b *testing.B) {
	if err := a.f.Sync(); err != nil {
		b.Fatal(err)
	}
}

func (a *plainBench) close(b *testing.B) {
	if err := a.f.Close(); err != nil {
		b.Fatal(err)
	}
}

// eachAppender runs a benchmark for each size and device, and for the rivals: a file
// that grows, and one that is written over.
func eachAppender(b *testing.B, run func(b *testing.B, open func(dir string) appender, bytes int)) {
	for _, bytes := range benchFrames {
		for _, device := range devices {
			b.Run(fmt.Sprintf("device=%v/bytes=%d", device, bytes), func(b *testing.B) {
				run(b, func(dir string) appender { return newWriterBench(b, dir, device, bytes) }, bytes)
			})
		}
		for name, written := range map[string]int64{"plain": 0, "over": 16 << 20} {
			b.Run(fmt.Sprintf("device=%s/bytes=%d", name, bytes), func(b *testing.B) {
				run(b, func(dir string) appender { return newPlainBench(b, dir, bytes, written) }, bytes)
			})
		}
	}
}

// appendAll appends b.N times, in generations of bounded size.
func appendAll(b *testing.B, open func(dir string) appender, bytes int, sync bool) {
	base := b.TempDir()
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	perGeneration := benchGenerationBytes / bytes
	var a appender
	for i := 0; b.Loop(); i++ {
		if i%perGeneration == 0 {
			b.StopTimer()
			a = reopen(b, a, open, filepath.Join(base, fmt.Sprint(i)))
			b.StartTimer()
		}
		a.append(b)
		if sync {
			a.sync(b)
		}
	}
	a.close(b)
}

// reopen closes and removes what was written so far and begins anew.
func reopen(b *testing.B, a appender, open func(dir string) appender, dir string) appender {
	if a != nil {
		a.close(b)
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			b.Fatal(err)
		}
		if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	return open(dir)
}

func BenchmarkAppend(b *testing.B) {
	eachAppender(b, func(b *testing.B, open func(string) appender, bytes int) { appendAll(b, open, bytes, false) })
}

func BenchmarkAppendSync(b *testing.B) {
	eachAppender(b, func(b *testing.B, open func(string) appender, bytes int) { appendAll(b, open, bytes, true) })
}

// BenchmarkScan reads from the page cache; the rival only hashes from memory.
func BenchmarkScan(b *testing.B) {
	for _, bytes := range benchFrames {
		b.Run(fmt.Sprintf("from=cache/bytes=%d", bytes), func(b *testing.B) { scanCached(b, bytes) })
		b.Run(fmt.Sprintf("from=hash/bytes=%d", bytes), func(b *testing.B) {
			body := make([]byte, bytes)
			b.SetBytes(int64(bytes))
			for b.Loop() {
				frameHash(body, 1)
			}
		})
	}
}

func scanCached(b *testing.B, bytes int) {
	w, dir := create(b, Options{Device: Direct})
	frame := frameOf(bytes)
	frames := uint64(64<<20/bytes + 1)
	for range frames {
		mustAppend(b, w, frame)
	}
	b.SetBytes(w.Bytes())
	for b.Loop() {
		result, err := Scan(fsys.OS(), dir, testID, testGeneration, ScanOptions{}, nil)
		if err != nil || result.Frames != frames+1 {
			b.Fatalf("%+v, %v", result, err)
		}
	}
}

// BenchmarkRoom is what a shard pays before it applies an event.
func BenchmarkRoom(b *testing.B) {
	w, _ := create(b, Options{Device: Direct})
	for b.Loop() {
		if err := w.Room(256 << 10); err != nil {
			b.Fatal(err)
		}
	}
}
