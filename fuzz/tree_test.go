package fuzz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// fileBytesMax is more than any file of these tests has.
const fileBytesMax = 64 << 20

// files lists what lies below dir, directories with a slash at the end.
func files(fs fsys.FS, dir string) []string {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		panic(err) // of a tree that a test has made
	}
	var all []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			all = append(append(all, name+"/"), files(fs, name)...)
		} else {
			all = append(all, name)
		}
	}
	return all
}

// matching lists the files below the store whose path holds all parts.
func matching(fs fsys.FS, parts ...string) []string {
	var found []string
	for _, name := range files(fs, "/store") {
		missing := func(part string) bool { return !strings.Contains(name, part) }
		if !strings.HasSuffix(name, "/") && !slices.ContainsFunc(parts, missing) {
			found = append(found, name)
		}
	}
	return found
}

func contents(fs fsys.FS, name string) []byte {
	b, err := fsys.ReadFile(fs, name, fileBytesMax)
	if err != nil {
		panic(err)
	}
	return b
}

// replace gives a file other contents.
func replace(fs fsys.FS, name string, b []byte) {
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		panic(err)
	}
}

// change gives a file other contents made from those it has.
func change(fs fsys.FS, name string, how func([]byte) []byte) {
	replace(fs, name, how(slices.Clone(contents(fs, name))))
}

// fingerprint tells trees apart. It leaves out the lock file, which says who has the
// store open.
func fingerprint(fs fsys.FS) uint64 {
	h := xxh3.New()
	for _, name := range files(fs, "/store") {
		if name == "/store/LOCK" {
			continue
		}
		var b []byte
		if !strings.HasSuffix(name, "/") {
			b = contents(fs, name)
		}
		fmt.Fprintf(h, "%s %d\n", name, len(b))
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// A verdict is what became of a damaged store.
type verdict struct {
	refused  error
	warnings []string
	torn     int64 // bytes
	lengths  []int // events in each partition
}

// try looks at the store on disk without opening it, opens it, and checks that both say
// the same, and that it is either refused as damaged, with nothing changed, or holds a
// prefix with at least what least says.
func (r *rig) try(disk *crashfs.FS, least floor) (verdict, error) {
	before := fingerprint(disk)
	found, err := r.on(disk).verify()
	if err != nil {
		return verdict{}, violated("Verify: %w", err)
	}
	if fingerprint(disk) != before {
		return verdict{}, violated("Verify has changed the store")
	}
	v, err := r.tryOpening(disk, least)
	if err != nil {
		return v, err
	}
	return v, v.judge(found)
}

// tryOpening is try without looking first.
func (r *rig) tryOpening(disk *crashfs.FS, least floor) (verdict, error) {
	before := fingerprint(disk)
	c := r.on(disk)
	if err := c.open(); err != nil {
		if err := judgeRefused(disk, err); err != nil {
			return verdict{}, err
		}
		if fingerprint(disk) != before {
			return verdict{}, violated("a store was changed and then refused: %w", err)
		}
		return verdict{refused: err}, nil
	}
	v := verdict{warnings: c.engine.Recovery().Warnings, torn: c.engine.Recovery().TornBytes}
	err := c.judge(least)
	v.lengths = c.lengths()
	disk.StopAfter(0) // it ends sooner without a last snapshot
	return v, errors.Join(err, c.abandon())
}

// verify looks at the store without opening it.
func (r *rig) verify() (*engine.Verification, error) {
	ctx, cancel := patiently()
	defer cancel()
	return engine.Verify(ctx, "/store", engine.VerifyOptions{Environment: &seam.Environment{FS: r.disk, Hash: r.hash}})
}

// judge wants Verify to have said what Open has done.
func (v *verdict) judge(found *engine.Verification) error {
	if said := found.Refused(); (said == nil) != (v.refused == nil) {
		return violated("Verify says that it is refused: %v, and Open says %v", said, v.refused)
	}
	if v.refused != nil {
		return nil
	}
	leftOut, torn := 0, int64(0)
	for _, f := range found.Faults {
		torn += f.Bytes
		if f.Meaning == engine.LeftOut {
			leftOut++
		}
	}
	if leftOut != len(v.warnings) || torn != v.torn {
		return violated("Verify has %d snapshots left out and %d bytes torn, Open %d and %d", leftOut, torn, len(v.warnings), v.torn)
	}
	return nil
}

// judgeRefused wants an error that names what is damaged, and where.
func judgeRefused(disk fsys.FS, err error) error {
	var corrupt *engine.CorruptError
	var version *engine.VersionError
	switch {
	case errors.As(err, &version):
		if version.Diff == "" {
			return violated("a VersionError without words: %w", err)
		}
		return nil
	case !errors.As(err, &corrupt):
		return violated("refused, but not as damaged (%T): %w", err, err)
	case !strings.HasPrefix(corrupt.Path, "/store/"):
		return violated("the error does not say which file: %w", err)
	}
	f, openErr := disk.OpenFile(corrupt.Path, os.O_RDONLY, 0)
	if openErr != nil {
		return nil // it is missing, or no file
	}
	size, sizeErr := f.Size()
	if corrupt.Offset < 0 || corrupt.Offset > size {
		return violated("the offset lies outside of the file, which has %d bytes: %w", size, err)
	}
	return errors.Join(sizeErr, f.Close())
}

// A frame is where a frame of a log lies, and what its header says.
type frame struct {
	segment    int
	start, end int // in the segment, its length in front included
	horizon    uint64
	events     int // in it and all before it
}

// frames reads the frames of segments that are whole up to their last frame.
func frames(segments [][]byte) []frame {
	var all []frame
	events := 0
	for i, b := range segments {
		for at := 0; at < len(b); {
			length, n := binary.Uvarint(b[at:])
			if length == 0 {
				break // written ahead of the frames
			}
			head := b[at+n:]
			events += int(binary.LittleEndian.Uint32(head[40:]))
			f := frame{segment: i, start: at, end: at + n + int(length), horizon: binary.LittleEndian.Uint64(head[24:]), events: events}
			all = append(all, f)
			at = f.end
		}
	}
	return all
}

// total is the number of events in all partitions.
func total(lengths []int) int {
	n := 0
	for _, l := range lengths {
		n += l
	}
	return n
}
