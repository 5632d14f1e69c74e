package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/crashfs"
)

var update = flag.Bool("update", false, "write the golden dump anew")

func goldenScript() script {
	return script{
		id: testID, generation: testGeneration, seed: 1,
		options: Options{FS: crashfs.New(), Device: Direct, SegmentBytes: 280},
		bodies:  []int{20, 0, 70, 11},
		synced:  []int{0, 1, 3},
	}
}

// The bytes on disk are a promise: a change here needs another Format, a line in the
// CHANGELOG, and a test that reads this dump.
func TestFormatIsThatOfTheGoldenDump(t *testing.T) {
	s := goldenScript()
	d, _ := s.disk(t)
	got := dumpLog(t, &s, d)
	golden := filepath.Join("testdata", "golden", "log.txt")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the format has changed:\n%s", got)
	}
}

// dumpLog prints every byte of a log and what it means.
func dumpLog(t *testing.T, s *script, d *disk) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# store ab..cd, layout 2, shard 3, generation 7, sealing generation 6 at frame 41 with chain 42\n")
	name := ""
	for _, p := range places(t, s, d) {
		if p.file != name {
			name = p.file
			fmt.Fprintf(&out, "\n# segment %s\n", name)
		}
		fmt.Fprintf(&out, "\n# frame %d\n", p.number)
		dumpEntry(t, s, &out, d.files[name].Data[p.off:p.end], p)
	}
	return out.String()
}

func dumpEntry(t *testing.T, s *script, out *strings.Builder, b []byte, p place) {
	_, prefix, h := readEntry(t, b, s.id.seed(s.generation))
	off := p.off
	row := func(n int, name string, value any) {
		fmt.Fprintf(out, "%04d  %-23x  %-11s  %v\n", off, b[:min(n, 16)], name, value)
		for rest := b[min(n, 16):n]; len(rest) > 0; rest = rest[min(16, len(rest)):] {
			fmt.Fprintf(out, "      %x\n", rest[:min(16, len(rest))])
		}
		b, off = b[n:], off+n
	}
	row(prefix, "entry", fmt.Sprint(frameBytesMin+int(h.length), " bytes"))
	row(4, "magic", `"KFwl"`)
	row(2, "format", Format)
	row(2, "reserved", 0)
	row(8, "number", h.number)
	row(8, "time", h.time)
	row(8, "horizon", h.horizon)
	row(8, "chain", fmt.Sprintf("%016x", h.chain))
	row(4, "count", h.count)
	row(4, "length", h.length)
	row(8, "header hash", "xxh3 of the 48 bytes before")
	if p.number == 0 {
		dumpStart(row, len(b)-trailerBytes-startBytes)
	} else if h.length > 0 {
		row(int(h.length), "body", "")
	}
	row(8, "frame hash", "xxh3 of the body, seeded with the header hash")
}

func dumpStart(row func(int, string, any), payload int) {
	row(16, "store", "")
	row(4, "layout", testID.Layout)
	row(4, "shard", testID.Shard)
	row(8, "generation", testGeneration)
	row(8, "previous", 6)
	row(8, "its frame", 41)
	row(8, "its chain", 42)
	row(4, "length", payload)
	row(4, "reserved", 0)
	row(payload, "payload", "")
}

// Goal: the constants in format.go say what the table in the package comment says.
func TestHashesAreThoseOfTheTable(t *testing.T) {
	s := goldenScript()
	d, _ := s.disk(t)
	p := places(t, &s, d)[0]
	frame := d.files[p.file].Data[p.headerFrom:p.end]
	id := append(append([]byte{}, testID.Store[:]...), 2, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0)
	header := xxh3.HashSeed(frame[:48], xxh3.HashSeed(id, seedOfSeeds))
	if got := binary.LittleEndian.Uint64(frame[48:]); got != header {
		t.Errorf("header hash %x, want %x", got, header)
	}
	body := frame[56 : len(frame)-8]
	if got, want := binary.LittleEndian.Uint64(frame[len(frame)-8:]), xxh3.HashSeed(body, header); got != want {
		t.Errorf("frame hash %x, want %x", got, want)
	}
}

// Goal: what a header says is believed only if all of it is whole.
func TestAHeaderWithAnyOtherByteIsNoHeader(t *testing.T) {
	seed := testID.seed(testGeneration)
	var b [headerBytes]byte
	want := header{number: 1, time: -2, horizon: 3, chain: 4, count: 5, length: 6}
	want.put(b[:], seed)
	if h, _, err := readHeader(b[:], seed); err != nil || h != want {
		t.Fatalf("%+v, %v", h, err)
	}
	for i := range b {
		for change := 1; change < 256; change++ {
			b[i] ^= byte(change)
			if _, _, err := readHeader(b[:], seed); err != errMagic && err != errHeaderHash {
				t.Fatalf("byte %d changed by %#x: %v", i, change, err)
			}
			b[i] ^= byte(change)
		}
	}
	if _, _, err := readHeader(b[:], seed+1); err != errHeaderHash {
		t.Errorf("another seed: %v", err)
	}
}

// Goal: a log that a newer program has written is told from a damaged one, and is
// never dropped as a tear.
func TestANewerFormatIsNeitherDamageNorATear(t *testing.T) {
	s := goldenScript()
	d, _ := s.disk(t)
	for _, p := range places(t, &s, d) {
		data := bytes.Clone(d.files[p.file].Data)
		header := data[p.headerFrom:]
		header[offFormat] = 2
		rehash(&s, header)
		_, err := s.scan(d.with(p.file, data), "", ScanOptions{})
		if !errors.Is(err, ErrFormat) || errors.Is(err, ErrCorrupt) {
			t.Errorf("frame %d: %v", p.number, err)
		}
		requireContains(t, err, "format 2", p.file)
	}
}

func TestReservedBytesMustBeZero(t *testing.T) {
	s := goldenScript()
	d, _ := s.disk(t)
	for _, p := range places(t, &s, d) {
		data := bytes.Clone(d.files[p.file].Data)
		data[p.headerFrom+offReserved] = 1
		rehash(&s, data[p.headerFrom:])
		if _, err := s.scan(d.with(p.file, data), "", ScanOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("frame %d: %v", p.number, err)
		}
	}
}

func rehash(s *script, header []byte) {
	binary.LittleEndian.PutUint64(header[offHash:], xxh3.HashSeed(header[:offHash], s.id.seed(s.generation)))
}

// Goal: a header frame that is whole but says something impossible is refused.
// Method: change each field of its body and make the hashes right again.
func TestAHeaderFrameMustSayWhoseItIs(t *testing.T) {
	s := goldenScript()
	s.bodies, s.synced = nil, nil
	d, _ := s.disk(t)
	name := d.names()[0]
	p := places(t, &s, d)[0]
	body := p.headerFrom + headerBytes
	for what, at := range map[string]int{
		"store": offStore, "layout": offLayout, "shard": offShard, "generation": offGeneration,
		"chain": offPreviousChain, "length": offPayloadLength, "reserved": offStartReserved,
	} {
		data := bytes.Clone(d.files[name].Data)
		data[body+at] ^= 1
		header := binary.LittleEndian.Uint64(data[p.headerFrom+offHash:])
		binary.LittleEndian.PutUint64(data[p.end-8:], xxh3.HashSeed(data[body:p.end-8], header))
		if _, err := s.scan(d.with(name, data), "", ScanOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
