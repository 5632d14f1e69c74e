package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/layout"
	"github.com/keyfold/keyfold/shard"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// A manifest is what must not change between two opens of a store, and which layout
// of shards is the current one. It is the sealed file MANIFEST of kind "KFMANIFE";
// its payload is, little-endian, strings as u16 length and bytes:
//
//	size  field       meaning
//	  16  store       id of the store, random
//	   8  seed        of the hash, random
//	   4  partitions  a power of two
//	   4  state       0: being created, nothing was acknowledged; 1: ready
//	   4  layout      number of the current layout
//	   4  former      number of the layout before, while it is kept; else 0
//	   4  shards      of the current layout
//	 2·p  owners      shard of each partition, u16
//	   4  tables      count
//	   …  each        name, version u32, then the layouts of key, state, event
type manifest struct {
	Store      [16]byte
	Seed       uint64
	Partitions int
	Ready      bool
	Layout     uint32
	Former     uint32
	Shards     int
	Owners     []uint16
	Tables     []tableEntry
}

// A tableEntry is a table as the manifest knows it. Its place is the table's id.
type tableEntry struct {
	Name              string
	Version           uint32
	Key, State, Event string
}

// Limits of the manifest.
const (
	manifestName    = "MANIFEST"
	manifestKind    = "KFMANIFE"
	manifestVersion = 1
	manifestMax     = 8 << 20
)

var errManifest = errors.New("the manifest does not say what it should")

func (m *manifest) encode() []byte {
	b := append([]byte(nil), m.Store[:]...)
	b = binary.LittleEndian.AppendUint64(b, m.Seed)
	state := uint32(0)
	if m.Ready {
		state = 1
	}
	for _, v := range []uint32{uint32(m.Partitions), state, m.Layout, m.Former, uint32(m.Shards)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for _, owner := range m.Owners {
		b = binary.LittleEndian.AppendUint16(b, owner)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Tables)))
	for _, t := range m.Tables {
		b = appendString(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, t.Version)
		for _, s := range []string{t.Key, t.State, t.Event} {
			b = appendString(b, s)
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func decodeManifest(b []byte) (*manifest, error) {
	m := &manifest{}
	r := fsys.FieldsOf(b)
	r.Copy(m.Store[:])
	m.Seed = r.U64()
	m.Partitions = int(r.U32())
	m.Ready = r.U32() == 1
	m.Layout, m.Former, m.Shards = r.U32(), r.U32(), int(r.U32())
	if r.Short() || !powerOfTwo(m.Partitions) || m.Partitions > partitionsMax || m.Shards < 1 || m.Shards > shardsMax {
		return nil, errManifest
	}
	for range m.Partitions {
		owner := r.U16()
		if int(owner) >= m.Shards {
			return nil, errManifest
		}
		m.Owners = append(m.Owners, owner)
	}
	for n := r.U32(); n > 0 && !r.Short(); n-- {
		t := tableEntry{Name: r.Text(), Version: r.U32()}
		t.Key, t.State, t.Event = r.Text(), r.Text(), r.Text()
		m.Tables = append(m.Tables, t)
	}
	if !r.Whole() {
		return nil, errManifest
	}
	return m, nil
}

// readManifest reads the manifest of dir, or returns nil if there is none. It makes
// its entry durable: whoever put it there may have been killed just before. The next
// power cut would then bring back the manifest before it, and with that lose what was
// acknowledged under this one.
func readManifest(fs fsys.FS, dir string) (*manifest, error) {
	name := filepath.Join(dir, manifestName)
	payload, _, err := fsys.ReadSealed(fs, name, manifestKind, manifestVersion, manifestMax)
	if errors.Is(err, errNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ofNewer(shard.Unreadable(fs, name, err))
	}
	m, err := decodeManifest(payload)
	if err != nil {
		return nil, &CorruptError{Path: name, Err: err}
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("keyfold: %w", err)
	}
	return m, nil
}

// ofNewer makes a VersionError of an error about a format that is not known yet.
func ofNewer(err error) error {
	if !errors.Is(err, fsys.ErrFormat) && !errors.Is(err, wal.ErrFormat) && !errors.Is(err, snapshot.ErrFormat) {
		return err
	}
	return &VersionError{
		Have: "a newer format", Want: "the formats that this Keyfold knows",
		Diff: err.Error() + "; use the newer Keyfold that wrote it",
	}
}

func (m *manifest) write(fs fsys.FS, dir string) error {
	if err := fsys.WriteSealed(fs, filepath.Join(dir, manifestName), manifestKind, manifestVersion, m.encode()); err != nil {
		return fmt.Errorf("keyfold: write the manifest: %w", err)
	}
	return nil
}

// partitionBits is the number of hash bits that name a partition.
func (m *manifest) partitionBits() uint { return uint(bits.TrailingZeros(uint(m.Partitions))) }

// match compares the tables of the program with those of the store, and returns the
// program's in the order of their ids. New tables are added to the manifest.
func (m *manifest) match(tables []tableEntry) (ids []uint16, grown bool, err error) {
	byName := make(map[string]int)
	for id, t := range m.Tables {
		byName[t.Name] = id
	}
	for _, t := range tables {
		id, known := byName[t.Name]
		if !known {
			id = len(m.Tables)
			m.Tables = append(m.Tables, t)
			grown = true
		} else if err := m.Tables[id].accepts(t); err != nil {
			return nil, false, err
		}
		delete(byName, t.Name)
		ids = append(ids, uint16(id))
	}
	for name, id := range byName {
		return nil, false, &VersionError{
			Table: name, Have: m.Tables[id].State, Want: "nothing",
			Diff: "the store has this table, the program does not; its log cannot be replayed without it, so pass it to Open",
		}
	}
	return ids, grown, nil
}

// accepts says why a store with the entry t cannot be opened by a program with p.
func (t tableEntry) accepts(p tableEntry) error {
	for _, part := range []struct{ what, have, want string }{
		{"key", t.Key, p.Key}, {"state", t.State, p.State}, {"event", t.Event, p.Event},
	} {
		if part.have != part.want {
			return &VersionError{
				Table: t.Name, Have: part.have, Want: part.want,
				Diff: fmt.Sprintf("its %s was %s, and is %s in the program: %s. Go back to the old type, or fold the data into a table of another name",
					part.what, part.have, part.want, layout.Diff(part.have, part.want)),
			}
		}
	}
	if t.Version != p.Version {
		return &VersionError{
			Table: t.Name, Have: fmt.Sprint(t.Version), Want: fmt.Sprint(p.Version),
			Diff: fmt.Sprintf("the store was written by version %d, the program has version %d. Run version %d, or give the new one another name", t.Version, p.Version, t.Version),
		}
	}
	return nil
}
