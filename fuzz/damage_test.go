package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// copyOf copies a disk as it is.
func copyOf(disk *crashfs.FS) *crashfs.FS { return disk.Crash(crashfs.Model{Data: crashfs.Kept}) }

// A specimen is a store that is not open, to be damaged again and again. Copies are
// made of its disk, which ends it; view is one to look at.
type specimen struct {
	*rig
	view     *crashfs.FS
	sealed   bool // it was closed
	segments []string
	bytes    [][]byte
	frames   []frame
	tries    int
}

// logged makes a store with one shard whose log has several segments and no snapshot,
// an event to a frame.
func logged(t *testing.T, random *rand.Rand, events int, sealed bool) *specimen {
	t.Helper()
	o := small()
	o.Shards, o.Partitions, o.SnapshotBytes = 1, 2, 1<<30
	s := &specimen{rig: newRig(o, hashes["full"]), sealed: sealed}
	must(t, s.open())
	for range events {
		must(t, s.do(randomEvent(random), step{Filler: filler(random.IntN(200), random.Uint64())}, engine.Durable))
	}
	if sealed {
		s.hurry()
	} else {
		must(t, s.crash(crashfs.Model{}))
	}
	s.view = copyOf(s.disk)
	s.segments = matching(s.view, "/log/")
	for _, name := range s.segments {
		s.bytes = append(s.bytes, contents(s.view, name))
	}
	s.frames = frames(s.bytes)
	return s
}

// hurry closes the store without time for a snapshot.
func (r *rig) hurry() {
	ctx, cancel := patiently()
	cancel()
	_ = r.engine.Shutdown(ctx) // the error of ctx
	r.engine = nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect says what must become of the log when bytes from..to of a segment are
// damaged: it is refused, or it is a tear and so many events are left.
func (s *specimen) expect(segment, from, to int) (refused bool, events int) {
	touched := func(f frame) bool { return f.segment == segment && f.start < to && f.end > from }
	first := slices.IndexFunc(s.frames, touched)
	if first < 0 {
		return false, s.frames[len(s.frames)-1].events
	}
	if first == 0 || s.sealed || segment < len(s.segments)-2 {
		return true, 0
	}
	for _, f := range s.frames {
		if !touched(f) && f.horizon >= uint64(first) {
			return true, 0
		}
	}
	return false, s.frames[first-1].events
}

// suffer damages a copy of the store and checks that what must happen does. Only some of
// so many copies are looked at by Verify, too.
func (s *specimen) suffer(segment, from, to int, how func([]byte) []byte) error {
	disk := copyOf(s.disk)
	change(disk, s.segments[segment], how)
	refused, events := s.expect(segment, from, to)
	try := s.tryOpening
	if s.tries++; s.tries%9 == 0 {
		try = s.try
	}
	v, err := try(disk, func(*line) int { return 0 })
	switch {
	case err != nil:
		return err
	case refused != (v.refused != nil):
		return violated("refused: %v, and must be %v", v.refused, refused)
	case refused:
		return s.judgePlace(v.refused, segment, from, to)
	case total(v.lengths) != events:
		return violated("it holds %d events and must hold %d", total(v.lengths), events)
	}
	return nil
}

// judgePlace wants the refusal of a damaged log to say where: the file, the offset of
// the first frame that the damage is in, and its number. A segment that ends too early
// may have been found by the one behind it.
func (s *specimen) judgePlace(refused error, segment, from, to int) error {
	i := slices.IndexFunc(s.frames, func(f frame) bool { return f.segment == segment && f.start < to && f.end > from })
	f := s.frames[i]
	var corrupt *engine.CorruptError
	if !errors.As(refused, &corrupt) {
		return violated("refused, but not as damaged: %w", refused)
	}
	here := corrupt.Path == s.segments[segment] && corrupt.Offset == int64(f.start)
	behind := from <= f.start && segment+1 < len(s.segments) && corrupt.Path == s.segments[segment+1] && corrupt.Offset == 0
	if !here && !behind || corrupt.Sequence != uint64(i) {
		return violated("frame %d at %s, offset %d, is damaged, and the error names another place: %w", i, s.segments[segment], f.start, refused)
	}
	return nil
}

// Goal: a damaged log is never read as another one. What was vouched for is refused, with
// the place, and what looks like a tear costs only itself.
// Method: a sample of the bits of a log of several segments, each time others, and fewer
// of one that was sealed; with more rounds every bit. Package wal tries every bit of a log
// without an engine.
func TestAFlippedBitOfALogIsRefusedOrATear(t *testing.T) {
	t.Parallel()
	row := tries(t, "R9", "each bit of a log of 16 KiB flipped, and Open", "every bit: refused with file, offset and frame, or a tear that costs only itself; 0 wrong states")
	random := random(t)
	for _, sealed := range []bool{false, true} {
		s := logged(t, random, 95, sealed)
		bits := 0
		for _, b := range s.bytes {
			bits += 8 * len(b)
		}
		if len(s.segments) < 3 || bits < 8*16<<10 {
			t.Errorf("the log is too small: %d bits in %d segments", bits, len(s.segments))
		}
		step := stride(bits, 6000)
		if sealed {
			step *= 3
		}
		for i, b := range s.bytes {
			for bit := random.IntN(step); bit < 8*len(b); bit += step {
				if err := s.suffer(i, bit/8, bit/8+1, func(b []byte) []byte { b[bit/8] ^= 1 << (bit % 8); return b }); err != nil {
					t.Fatalf("sealed %v, %s, bit %d of byte %d: %v", sealed, s.segments[i], bit%8, bit/8, err)
				}
				row.Cycles++
			}
		}
	}
}

// Goal: a segment may end too early anywhere: the last one is whole up to there, unless
// it was sealed, and so is the one before if nothing behind it vouches for the rest. Any
// other one is refused.
func TestACutOfTheLastSegmentLeavesWhatIsBeforeIt(t *testing.T) {
	t.Parallel()
	row := tries(t, "R9", "each segment of a log of 16 KiB cut at each byte, and Open", "every byte: refused with file, offset and frame, or a tear that costs only itself; 0 wrong states")
	random := random(t)
	for _, sealed := range []bool{false, true} {
		s := logged(t, random, 95, sealed)
		for i, b := range s.bytes {
			step := stride(len(b), len(b)/31)
			if i == len(s.bytes)-1 {
				step = stride(len(b), len(b)/5)
			}
			for cut := random.IntN(step); cut < len(b); cut += step {
				if err := s.suffer(i, cut, len(b), func(b []byte) []byte { return b[:cut] }); err != nil {
					t.Fatalf("sealed %v, %s, cut at %d of %d: %v", sealed, s.segments[i], cut, len(b), err)
				}
				row.Cycles++
			}
		}
	}
}

// A disk may lose whole sectors and pages.
func TestAHoleInALogIsRefusedOrATear(t *testing.T) {
	t.Parallel()
	row := tries(t, "R9", "each hole of 512 and 4,096 bytes in a log of 16 KiB, and Open", "every hole: refused with file, offset and frame, or a tear that costs only itself; 0 wrong states")
	random := random(t)
	for _, sealed := range []bool{false, true} {
		s := logged(t, random, 130, sealed)
		for _, size := range []int{512, 4096} {
			for i, b := range s.bytes {
				for from := 0; from < len(b); from += size {
					to := min(len(b), from+size)
					if err := s.suffer(i, from, to, func(b []byte) []byte { clear(b[from:to]); return b }); err != nil {
						t.Fatalf("sealed %v, %s, %d to %d: %v", sealed, s.segments[i], from, to, err)
					}
					row.Cycles++
				}
			}
		}
	}
}

// Goal: segments that are missing, exchanged, there twice or from another store are never
// read as what should be there. Only the end of a log that nobody has sealed may be gone.
func TestASegmentThatIsMissingOrWrongIsRefused(t *testing.T) {
	t.Parallel()
	row := tries(t, "R9", "segments of a log missing, exchanged, there twice, of another store, and Open", "refused with file and frame; the last one of a log that was not closed may look like a tear; 0 wrong states")
	random := random(t)
	for _, sealed := range []bool{false, true} {
		s, other := logged(t, random, 130, sealed), logged(t, random, 130, sealed)
		for i, a := range s.segments {
			must(t, s.lack(row, i, func(d *crashfs.FS) { must(t, d.Remove(a)) }))
			must(t, s.lack(row, i, func(d *crashfs.FS) { replace(d, a, other.bytes[min(i, len(other.bytes)-1)]) }))
			for j, b := range s.segments[:i] {
				must(t, s.lack(row, j, func(d *crashfs.FS) { replace(d, a, s.bytes[j]); replace(d, b, s.bytes[i]) }))
				must(t, s.lack(row, i, func(d *crashfs.FS) { replace(d, a, s.bytes[j]) }))
				must(t, s.lack(row, j, func(d *crashfs.FS) { replace(d, b, s.bytes[i]) }))
			}
		}
	}
}

// lack does something to whole segments, to that of the given index first: the store is
// refused, unless no frame lies in a later one, and that one was not sealed or had been
// begun only. Then it holds what the segments before do.
func (s *specimen) lack(row *row, first int, how func(*crashfs.FS)) error {
	row.Cycles++
	disk := copyOf(s.disk)
	how(disk)
	v, err := s.try(disk, func(*line) int { return 0 })
	if err != nil {
		return err
	}
	if v.refused == nil {
		left, needed := 0, false // whether there is a frame from that segment on
		for _, f := range s.frames {
			if f.segment < first {
				left = f.events
			} else {
				needed = true
			}
		}
		if last := s.frames[len(s.frames)-1].segment; first < last || s.sealed && needed || total(v.lengths) != left {
			return violated("sealed %v: it opened with %d events, and %d are in the segments before", s.sealed, total(v.lengths), left)
		}
		return nil
	}
	var corrupt *engine.CorruptError
	if errors.As(v.refused, &corrupt) && !strings.Contains(corrupt.Path, "/log/") {
		return violated("the error does not name the log: %w", v.refused)
	}
	return nil
}

// aged makes a store with two shards, two snapshots each and events behind them, and
// two generations at least; it was closed, so that the end of the log is known.
func aged(t *testing.T, random *rand.Rand) *specimen {
	t.Helper()
	o := small()
	o.SnapshotBytes = 1 << 30
	r := newRig(o, hashes["full"])
	must(t, r.open())
	for range 3 {
		must(t, r.load(random, 60, engine.Durable))
		must(t, snapshot(r))
	}
	must(t, r.load(random, 30, engine.Durable))
	r.hurry()
	return &specimen{rig: r, view: copyOf(r.disk)}
}

// Goal: the files that everything hangs on are never believed when they are damaged.
// Method: every byte of them with one bit flipped, and cut off at every byte.
func TestADamagedManifestOrCurrentIsRefused(t *testing.T) {
	t.Parallel()
	row := tries(t, "R10", "each byte of the manifest and of CURRENT flipped, and cut there, and Open", "every byte refused, with file and offset, 0 files changed")
	random := random(t)
	r := aged(t, random)
	for _, name := range append(currents(r.view), "/store/MANIFEST") {
		whole := contents(r.view, name)
		for i := range whole {
			for what, damaged := range map[string][]byte{"flipped": flipped(whole, i, random), "cut": whole[:i]} {
				disk := copyOf(r.disk)
				replace(disk, name, damaged)
				v, err := r.try(disk, safe)
				if err != nil || v.refused == nil {
					t.Fatalf("%s %s at %d was not refused: %v", name, what, i, err)
				}
				var corrupt *engine.CorruptError
				if !errors.As(v.refused, &corrupt) || corrupt.Path != name {
					t.Fatalf("%s %s at %d: the error names another file: %v", name, what, i, v.refused)
				}
				row.Cycles++
			}
		}
	}
}

func flipped(b []byte, at int, random *rand.Rand) []byte {
	b = slices.Clone(b)
	b[at] ^= 1 << random.IntN(8)
	return b
}

// Goal: a damaged snapshot costs time and not events: the one before it and the log
// give the same state, with a warning; if both are damaged, the store is refused.
// Method: a sample of the bytes; package snapshot tries all of them in its own tests.
func TestADamagedSnapshotFallsBackToTheOneBefore(t *testing.T) {
	t.Parallel()
	random := random(t)
	r := aged(t, random)
	snapshots := matching(r.view, "shard-000/snapshot/")
	if len(snapshots) != 2 {
		t.Fatalf("there are %v", snapshots)
	}
	for i := range 120 * *rounds {
		disk := copyOf(r.disk)
		damage := func(b []byte) []byte { return flipped(b, random.IntN(len(b)), random) }
		if i%3 == 0 {
			damage = func(b []byte) []byte { return b[:random.IntN(len(b))] }
		}
		change(disk, snapshots[1], damage)
		v, err := r.try(disk, safe)
		if err != nil || v.refused != nil || len(v.warnings) != 1 {
			t.Fatalf("the newest snapshot damaged: refused %v, warnings %q: %v", v.refused, v.warnings, err)
		}
		disk = copyOf(r.disk)
		change(disk, snapshots[0], damage)
		change(disk, snapshots[1], damage)
		if v, err = r.try(disk, safe); err != nil || v.refused == nil {
			t.Fatalf("both snapshots damaged, and not refused: %v", err)
		}
	}
}

// Goal: files that are missing, exchanged, from elsewhere or of another kind are never
// taken for what should be there.
// Method: each file of a store in turn, with each of these.
func TestAFileInTheWrongPlaceIsNeverBelieved(t *testing.T) {
	t.Parallel()
	row := tries(t, "R11", "each file of a store missing, empty, a directory, of another store, or replaced by each other file", "refused as damaged with 0 files changed, or left out with a warning; 0 wrong states")
	random := random(t)
	r, other := aged(t, random), aged(t, random)
	names := matching(r.view)
	for _, name := range names {
		if path.Base(name) == "LOCK" {
			continue
		}
		for what, wrong := range wrongs(r.view, other.view, name, names) {
			disk := copyOf(r.disk)
			if !wrong(disk) {
				continue
			}
			row.Cycles++
			v, err := r.try(disk, safe)
			if err != nil {
				t.Errorf("%s: %s: %v", name, what, err)
			}
			if v.refused == nil && len(v.warnings) == 0 && !unread(r, name) {
				t.Errorf("%s: %s: opened without a warning", name, what)
			}
		}
	}
}

// unread says that recovery need not look at the file: the older snapshot, the log that
// only it needs, and an empty segment behind the seal.
func unread(r *specimen, name string) bool {
	if len(contents(r.view, name)) == 0 {
		return true
	}
	shard, of, ok := strings.Cut(strings.TrimPrefix(name, "/store/layout-0001/"), "/")
	if !ok {
		return false
	}
	snapshots := matching(r.view, shard, "/snapshot/")
	newest := strings.TrimSuffix(path.Base(snapshots[len(snapshots)-1]), ".snap")
	number := strings.TrimSuffix(strings.Split(of+"/", "/")[1], ".snap")
	return len(number) == len(newest) && number < newest
}

// wrongs are the ways in which a file may be wrong. They return false if there is
// nothing to do.
func wrongs(disk, other *crashfs.FS, name string, names []string) map[string]func(*crashfs.FS) bool {
	all := map[string]func(*crashfs.FS) bool{
		"missing": func(d *crashfs.FS) bool { return d.Remove(name) == nil },
		"empty":   func(d *crashfs.FS) bool { replace(d, name, nil); return len(contents(disk, name)) > 0 },
		"a directory": func(d *crashfs.FS) bool {
			return d.Remove(name) == nil && d.Mkdir(name, 0o700) == nil
		},
		"of another store": func(d *crashfs.FS) bool {
			if !slices.Contains(matching(other), name) || len(contents(disk, name)) == 0 {
				return false
			}
			replace(d, name, contents(other, name))
			return true
		},
	}
	for _, from := range names {
		if from == name || path.Base(from) == "LOCK" || slices.Equal(contents(disk, from), contents(disk, name)) {
			continue
		}
		all[fmt.Sprintf("replaced by %s", from)] = func(d *crashfs.FS) bool {
			replace(d, name, contents(disk, from))
			return true
		}
	}
	return all
}

// Names that the store has not made are refused or left out, and change nothing.
func TestAStrayNameChangesNothing(t *testing.T) {
	t.Parallel()
	row := tries(t, "R11", "files and directories that the store has not made, in each of its directories", "refused as damaged with 0 files changed, or left out; 0 wrong states")
	r := aged(t, random(t))
	for _, dir := range append(files(r.view, "/store"), "/store/") {
		if dir[len(dir)-1] != '/' {
			continue
		}
		for _, stray := range []string{"stray", "00000000000000000099", "00000099", "00000099.snap", "CURRENT.tmp", "MANIFEST.tmp", "layout-0000x"} {
			for _, make := range []func(*crashfs.FS, string){
				func(d *crashfs.FS, name string) { replace(d, name, []byte("stray")) },
				func(d *crashfs.FS, name string) { _ = d.Mkdir(name, 0o700) },
			} {
				disk := copyOf(r.disk)
				make(disk, dir+stray)
				row.Cycles++
				if _, err := r.try(disk, safe); err != nil {
					t.Errorf("%s in %s: %v", stray, dir, err)
				}
			}
		}
	}
}

// currents are the CURRENT files of all shards.
func currents(fs fsys.FS) []string {
	return slices.DeleteFunc(matching(fs, "/CURRENT"), func(name string) bool { return path.Base(name) != "CURRENT" })
}

// What a newer Keyfold wrote is refused as that, not as damaged.
func TestANewerFormatIsRefusedWithAWayOut(t *testing.T) {
	t.Parallel()
	row := tries(t, "R21", "manifest, CURRENT and log in a format of the future", "refused as that, and not as damage, with 0 files changed")
	r := aged(t, random(t))
	newer := map[string]func(*crashfs.FS, string){}
	for _, name := range append(currents(r.view), "/store/MANIFEST") {
		kind := string(bytes.TrimRight(contents(r.view, name)[8:16], "\x00"))
		newer[name] = func(disk *crashfs.FS, name string) {
			must(t, fsys.WriteSealed(disk, name, kind, 99, []byte("of the future")))
		}
	}
	for _, name := range matching(r.view, "/log/") {
		if len(contents(r.view, name)) > 0 && !unread(r, name) {
			first := contents(r.view, matching(r.view, path.Dir(name)+"/")[0])
			newer[name] = func(disk *crashfs.FS, name string) {
				change(disk, name, func(b []byte) []byte { return ofTheFuture(b, first) })
			}
		}
	}
	for name, change := range newer {
		disk := copyOf(r.disk)
		change(disk, name)
		v, err := r.try(disk, safe)
		must(t, err)
		var version *engine.VersionError
		if !errors.As(v.refused, &version) {
			t.Errorf("%s of a newer version: %v", name, v.refused)
		}
		row.Cycles++
	}
	if len(newer) < 5 {
		t.Errorf("only %d files are read", len(newer))
	}
}

// ofTheFuture gives the first frame of a segment another format, with a hash that is
// right. Its seed is in the header frame of the generation, in the first segment.
func ofTheFuture(b, first []byte) []byte {
	_, n := binary.Uvarint(first)
	id := first[n+56 : n+56+32]
	_, n = binary.Uvarint(b)
	head := b[n:]
	binary.LittleEndian.PutUint16(head[4:], 99)
	seed := xxh3.HashSeed(id, 0x6b6579666f6c6431)
	binary.LittleEndian.PutUint64(head[48:], xxh3.HashSeed(head[:48], seed))
	return b
}

// A store that is refused because of one shard learns of no new table, and loses no
// layout, although the manifest names it not: somebody may want to look at it.
func TestARefusedStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := aged(t, random(t))
	disk := copyOf(r.disk)
	must(t, disk.Remove(matching(r.view, "shard-001/CURRENT")[0]))
	must(t, disk.Mkdir("/store/layout-0099", 0o700))
	before := fingerprint(disk)
	o := r.options
	o.Environment = &seam.Environment{FS: disk, Now: r.now.Load, Seed: hashSeed, Hash: r.hash}
	added := engine.Fold("added", func(_ *engine.Context[string], s *uint64, e uint64) { *s += e })
	_, err := engine.Open(t.Context(), "/store", o, newTallies(), newNotes(), added)
	if must(t, judgeRefused(disk, err)); fingerprint(disk) != before {
		t.Errorf("it was changed and then refused: %v", err)
	}
}
