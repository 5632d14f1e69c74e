package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/wal"
)

// A Current is what the CURRENT file of a shard says: which generations and
// snapshots exist. What it does not name does not exist. It is replaced before the
// first ack of a generation, and before anything that it named is removed.
//
// The file is a sealed file of kind "KFCURRNT" with this payload, little-endian:
//
//	size  field       meaning
//	  16  store       id of the store
//	   4  layout      number of the layout
//	   4  shard       index of the shard
//	   4  count       generations, oldest first
//	  48  …each       number u64, sealed u64 (0 or 1), last frame u64, its chain u64,
//	                  bytes u64, ended i64: when it was sealed, Unix nanoseconds
//	   4  count       snapshots, oldest first
//	   8  …each       number u64: the generation that its round began
//	   4  count       generations that are kept as history, oldest first
//	  48  …each       as above
//
// Version 1 ends with the snapshots, and its generations with the chain.
type Current struct {
	ID          wal.ID
	Generations []Generation
	Snapshots   []uint64
	Kept        []Generation // that recovery does not need: older than all of Generations
}

// A Generation is one directory of the log. All but the last are sealed; so is the
// last after a clean end.
type Generation struct {
	Number uint64
	Sealed bool
	End    wal.End // if sealed
	Bytes  int64   // of its files, if sealed; 0: not known
	Ended  int64   // when it was sealed, by the clock of the log; 0: not known
}

// Limits of the CURRENT file.
const (
	currentKind    = "KFCURRNT"
	currentVersion = 2
	currentMax     = 1 << 20
	// generationBytes is what a generation takes, generationBytesBefore in version 1.
	generationBytes       = 48
	generationBytesBefore = 32
)

func (c *Current) encode() []byte {
	b := append([]byte(nil), c.ID.Store[:]...)
	b = binary.LittleEndian.AppendUint32(b, c.ID.Layout)
	b = binary.LittleEndian.AppendUint32(b, c.ID.Shard)
	b = appendGenerations(b, c.Generations)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Snapshots)))
	for _, number := range c.Snapshots {
		b = binary.LittleEndian.AppendUint64(b, number)
	}
	return appendGenerations(b, c.Kept)
}

func appendGenerations(b []byte, generations []Generation) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(generations)))
	for _, g := range generations {
		sealed := uint64(0)
		if g.Sealed {
			sealed = 1
		}
		for _, v := range []uint64{g.Number, sealed, g.End.Frame, g.End.Chain, uint64(g.Bytes), uint64(g.Ended)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

var errCurrent = errors.New("the CURRENT file does not say what it should")

func decodeCurrent(b []byte, version uint32) (c Current, err error) {
	r := fsys.FieldsOf(b)
	r.Copy(c.ID.Store[:])
	c.ID.Layout, c.ID.Shard = r.U32(), r.U32()
	c.Generations = takeGenerations(r, version)
	for range r.Count(8) {
		c.Snapshots = append(c.Snapshots, r.U64())
	}
	if version > 1 {
		c.Kept = takeGenerations(r, version)
	}
	if !r.Whole() || len(c.Generations) == 0 {
		return c, errCurrent
	}
	return c, nil
}

func takeGenerations(r *fsys.Fields, version uint32) (all []Generation) {
	size := generationBytes
	if version == 1 {
		size = generationBytesBefore
	}
	for range r.Count(size) {
		g := Generation{Number: r.U64(), Sealed: r.U64() == 1}
		g.End = wal.End{Generation: g.Number, Frame: r.U64(), Chain: r.U64()}
		if version > 1 {
			g.Bytes, g.Ended = int64(r.U64()), int64(r.U64())
		}
		if !g.Sealed {
			g.End = wal.End{}
		}
		all = append(all, g)
	}
	return all
}

// readCurrent reads the CURRENT file of dir and checks whose it is.
func readCurrent(fs fsys.FS, dir string, id wal.ID) (Current, error) {
	name := filepath.Join(dir, "CURRENT")
	payload, version, err := fsys.ReadSealed(fs, name, currentKind, currentVersion, currentMax)
	if err != nil {
		return Current{}, Unreadable(fs, name, err)
	}
	c, err := decodeCurrent(payload, version)
	if err == nil && c.ID != id {
		err = fmt.Errorf("it belongs to store %x, layout %d, shard %d", c.ID.Store, c.ID.Layout, c.ID.Shard)
	}
	if err != nil {
		return Current{}, &CorruptError{Path: name, Err: err}
	}
	return c, nil
}

// Unreadable makes a CorruptError of why a sealed file could not be read, if that is
// damage. It tells a sealed file that is damaged, missing or no file from one that the
// system does not let us read.
func Unreadable(fs fsys.FS, name string, err error) error {
	var damage *fsys.DamageError
	if errors.As(err, &damage) {
		return &CorruptError{Path: name, Offset: damage.Offset, Err: fmt.Errorf("%w: %s", fsys.ErrDamaged, damage.Reason)}
	}
	info, statErr := fs.Lstat(name)
	if errors.Is(statErr, errNotExist) || statErr == nil && !info.Mode().IsRegular() {
		return &CorruptError{Path: name, Err: err}
	}
	return fmt.Errorf("shard: %w", err)
}

// write replaces the CURRENT file of dir, and takes the room for the next one if there
// is any: whoever cannot do without will ask for it.
func (c *Current) write(fs fsys.FS, dir string) error {
	if err := fsys.WriteSealed(fs, filepath.Join(dir, "CURRENT"), currentKind, currentVersion, c.encode()); err != nil {
		return err
	}
	_ = c.reserve(fs, dir)
	return nil
}

// spareBytes is the room that is reserved for the next CURRENT file, beyond the size of
// this one: a round names one generation and one snapshot more.
const spareBytes = 2 << 10

// reserve takes the room for the next CURRENT file.
func (c *Current) reserve(fs fsys.FS, dir string) error {
	return fsys.ReserveReplacement(fs, filepath.Join(dir, "CURRENT"), int64(len(c.encode())+spareBytes))
}

// last is the newest generation.
func (c *Current) last() *Generation { return &c.Generations[len(c.Generations)-1] }

// An ending is where a generation was sealed.
type ending struct {
	end   wal.End
	bytes int64 // of its files
	at    int64 // by the clock of the log
}

// grown is c with a new generation behind its last one, which is sealed at end. If
// that holds no records it is left out: nothing needs it, and a store that is opened
// again and again would gather such generations without bound.
func (c *Current) grown(end ending, number uint64, records bool) Current {
	next := c.sealed(end)
	if !records {
		next.Generations = next.Generations[:len(next.Generations)-1]
	}
	next.Generations = append(next.Generations, Generation{Number: number})
	return next
}

// sealed is c with its last generation sealed at end.
func (c *Current) sealed(end ending) Current {
	next := *c
	next.Generations = slices.Clone(c.Generations)
	*next.last() = Generation{Number: end.end.Generation, Sealed: true, End: end.end, Bytes: end.bytes, Ended: end.at}
	return next
}

// snapshotsKept is how many snapshots a shard keeps, with the log behind the older.
const snapshotsKept = 2

// published is c with a new snapshot, at the time now. What only snapshots before the
// previous one needed is history, and is kept as far as keep says.
func (c *Current) published(number uint64, keep Keep, now int64) Current {
	next := *c
	next.Snapshots = append(slices.Clone(c.Snapshots), number)
	if n := len(next.Snapshots); n > snapshotsKept {
		next.Snapshots = next.Snapshots[n-snapshotsKept:]
	}
	next.Generations = slices.Clone(c.Generations)
	next.Kept = slices.Clone(c.Kept)
	if len(next.Snapshots) == snapshotsKept {
		oldest := next.Snapshots[0]
		if mutant.OlderLogForgotten {
			oldest = number
		}
		next.Generations = slices.DeleteFunc(next.Generations, func(g Generation) bool {
			if g.Number < oldest {
				next.Kept = append(next.Kept, g)
			}
			return g.Number < oldest
		})
	}
	next.Kept = keep.trim(next.Kept, now)
	return next
}

// SnapshotsOf is how many snapshots the CURRENT file of a shard names.
func SnapshotsOf(cfg Config) int {
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return 0
	}
	return len(current.Snapshots)
}
