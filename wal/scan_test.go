package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

func TestScanGivesBackWhatWasAppended(t *testing.T) {
	for _, device := range devices {
		t.Run("device="+device.String(), func(t *testing.T) {
			s := smallScript()
			s.options.FS, s.options.Device = nil, device
			dir := t.TempDir() + "/g"
			end := s.write(t, dir)
			d := load(t, fsys.OS(), dir)
			result, err := s.scan(d, "", ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if result.End != end || result.Frames != 18 || result.Horizon != 13 || result.TornBytes != 0 {
				t.Errorf("%+v, want the end %+v", result, end)
			}
			if got := result.Start; got.Generation != s.generation || got.Previous != s.start().Previous || got.Time != 1000 || string(got.Payload) != "payload" {
				t.Errorf("start %+v", got)
			}
			var size int64
			for _, f := range d.files {
				size += int64(len(f.Data))
			}
			if result.Bytes != size || result.Events != sumOfCounts(&s) {
				t.Errorf("%d bytes and %d events, want %d and %d", result.Bytes, result.Events, size, sumOfCounts(&s))
			}
		})
	}
}

func sumOfCounts(s *script) (sum uint64) {
	for _, n := range s.bodies {
		sum += uint64(n / 10)
	}
	return sum
}

// Goal: whatever single bit of a log changes, Scan refuses or drops what was above
// the horizon, and never hands out anything else, whatever lies behind the end.
// Method: all bits of a 16 KiB log, without a seal and with one; and some of them again
// with what may lie behind the last frame.
func TestNoFlippedBitIsEverTakenForData(t *testing.T) {
	s := smallScript()
	whole, end := s.disk(t)
	horizon := horizonOf(t, &s, whole)
	all := places(t, &s, whole)
	last := all[len(all)-1].file
	for what, behind := range behinds(t) {
		step := 1
		if testing.Short() || behind != nil {
			step = 13
		}
		d := whole.with(last, append(bytes.Clone(whole.files[last].Data), behind...))
		for _, seal := range []*End{nil, &end} {
			t.Run(fmt.Sprintf("%s/sealed=%t", what, seal != nil), func(t *testing.T) {
				forEachPlace(t, all, func(p place) error { return flipBits(&s, d, p, step, horizon, seal) })
			})
		}
	}
}

// behinds are what may lie behind the last frame of a log: bytes that the file had
// before, and zeros.
func behinds(t *testing.T) map[string][]byte {
	all := map[string][]byte{"nothing": nil, "zeros": make([]byte, 500)}
	for what, other := range foreignScripts() {
		d, _ := other.disk(t)
		for _, name := range d.names() {
			all[what] = append(all[what], d.files[name].Data...)
		}
		all[what] = all[what][len(all[what])-1000:]
	}
	return all
}

// forEachPlace runs check for all places on all CPUs.
func forEachPlace(t *testing.T, all []place, check func(place) error) {
	t.Helper()
	var group sync.WaitGroup
	for _, p := range all {
		group.Go(func() {
			if err := check(p); err != nil {
				t.Errorf("frame %d in %s: %v", p.number, p.file, err)
			}
		})
	}
	group.Wait()
}

func flipBits(s *script, d *disk, p place, step int, horizon uint64, seal *End) error {
	data := bytes.Clone(d.files[p.file].Data)
	damaged := d.with(p.file, data)
	for bit := p.off * 8; bit < p.end*8; bit += step {
		data[bit/8] ^= 1 << (bit % 8)
		result, err := s.scan(damaged, "", ScanOptions{Seal: seal})
		data[bit/8] ^= 1 << (bit % 8)
		if err := judged(p, horizon, seal, result, err); err != nil {
			return fmt.Errorf("bit %d at offset %d: %w", bit%8, bit/8, err)
		}
		if err == nil && result.TornBytes == 0 {
			return fmt.Errorf("bit %d at offset %d: the tear was not counted", bit%8, bit/8)
		}
	}
	return nil
}

// judged checks what Scan says about a log whose frame p is bad.
func judged(p place, horizon uint64, seal *End, result ScanResult, err error) error {
	torn := seal == nil && p.last && p.number > horizon
	var damage *CorruptError
	switch {
	case torn && err != nil:
		return fmt.Errorf("refused above the horizon: %w", err)
	case torn && result.End.Frame != p.number-1:
		return fmt.Errorf("kept up to frame %d", result.End.Frame)
	case !torn && !errors.As(err, &damage):
		return fmt.Errorf("not refused as damage: %w", err)
	case !torn && (damage.Sequence != p.number || damage.Offset != int64(p.off) && damage.Offset != int64(p.headerFrom)):
		return fmt.Errorf("refused for frame %d at offset %d, want offset %d", damage.Sequence, damage.Offset, p.off)
	}
	return nil
}

// Goal: a log that ends anywhere in its last segment gives the frames before.
// Method: cut, and zero, from every byte of the last segment on.
func TestATailCutOrZeroedAnywhereLosesOnlyItsFrames(t *testing.T) {
	s := smallScript()
	d, end := s.disk(t)
	all := places(t, &s, d)
	name := all[len(all)-1].file
	whole := d.files[name].Data
	for at := range whole {
		zeroed := append(bytes.Clone(whole[:at]), make([]byte, len(whole)-at)...)
		for what, data := range map[string][]byte{"cut": whole[:at], "zeroed": zeroed} {
			checkTail(t, &s, d.with(name, data), all, name, at, what)
			if _, err := s.scan(d.with(name, data), "", ScanOptions{Seal: &end}); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("sealed and %s at %d: %v", what, at, err)
			}
		}
	}
}

func checkTail(t *testing.T, s *script, d *disk, all []place, name string, at int, what string) {
	t.Helper()
	kept, torn := uint64(0), len(bytes.TrimRight(d.files[name].Data, "\x00"))
	for _, p := range all {
		if p.file != name || p.end <= at {
			kept = p.number
		}
	}
	if last := all[kept]; last.file == name {
		torn = max(0, torn-last.end)
	}
	result, err := s.scan(d, "", ScanOptions{})
	if err != nil {
		t.Fatalf("%s at %d: %v", what, at, err)
	}
	if result.End.Frame != kept || result.TornBytes != int64(torn) {
		t.Fatalf("%s at %d: frame %d and %d torn bytes, want %d and %d", what, at, result.End.Frame, result.TornBytes, kept, torn)
	}
}

func TestZerosBehindTheEndAreNoTear(t *testing.T) {
	s := smallScript()
	d, end := s.disk(t)
	name := d.names()[len(d.files)-1]
	for _, n := range []int{1, 2, 55, 56, 64, 100, 4096, 70000} {
		data := append(bytes.Clone(d.files[name].Data), make([]byte, n)...)
		result, err := s.scan(d.with(name, data), "", ScanOptions{})
		if err != nil || result.End != end || result.TornBytes != 0 || result.TornFrames != 0 {
			t.Errorf("%d zeros: %+v, %v", n, result, err)
		}
		result, err = s.scan(d.with(name, data), "", ScanOptions{Seal: &end})
		if err != nil || result.End != end || result.TornBytes != 0 || result.SurplusBytes != int64(n) {
			t.Errorf("%d zeros behind the seal: %+v, %v", n, result, err)
		}
	}
}

// Goal: a sealed generation ends at its seal, and nowhere else.
func TestASealedGenerationEndsExactlyAtItsSeal(t *testing.T) {
	s := smallScript()
	d, _ := s.disk(t)
	result, err := s.scan(d, "", ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ends := endsOf(t, &s, d)
	for _, seal := range ends {
		got, err := s.scan(d, "", ScanOptions{Seal: &seal})
		if err != nil || got.End != seal || got.Bytes+got.SurplusBytes != result.Bytes {
			t.Errorf("sealed at frame %d: %+v, %v", seal.Frame, got, err)
		}
		seal.Chain ^= 1
		if _, err := s.scan(d, "", ScanOptions{Seal: &seal}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("sealed at another frame %d: %v", seal.Frame, err)
		}
	}
	beyond := End{s.generation, result.End.Frame + 1, 1}
	_, err = s.scan(d, "", ScanOptions{Seal: &beyond})
	requireContains(t, err, "ends here", "sealed at frame 18")
	last := d.names()[len(d.files)-1]
	var damage *CorruptError
	if !errors.As(err, &damage) || damage.Path != last || damage.Offset != int64(len(d.files[last].Data)) || damage.Sequence != 18 {
		t.Errorf("it does not say that %s ends too early: %+v", last, damage)
	}
}

func endsOf(t testing.TB, s *script, d *disk) (ends []End) {
	t.Helper()
	_, err := Scan(d, "", s.id, s.generation, ScanOptions{}, func(v FrameView) error {
		ends = append(ends, End{s.generation, v.Number, v.Chain})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ends
}

func TestSurplusBehindTheSealIsNotRead(t *testing.T) {
	s := smallScript()
	d, _ := s.disk(t)
	names := d.names()
	seal := endsOf(t, &s, d)[1]
	garbage := d.with(names[len(names)-1], []byte("garbage"))
	result, err := s.scan(garbage, "", ScanOptions{Seal: &seal})
	if err != nil || result.End != seal || result.SurplusBytes == 0 {
		t.Fatalf("%+v, %v", result, err)
	}
}

// Goal: segments that are dropped, swapped or duplicated are noticed, unless they
// are the end of a log that nothing vouches for.
func TestDroppedSwappedAndDuplicatedSegmentsAreNoticed(t *testing.T) {
	s := smallScript()
	d, end := s.disk(t)
	names := d.names()
	if len(names) < 4 {
		t.Fatalf("only %d segments", len(names))
	}
	for i, a := range names {
		dropped := d.clone()
		delete(dropped.files, a)
		expectRefused(t, &s, dropped, "without "+a, end, i == len(names)-1)
		for _, b := range names[:i] {
			swapped := d.with(a, d.files[b].Data)
			swapped.files[b] = d.files[a]
			expectRefused(t, &s, swapped, a+" and "+b+" swapped", end, false)
			expectRefused(t, &s, d.with(a, d.files[b].Data), b+" again as "+a, end, i == len(names)-1)
			expectRefused(t, &s, d.with(b, d.files[a].Data), a+" again as "+b, end, false)
		}
	}
}

// expectRefused expects damage; without a seal, tailOnly allows a shorter log.
func expectRefused(t *testing.T, s *script, d *disk, what string, end End, tailOnly bool) {
	t.Helper()
	if _, err := s.scan(d, "", ScanOptions{Seal: &end}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("sealed, %s: %v", what, err)
	}
	_, err := s.scan(d, "", ScanOptions{})
	if errors.Is(err, ErrCorrupt) || tailOnly && err == nil {
		return
	}
	t.Errorf("%s: %v", what, err)
}

func TestASegmentOfAnotherLogIsRefused(t *testing.T) {
	s := smallScript()
	d, end := s.disk(t)
	names := d.names()
	for what, other := range foreignScripts() {
		foreign, _ := other.disk(t)
		for i, name := range names {
			expectRefused(t, &s, d.with(name, foreign.files[name].Data), what+" in "+name, end, i == len(names)-1)
		}
		_, err := s.scan(foreign, "", ScanOptions{})
		if !errors.Is(err, ErrForeign) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("a whole log of %s: %v", what, err)
		}
	}
}

func foreignScripts() map[string]script {
	all := map[string]script{}
	for what, change := range map[string]func(*script){
		"another store":      func(s *script) { s.id.Store[7] = 1 },
		"another layout":     func(s *script) { s.id.Layout++ },
		"another shard":      func(s *script) { s.id.Shard++ },
		"another generation": func(s *script) { s.generation++ },
	} {
		s := smallScript()
		change(&s)
		all[what] = s
	}
	return all
}

// Goal: what a file held before it was used again is never taken for a frame, and
// its horizons vouch for nothing.
// Method: the frames of the generation before, with the numbers that come next and
// the highest horizons, behind the end.
func TestAFormerLifeOfAFileIsNeverReadAndNeverVouches(t *testing.T) {
	former := smallScript()
	former.generation--
	old, _ := former.disk(t)
	s := smallScript()
	s.bodies, s.synced = s.bodies[:2], nil
	d, end := s.disk(t)
	name := d.names()[0]
	for _, p := range places(t, &former, old) {
		data := append(bytes.Clone(d.files[name].Data), old.files[p.file].Data[p.off:]...)
		result, err := s.scan(d.with(name, data), "", ScanOptions{})
		if err != nil || result.End != end || result.TornFrames != 0 {
			t.Fatalf("frame %d of the former life: %+v, %v", p.number, result, err)
		}
	}
}

func TestAHoleIsDamageBelowTheHorizonAndATearAboveIt(t *testing.T) {
	s := smallScript()
	d, _ := s.disk(t)
	horizon := horizonOf(t, &s, d)
	for _, p := range places(t, &s, d) {
		data := bytes.Clone(d.files[p.file].Data)
		clear(data[p.off:p.end])
		result, err := s.scan(d.with(p.file, data), "", ScanOptions{})
		if err := judged(p, horizon, nil, result, err); err != nil {
			t.Errorf("frame %d: %v", p.number, err)
		}
	}
}

func TestOnlySegmentsMayLieInTheDirectory(t *testing.T) {
	s := smallScript()
	d, _ := s.disk(t)
	last := d.names()[len(d.files)-1]
	link := d.clone()
	link.files[last] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777}
	dir := d.clone()
	dir.files["00000000000000000099"] = &fstest.MapFile{Mode: fs.ModeDir | 0o700}
	cases := map[string]*disk{"a link": link, "a directory": dir}
	for _, name := range []string{"x", "LOCK", "1", last + ".START", last + ".END", last + ".TEMP",
		"+0000000000000000001", "00000000000000000000", "-0000000000000000001", "99999999999999999999"} {
		cases[name] = d.with(name, nil)
	}
	for what, d := range cases {
		_, err := s.scan(d, "", ScanOptions{})
		if !errors.Is(err, ErrStray) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Goal: a generation that never became durable is void, and not damage.
func TestAGenerationWithoutAHeaderFrameIsVoid(t *testing.T) {
	s := smallScript()
	s.bodies, s.synced = []int{100, 100}, nil
	d, end := s.disk(t)
	name := d.names()[0]
	first := places(t, &s, d)[0]
	for at := range first.end {
		result, err := s.scan(d.with(name, d.files[name].Data[:at]), "", ScanOptions{})
		torn := len(bytes.TrimRight(d.files[name].Data[:at], "\x00"))
		if err != nil || !result.Void || result.TornBytes != int64(torn) {
			t.Fatalf("cut at %d: %+v, %v", at, result, err)
		}
	}
	lost := bytes.Clone(d.files[name].Data)
	clear(lost[:first.end])
	if result, err := s.scan(d.with(name, lost), "", ScanOptions{}); err != nil || !result.Void || result.TornFrames != 2 {
		t.Errorf("header lost: %+v, %v", result, err)
	}
	if result, err := s.scan(newDisk(), "", ScanOptions{}); err != nil || !result.Void {
		t.Errorf("no segment: %+v, %v", result, err)
	}
	if _, err := s.scan(newDisk(), "", ScanOptions{Seal: &end}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no segment, but a seal: %v", err)
	}
}

func TestScanOfNoDirectoryIsErrNotExist(t *testing.T) {
	s := smallScript()
	if _, err := s.scan(crashfs.New(), "nowhere", ScanOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// Goal: no memory is taken for a length that the file cannot have, or that is above
// the limit.
func TestLengthsAreCheckedBeforeMemoryIsTaken(t *testing.T) {
	s := smallScript()
	s.bodies = s.bodies[:1]
	d, end := s.disk(t)
	name := d.names()[0]
	h := header{number: 2, chain: end.Chain, length: FrameBytesLimit}
	lying := append(bytes.Clone(d.files[name].Data), headerOf(&s, h)...)
	before := allocated()
	result, err := s.scan(d.with(name, lying), "", ScanOptions{})
	if err != nil || result.End != end || result.TornFrames != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := s.scan(d.with(name, lying), "", ScanOptions{FrameBytesMax: 1 << 20}); !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrCorrupt) {
		t.Errorf("above the limit of the options: %v", err)
	}
	if n := allocated() - before; n > 1<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// headerOf is an entry that ends behind its header.
func headerOf(s *script, h header) []byte {
	var f Frame
	f.Reset()
	length := uint64(frameBytesMin) + uint64(h.length)
	b := []byte{}
	for ; length >= 0x80; length >>= 7 {
		b = append(b, byte(length)|0x80)
	}
	b = append(b, byte(length))
	var raw [headerBytes]byte
	h.put(raw[:], s.id.seed(s.generation))
	return append(b, raw[:]...)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestScanTakesMemoryForOneFrameWhateverTheSizeOfTheLog(t *testing.T) {
	s := smallScript()
	s.options.SegmentBytes = 64 << 20
	s.bodies = slices.Repeat([]int{60 << 10}, 300)
	s.synced = []int{300}
	d, _ := s.disk(t)
	before := allocated()
	if _, err := Scan(d, "", s.id, s.generation, ScanOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if n := allocated() - before; n > readBytes+64<<10 {
		t.Errorf("%d bytes for a log of %d", n, len(d.files[d.names()[0]].Data))
	}
}

func TestScanReturnsTheErrorOfItsCallback(t *testing.T) {
	s := smallScript()
	d, _ := s.disk(t)
	mine := errors.New("mine")
	_, err := Scan(d, "", s.id, s.generation, ScanOptions{}, func(v FrameView) error {
		if v.Number == 3 {
			return mine
		}
		return nil
	})
	if err != mine {
		t.Fatal(err)
	}
}
