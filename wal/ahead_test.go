package wal

import (
	"errors"
	"math"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// sizeOf is the size of a segment.
func sizeOf(t *testing.T, fs *crashfs.FS, dir string, number uint64) int64 {
	t.Helper()
	info, err := fs.Lstat(segmentPath(dir, number))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// growths appends frames and syncs each, and says how many made the segment grow.
func growths(t *testing.T, fs *crashfs.FS, w *Writer, dir string, frames, bytes int) (grew int) {
	t.Helper()
	for range frames {
		if err := w.Room(bytes); err != nil {
			t.Fatal(err)
		}
		before := sizeOf(t, fs, dir, 1)
		mustAppend(t, w, frameOf(bytes))
		if sizeOf(t, fs, dir, 1) != before {
			grew++
		}
		mustSync(t, w)
	}
	return grew
}

func TestASmallFrameIsWrittenOverBytesThatAreThere(t *testing.T) {
	fs := crashfs.New()
	w, dir := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 8 << 20})
	if size := sizeOf(t, fs, dir, 1); size != w.Bytes() {
		t.Errorf("a log without events has %d bytes, of which %d are frames", size, w.Bytes())
	}
	if n := growths(t, fs, w, dir, 3000, 1000); n != 0 {
		t.Errorf("%d of 3000 frames made the file grow", n)
	}
	if ahead := sizeOf(t, fs, dir, 1) - w.Bytes(); ahead > aheadBytes {
		t.Errorf("%d bytes are written ahead", ahead)
	}
}

// Goal: a log of large frames, or one that is seldom synced, is not written twice; and
// when frames become small and are synced, they are written over zeros again.
func TestOnlySmallFramesThatAreSyncedAreWrittenAhead(t *testing.T) {
	fs := crashfs.New()
	w, dir := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 64 << 20})
	if n := growths(t, fs, w, dir, 100, 100<<10); n < 90 {
		t.Errorf("only %d of 100 large frames made the file grow", n)
	}
	for range 3000 {
		if err := w.Room(1000); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, frameOf(1000))
	}
	if size := sizeOf(t, fs, dir, 1); size != w.Bytes() {
		t.Errorf("nothing was synced, and %d bytes are written ahead", size-w.Bytes())
	}
	growths(t, fs, w, dir, aheadBytes/1000+1, 1000)
	if n := growths(t, fs, w, dir, 1000, 1000); n != 0 {
		t.Errorf("%d of 1000 small frames made the file grow", n)
	}
}

// Goal: a lack of room for the zeros is no lack of room for the frame. Method: a file
// system that reserves nothing, on which the zeros do not fit.
func TestWithoutRoomForZerosThereAreNone(t *testing.T) {
	fs := crashfs.New()
	w, dir := create(t, Options{FS: thinFS{fs}, Device: Direct})
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Write {
			return crashfs.ShortWrite(100, crashfs.ErrFull)
		}
		return nil
	})
	err := w.Room(1000)
	fs.SetHook(nil)
	if err != nil || w.Err() != nil {
		t.Fatalf("Room: %v, then %v", err, w.Err())
	}
	mustAppend(t, w, frameOf(10))
	mustSync(t, w)
	if result, err := Scan(fs, dir, testID, testGeneration, ScanOptions{}, nil); err != nil || result.End != w.End() || result.TornBytes != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if err := w.Close(); err != nil || sizeOf(t, fs, dir, 1) != w.Bytes() {
		t.Errorf("%d bytes are left of %d: %v", sizeOf(t, fs, dir, 1), w.Bytes(), err)
	}
}

// Goal: the table of the package comment: what lies behind the last frame is the end,
// a tear or damage.
func TestWhatLiesBehindTheLastFrameIsJudgedByTheTable(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = s.bodies[:2], nil
	d, end := s.disk(t)
	name := d.names()[0]
	zero := make([]byte, 4000)
	frame := func(h header) []byte { b, _ := s.seal(h, []byte("body")); return b }
	vouching := frame(header{number: 9, horizon: end.Frame + 1})
	unknown := headerOf(&s, header{number: 9})
	for what, c := range map[string]struct {
		behind [][]byte
		torn   int
		damage bool
	}{
		"zeros":                                {behind: [][]byte{zero}},
		"noise":                                {behind: [][]byte{{1, 2, 3}}, torn: 3},
		"noise, zeros":                         {behind: [][]byte{{1, 2, 3}, zero}, torn: 3},
		"zeros, noise":                         {behind: [][]byte{zero, {1}, zero}, torn: len(zero) + 1},
		"zeros, a header that vouches":         {behind: [][]byte{zero, vouching}, damage: true},
		"noise, a header that vouches, zeros":  {behind: [][]byte{{1}, vouching, zero}, damage: true},
		"zeros, a header that does not vouch":  {behind: [][]byte{zero, frame(header{number: 9, horizon: end.Frame})}, torn: -1},
		"zeros, the end of a header":           {behind: [][]byte{zero, vouching[20:]}, torn: -1},
		"zeros, a header without its frame":    {behind: [][]byte{zero, unknown}, torn: -1},
		"zeros, one that vouches, another log": {behind: [][]byte{zero, foreignEntry(s, header{number: 9, horizon: math.MaxUint64})}, torn: -1},
	} {
		data := append([]byte(nil), d.files[name].Data...)
		for _, b := range c.behind {
			data = append(data, b...)
		}
		result, err := s.scan(d.with(name, data), "", ScanOptions{})
		switch {
		case c.damage != errors.Is(err, ErrCorrupt):
			t.Errorf("%s: %v", what, err)
		case c.damage:
		case err != nil || result.End != end || c.torn >= 0 && result.TornBytes != int64(c.torn) || c.torn < 0 && result.TornBytes == 0:
			t.Errorf("%s: %+v, %v", what, result, err)
		}
	}
}

// foreignEntry is an entry of the generation before.
func foreignEntry(s script, h header) []byte {
	s.generation--
	b, _ := s.seal(h, []byte("body"))
	return b
}
