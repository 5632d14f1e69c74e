package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// seal makes an entry whose hashes are right, whatever it says.
func (s *script) seal(h header, body []byte) ([]byte, uint64) {
	var f Frame
	f.Reset()
	f.Bytes = append(f.Bytes, body...)
	e, hash := f.finish(h, s.id.seed(s.generation))
	return bytes.Clone(e.bytes), hash
}

// Goal: a frame that is whole, and of this generation, is still no good in another
// place.
// Method: the frame that comes next, with one field changed; and with none, to see
// that the test can tell.
func TestAWholeFrameInTheWrongPlaceIsNotTaken(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = s.bodies[:2], nil
	d, end := s.disk(t)
	name := d.names()[0]
	for what, c := range map[string]struct {
		h     header
		taken bool
	}{
		"right":         {header{number: 3, chain: end.Chain}, true},
		"another chain": {header{number: 3, chain: end.Chain ^ 1}, false},
		"a later one":   {header{number: 4, chain: end.Chain}, false},
		"the same":      {header{number: 2, chain: end.Chain}, false},
	} {
		entry, _ := s.seal(c.h, []byte("body"))
		data := append(bytes.Clone(d.files[name].Data), entry...)
		result, err := Scan(d.with(name, data), "", s.id, s.generation, ScanOptions{}, nil)
		if err != nil || (result.End.Frame == 3) != c.taken || (result.TornBytes == 0) != c.taken {
			t.Errorf("%s: %+v, %v", what, result, err)
		}
	}
}

func TestALengthMustBeWrittenInAsFewBytesAsItTakes(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = s.bodies[:1], nil
	d, end := s.disk(t)
	name := d.names()[0]
	entry, _ := s.seal(header{number: 2, chain: end.Chain}, nil)
	long := append([]byte{entry[0] | 0x80, 0}, entry[1:]...)
	data := append(bytes.Clone(d.files[name].Data), long...)
	result, err := s.scan(d.with(name, data), "", ScanOptions{})
	if err != nil || result.End != end {
		t.Errorf("%+v, %v", result, err)
	}
}

// Goal: the search for a header that vouches misses none where one read ends and the
// next begins.
// Method: a bad frame, and a vouching header at every offset around that place.
func TestAHeaderThatVouchesIsFoundWhereverItLies(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = s.bodies[:1], nil
	d, end := s.disk(t)
	name := d.names()[0]
	bad := bytes.Clone(d.files[name].Data)
	vouching, _ := s.seal(header{number: 9, chain: 1, horizon: end.Frame + 1}, nil)
	for back := -2; back <= headerBytes+2; back++ {
		data := append(bytes.Clone(bad), make([]byte, readBytes-back)...)
		data = append(append(data, vouching...), make([]byte, 100)...)
		if _, err := s.scan(d.with(name, data), "", ScanOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes before the end of a read: %v", back, err)
		}
	}
	vouching, _ = s.seal(header{number: 9, chain: 1, horizon: end.Frame}, nil)
	result, err := s.scan(d.with(name, append(bad, vouching...)), "", ScanOptions{})
	if err != nil || result.End != end {
		t.Errorf("one that vouches for less: %+v, %v", result, err)
	}
}

// Goal: names of segments are part of what is checked: an empty one may lie where the
// next one would, or further on where nothing vouches for what is missing then, and never
// before.
func TestASegmentMustHaveTheNameThatFollows(t *testing.T) {
	s := smallScript()
	d, end := s.disk(t)
	names := d.names()
	next := end.Frame + 2
	for number, fine := range map[uint64]bool{next: true, next + 1: true, next - 1: false} {
		c := d.clone()
		c.put(number, nil)
		if _, err := s.scan(c, "", ScanOptions{}); (err == nil) != fine {
			t.Errorf("an empty segment %d, expected %d: %v", number, next, err)
		}
	}
	renamed := d.clone()
	delete(renamed.files, names[len(names)-1])
	renamed.put(next, d.files[names[len(names)-1]].Data)
	if _, err := s.scan(renamed, "", ScanOptions{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a renamed segment: %v", err)
	}
}

func TestABadHeaderFrameUnderALaterHorizonIsDamageAndNotVoid(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = s.bodies[:3], []int{1}
	d, _ := s.disk(t)
	name := d.names()[0]
	data := bytes.Clone(d.files[name].Data)
	data[places(t, &s, d)[0].headerFrom+offTime] ^= 1
	_, err := s.scan(d.with(name, data), "", ScanOptions{})
	var damage *CorruptError
	if !errors.As(err, &damage) || damage.Sequence != 0 {
		t.Fatal(err)
	}
	requireContains(t, err, name, "offset 0", "frame 0", "durable")
}

func TestTheDirectDeviceTakesNoFileThatIsThere(t *testing.T) {
	fs := crashfs.New()
	w, dir := create(t, Options{FS: fs, Device: Direct, SegmentBytes: 1000})
	f, err := fs.OpenFile(segmentPath(dir, 3), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = w.Append(frameOf(2000))
	if !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	requirePoisoned(t, w, err)
}

func TestAFrameKeepsTheMemoryThatItGrewTo(t *testing.T) {
	w, _ := create(t, Options{FS: crashfs.New(), Device: Direct})
	f := &Frame{Bytes: make([]byte, frameRoom+100)}
	mustAppend(t, w, f)
	if f.Len() != 100 || cap(f.Bytes) < frameRoom+100+trailerBytes {
		t.Errorf("%d bytes of room for a body of %d and its hash", cap(f.Bytes)-frameRoom, f.Len())
	}
	if got := binary.LittleEndian.Uint32(f.Bytes[frameRoom-headerBytes:]); got != magic {
		t.Errorf("the header is not in front of the body: %x", got)
	}
}
