package crashfs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keyfold/keyfold/internal/fsys"
)

// edit is one write or truncation, as the naive model remembers it.
type edit struct {
	truncate bool
	off      int64
	data     []byte
}

func (e edit) apply(b []byte) []byte {
	if e.truncate {
		return resized(b, e.off)
	}
	if len(e.data) == 0 {
		return b
	}
	b = resized(b, max(int64(len(b)), e.off+int64(len(e.data))))
	copy(b[e.off:], e.data)
	return b
}

// resized copies b, cut or filled up with zeros.
func resized(b []byte, size int64) []byte {
	out := make([]byte, size)
	copy(out, b)
	return out
}

// naive is a file as simple as can be: a whole copy, and the list of edits.
type naive struct {
	durable []byte
	edits   []edit
}

func (n *naive) state(edits int) []byte {
	b := bytes.Clone(n.durable)
	for _, e := range n.edits[:edits] {
		b = e.apply(b)
	}
	return b
}

func (n *naive) now() []byte { return n.state(len(n.edits)) }

// torn reports whether got is a prefix of the edits, the last one cut anywhere.
func (n *naive) torn(got []byte) bool {
	for i := range len(n.edits) + 1 {
		before := n.state(i)
		if bytes.Equal(got, before) {
			return true
		}
		if i == len(n.edits) || n.edits[i].truncate {
			continue
		}
		for cut := range n.edits[i].data {
			if bytes.Equal(got, (edit{off: n.edits[i].off, data: n.edits[i].data[:cut]}).apply(before)) {
				return true
			}
		}
	}
	return false
}

// zeroed is the present size, with every written byte zero.
func (n *naive) zeroed() []byte {
	b := n.now()
	for _, e := range n.edits {
		if !e.truncate && e.off < int64(len(b)) {
			clear(b[e.off:min(int64(len(b)), e.off+int64(len(e.data)))])
		}
	}
	return b
}

// reordered reports whether each sector of got is the old or the new one. What
// lies behind the end of either counts as zero.
func (n *naive) reordered(got []byte) bool {
	now := n.now()
	if len(got) > max(len(now), len(n.durable)) {
		return false
	}
	old, now := resized(n.durable, int64(len(got))), resized(now, int64(len(got)))
	for off := 0; off < len(got); off += sectorBytes {
		end := min(len(got), off+sectorBytes)
		if !bytes.Equal(got[off:end], old[off:end]) && !bytes.Equal(got[off:end], now[off:end]) {
			return false
		}
	}
	return true
}

func (n *naive) allows(s Survival, got []byte) bool {
	switch s {
	case Lost:
		return bytes.Equal(got, n.durable)
	case Kept:
		return bytes.Equal(got, n.now())
	case Torn:
		return n.torn(got)
	case Zeroed:
		return bytes.Equal(got, n.zeroed())
	default:
		return n.reordered(got)
	}
}

func contents(t rapid.TB, fs *FS, name string) []byte {
	b, err := fsys.ReadFile(fs, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Goal: what a file holds, before a crash and after one of every model, is what
// the definition of the model says.
// Method: random writes, truncations and syncs, next to a model that copies
// everything. Repeat a failure with the -rapid.failfile that is printed.
func TestFileAfterACrashIsOneThatTheModelAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs, model := New(), &naive{}
		f := mustOpen(t, fs, "f", os.O_RDWR|os.O_CREATE)
		mustSyncDir(t, fs, "/")
		stamp := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				stamp++
				e := edit{off: offset(t, model), data: bytes.Repeat([]byte{stamp | 1}, rapid.IntRange(0, 1500).Draw(t, "length"))}
				if n, err := f.WriteAt(e.data, e.off); n != len(e.data) || err != nil {
					t.Fatal(n, err)
				}
				model.edits = append(model.edits, e)
			},
			"truncate": func(t *rapid.T) {
				e := edit{truncate: true, off: offset(t, model)}
				if err := f.Truncate(e.off); err != nil {
					t.Fatal(err)
				}
				model.edits = append(model.edits, e)
			},
			"sync": func(t *rapid.T) {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				model.durable, model.edits = model.now(), nil
			},
			"fail a sync": func(t *rapid.T) {
				fs.FailNth(Sync, 1, DropDirty(ErrIO))
				if err := f.Sync(); !errors.Is(err, ErrIO) {
					t.Fatal(err)
				}
				model.edits = nil
			},
			"kill": func(t *rapid.T) {
				fs = fs.Crash(Model{Data: Kept})
				f = mustOpen(t, fs, "f", os.O_RDWR)
			},
			"cut": func(t *rapid.T) {
				fs = cutAndCheck(t, fs, model)
				f = mustOpen(t, fs, "f", os.O_RDWR)
			},
			"": func(t *rapid.T) {
				if got := contents(t, fs, "f"); !bytes.Equal(got, model.now()) {
					t.Fatalf("the file is not what was written to it")
				}
			},
		})
	})
}

// offset is often the end, as for a log, and sometimes in another chunk.
func offset(t *rapid.T, model *naive) int64 {
	size := int64(len(model.now()))
	return rapid.OneOf(
		rapid.Just(size),
		rapid.Int64Range(0, size+700),
		rapid.Int64Range(chunkBytes-600, chunkBytes+600),
	).Draw(t, "offset")
}

// cutAndCheck tries every model and goes on with one of the disks.
func cutAndCheck(t *rapid.T, fs *FS, model *naive) *FS {
	chosen := rapid.SampledFrom([]Survival{Lost, Torn, Zeroed, Reordered}).Draw(t, "model")
	seed := rapid.Uint64().Draw(t, "seed")
	for _, m := range Models(seed) {
		got := contents(t, fs.Crash(m), "f")
		if !model.allows(m.Data, got) {
			t.Fatalf("%s: a file of %d bytes that cannot be; %d durable, %d edits", m, len(got), len(model.durable), len(model.edits))
		}
	}
	fs = fs.Crash(Model{Data: chosen, Seed: seed})
	*model = naive{durable: contents(t, fs, "f")}
	return fs
}

// tree is the naive model of one directory: a name and the number of the file.
type tree struct {
	now, durable map[string]int
	changes      int // since the last sync
}

func (m *tree) set(changes map[string]int) {
	for name, id := range changes {
		if id == 0 {
			delete(m.now, name)
		} else {
			m.now[name] = id
		}
	}
	m.changes++
}

func listing(t rapid.TB, fs *FS) map[string]int {
	entries, err := fs.ReadDir("d")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range entries {
		id := 0
		if _, err := fmt.Sscan(string(contents(t, fs, "d/"+e.Name())), &id); err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = id
	}
	return found
}

// Goal: entries are durable after SyncDir and not before.
// Method: random creations, renames and removals of files that are synced
// themselves; each holds a number that tells it apart.
func TestEntriesAfterACrashAreThoseOfTheLastSyncDir(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs, model, last := New(), &tree{now: map[string]int{}, durable: map[string]int{}}, 0
		if err := errors.Join(fs.Mkdir("d", 0o700), fs.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		name := func(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") }
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				n := name(t)
				if model.now[n] != 0 {
					t.Skip("there")
				}
				last++
				f := mustOpen(t, fs, "d/"+n, os.O_RDWR|os.O_CREATE|os.O_EXCL)
				mustWrite(t, f, fmt.Sprint(last))
				if err := errors.Join(f.Sync(), f.Close()); err != nil {
					t.Fatal(err)
				}
				model.set(map[string]int{n: last})
			},
			"rename": func(t *rapid.T) {
				from, to := name(t), name(t)
				err := fs.Rename("d/"+from, "d/"+to)
				if model.now[from] == 0 {
					requireIs(t, err, os.ErrNotExist)
				} else if err != nil {
					t.Fatal(err)
				} else if from != to {
					model.set(map[string]int{from: 0, to: model.now[from]})
				}
			},
			"remove": func(t *rapid.T) {
				n := name(t)
				err := fs.Remove("d/" + n)
				if model.now[n] == 0 {
					requireIs(t, err, os.ErrNotExist)
				} else if err != nil {
					t.Fatal(err)
				} else {
					model.set(map[string]int{n: 0})
				}
			},
			"sync": func(t *rapid.T) {
				mustSyncDir(t, fs, "d")
				model.durable, model.changes = maps.Clone(model.now), 0
			},
			"kill": func(*rapid.T) { fs = fs.Crash(Model{Data: Kept}) },
			"cut": func(t *rapid.T) {
				seed := rapid.Uint64().Draw(t, "seed")
				some := listing(t, fs.Crash(Model{Entries: true, Seed: seed}))
				if model.changes == 0 && !maps.Equal(some, model.durable) {
					t.Fatalf("synced entries were lost: %v", some)
				}
				fs = fs.Crash(Model{})
				model.now, model.changes = maps.Clone(model.durable), 0
			},
			"": func(t *rapid.T) {
				if got := listing(t, fs); !maps.Equal(got, model.now) {
					t.Fatalf("entries %v, want %v", got, model.now)
				}
			},
		})
	})
}

func TestTouchedRangesAreInOrderAndDoNotOverlap(t *testing.T) {
	got := touchedRanges([]change{
		{off: 10, length: 5, before: 20}, {off: 0, length: 3, before: 20}, {off: 12, length: 8, before: 20},
		{off: 40, length: 1, before: 30}, {truncate: true, off: 100, before: 90},
	})
	want := []span{{0, 3}, {10, 20}, {30, 41}, {90, 100}}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
