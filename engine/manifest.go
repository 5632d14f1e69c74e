package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
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
//	   …  each        name, then its history of schemas:
//	   4  state       0: in use; 1: dropped, and its states and events are as good as gone
//	   4  first       number of the oldest schema that is kept
//	   4  schemas     count, oldest first; the last one is the present one
//	   …  each        version u32, then the layouts of key, state, event
//	   8  life        random since a backup was restored; before that 0
//
// Headers of generations and snapshots say by number what schemas they were written
// under. A manifest of version 1 has one schema of each table, number 0: behind its name
// come version and layouts, and nothing else. It is written anew when the store is
// opened, before anything is that the program of then would not know.
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
	Life       uint64
}

// Limits of the manifest.
const (
	manifestName    = "MANIFEST"
	manifestKind    = "KFMANIFE"
	manifestVersion = 2
	manifestMax     = 8 << 20

	tableInUse   uint32 = 0
	tableDropped uint32 = 1
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
		state := tableInUse
		if t.Dropped {
			state = tableDropped
		}
		for _, v := range []uint32{state, t.First, uint32(len(t.Schemas))} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		for _, s := range t.Schemas {
			b = binary.LittleEndian.AppendUint32(b, s.Version)
			for _, text := range []string{s.Key, s.State, s.Event} {
				b = appendString(b, text)
			}
		}
	}
	return binary.LittleEndian.AppendUint64(b, m.Life)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// decodeManifest reads the payload of a manifest of a version.
func decodeManifest(b []byte, version uint32) (*manifest, error) {
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
		t, ok := takeTable(r, version)
		if !ok {
			return nil, errManifest
		}
		m.Tables = append(m.Tables, t)
	}
	if version > 1 {
		m.Life = r.U64()
	}
	if !r.Whole() {
		return nil, errManifest
	}
	return m, nil
}

// takeTable takes a table of a manifest of a version.
func takeTable(r *fsys.Fields, version uint32) (t tableEntry, ok bool) {
	t.Name = r.Text()
	count := 1
	if version > 1 {
		state := r.U32()
		if state > tableDropped {
			return t, false
		}
		t.Dropped, t.First = state == tableDropped, r.U32()
		count = r.Count(10)
	}
	for range count {
		s := schema{Version: r.U32()}
		s.Key, s.State, s.Event = r.Text(), r.Text(), r.Text()
		t.Schemas = append(t.Schemas, s)
	}
	return t, count > 0 && !r.Short()
}

// readManifest reads the manifest of dir, or returns nil if there is none. It makes
// its entry durable: whoever put it there may have been killed just before. The next
// power cut would then bring back the manifest before it, and with that lose what was
// acknowledged under this one. Old says that it is of an older version.
func readManifest(fs fsys.FS, dir string) (m *manifest, old bool, err error) {
	m, version, err := lookAtManifest(fs, dir)
	if m == nil || err != nil {
		return nil, false, err
	}
	if mutant.ManifestNotListed {
		return m, version < manifestVersion, nil
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, false, fmt.Errorf("keyfold: %w", err)
	}
	return m, version < manifestVersion, nil
}

// lookAtManifest reads the manifest of dir, or returns nil if there is none, and says
// which version of its format it has.
func lookAtManifest(fs fsys.FS, dir string) (m *manifest, version uint32, err error) {
	name := filepath.Join(dir, manifestName)
	payload, version, err := fsys.ReadSealed(fs, name, manifestKind, manifestVersion, manifestMax)
	if errors.Is(err, errNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, ofNewer(shard.Unreadable(fs, name, err))
	}
	if m, err = decodeManifest(payload, version); err != nil {
		return nil, 0, &CorruptError{Path: name, Err: err}
	}
	return m, version, nil
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
	payload := m.encode()
	if len(payload) > manifestMax {
		return fmt.Errorf("%w: the manifest would have %d bytes, at most %d can be read", ErrTooLarge, len(payload), manifestMax)
	}
	if err := fsys.WriteSealed(fs, filepath.Join(dir, manifestName), manifestKind, manifestVersion, payload); err != nil {
		return fmt.Errorf("keyfold: write the manifest: %w", err)
	}
	return nil
}

// partitionBits is the number of hash bits that name a partition.
func (m *manifest) partitionBits() uint { return uint(bits.TrailingZeros(uint(m.Partitions))) }

// match compares the tables of the program with those of the store, and returns the ids
// of the program's. What is new is added to the manifest. changed says that there was
// something.
func (m *manifest) match(tables []Definition) (ids []int, changed bool, err error) {
	byName := make(map[string]int)
	for id, t := range m.Tables {
		byName[t.Name] = id
	}
	for _, t := range tables {
		entry, lifts, err := t.describe()
		if err != nil {
			return nil, false, err
		}
		id, known := byName[entry.Name]
		if !known {
			if len(m.Tables) == shard.TablesMax && !entry.Dropped {
				return nil, false, fmt.Errorf("%w: table %q: a store can have %d tables in its life, those that were dropped and the engine's own included", ErrTooLarge, entry.Name, shard.TablesMax)
			}
			id = m.add(entry)
		}
		grown := !known && id != noTable
		if known {
			if grown, err = m.Tables[id].accept(&entry, lifts); err != nil {
				return nil, false, err
			}
		}
		changed = changed || grown
		delete(byName, entry.Name)
		ids = append(ids, id)
	}
	for _, id := range byName {
		if t := &m.Tables[id]; !t.Dropped {
			return nil, false, t.refusal(t.present().State, "nothing",
				"the store has this table, the program does not; its log cannot be replayed without it, so pass it to Open, or Dropped(%q) to let it go for good", t.Name)
		}
	}
	return ids, changed, nil
}

// noTable is the id of a table to be dropped that there is not.
const noTable = -1

// add adds a new table and returns its id.
func (m *manifest) add(t tableEntry) int {
	if t.Dropped {
		return noTable
	}
	m.Tables = append(m.Tables, t)
	return len(m.Tables) - 1
}
