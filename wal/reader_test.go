package wal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// readUpTo reads all frames up to a durable one, and checks that they are those that come
// next, and that their bytes are those of the file.
func readUpTo(t *testing.T, fs fsys.FS, r *Reader, next, durable uint64) uint64 {
	t.Helper()
	for {
		f, ok, err := r.Next(durable)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if next != durable+1 {
				t.Fatalf("it ends behind frame %d, and %d are durable", next-1, durable)
			}
			return next
		}
		if f.Number != next || f.Number > 0 && len(f.Body) != int(100*(next%7)) || r.End().Frame != next {
			t.Fatalf("frame %d of %d bytes, the end %+v; want frame %d of %d", f.Number, len(f.Body), r.End(), next, 100*(next%7))
		}
		segment, raw, err := r.Raw()
		if err != nil {
			t.Fatal(err)
		}
		file, err := fsys.ReadFile(fs, segmentPath("g", segment), 1<<20)
		if err != nil || !bytes.Contains(file, raw) || len(raw) == 0 {
			t.Fatalf("%d bytes of frame %d are not in segment %d: %v", len(raw), next, segment, err)
		}
		next++
	}
}

// written makes a log of several segments, and calls each behind every sync.
func written(t *testing.T, fs fsys.FS, each func(durable uint64)) {
	t.Helper()
	w, _ := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 2 << 10})
	for n := uint64(1); n <= 60; n++ {
		if got := mustAppend(t, w, frameOf(int(100*(n%7)))); got != n {
			t.Fatalf("frame %d is number %d", n, got)
		}
		if n%3 == 0 {
			each(mustSync(t, w))
		}
	}
}

// Goal: a reader hands out what is durable, once and in order, while a writer appends
// behind it, writes zeros ahead and begins segments; also when it was closed in between.
func TestAReaderFollowsAWriterUpToWhatIsDurable(t *testing.T) {
	fs := crashfs.New()
	r := NewReader(fs, "g", testID, testGeneration)
	next, syncs := uint64(0), 0
	written(t, fs, func(durable uint64) {
		next = readUpTo(t, fs, r, next, durable)
		if syncs++; syncs%4 == 0 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if next != 61 || r.Bytes() < 60*frameBytesMin {
		t.Errorf("%d frames, %d bytes", next, r.Bytes())
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
}

// Goal: below what is durable a reader judges no tear: a changed byte is damage of that
// frame, and a segment that is gone is not there.
func TestAReaderRefusesWhatIsDamagedBelowTheDurableFrame(t *testing.T) {
	whole := crashfs.New()
	written(t, whole, func(uint64) {})
	entries, err := whole.ReadDir("g")
	if err != nil || len(entries) < 4 {
		t.Fatalf("%d segments, %v", len(entries), err)
	}
	name := "g/" + entries[2].Name()
	data, err := fsys.ReadFile(whole, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += 61 {
		disk := whole.Left(crashfs.Model{Data: crashfs.Kept})
		bad := bytes.Clone(data)
		bad[at] ^= 1
		if err := fsys.ReplaceFile(disk, name, bad); err != nil {
			t.Fatal(err)
		}
		var damage *CorruptError
		if err := readAll(disk); !errors.As(err, &damage) || damage.Path != name || damage.Offset > int64(at) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	disk := whole.Left(crashfs.Model{Data: crashfs.Kept})
	if err := disk.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := readAll(disk); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a segment is gone: %v", err)
	}
}

// readAll reads the log of written to its end.
func readAll(fs fsys.FS) error {
	r := NewReader(fs, "g", testID, testGeneration)
	for {
		_, ok, err := r.Next(60)
		if err != nil || !ok {
			return errors.Join(err, r.Close())
		}
	}
}

// Goal: a reader needs no more than the frame that it reads. Method: the file is cut behind
// it, as a rotation cuts off the zeros written ahead, after the reader has seen its size.
func TestAReaderNeedsOnlyWhatItReadsOfWhatIsReadAhead(t *testing.T) {
	fs := crashfs.New()
	file, err := fs.OpenFile("segment", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("frame"), 20)
	if _, err := file.WriteAt(append(slices.Clone(want), make([]byte, 4000)...), 0); err != nil {
		t.Fatal(err)
	}
	var w window
	if err := w.open(fs, "segment"); err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if b, err := w.at(0, len(want)); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("%q, %v", b, err)
	}
	if b, err := w.at(10, 50); err != nil || !bytes.Equal(b, want[10:60]) {
		t.Fatalf("a part of it: %q, %v", b, err)
	}
	if b, err := w.at(50, 51); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("more than there is: %q, %v", b, err)
	}
}
