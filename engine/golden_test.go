package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/matrix"
)

var writeGolden = flag.String("write-golden", "", "write the golden store of this release into this directory, which must not exist")

// The golden stores hold five tables, of every kind of key and state that is written
// in a way of its own: one that is copied as it lies in memory, two that are encoded,
// with pointers and without, one with a codec of the program's, and one without bytes.
type (
	goldenCard struct {
		Bank   uint16
		Number [5]byte
	}
	goldenSpent struct {
		Total  int64
		Recent [3]int32
		Closed bool
	}
	goldenNote struct {
		Text string
		Raw  []byte
		N    uint32
	}
	goldenPay struct {
		Cents int32
		Close bool
	}
)

// goldenTables are the tables of a golden store.
type goldenTables struct {
	sums  *engine.Table[string, sum, int64, struct{}]
	cards *engine.Table[goldenCard, goldenSpent, goldenPay, struct{}]
	notes *engine.Table[string, goldenNote, string, struct{}]
	bags  *engine.Table[uint64, map[string]int, string, struct{}]
	seen  *engine.Table[int32, struct{}, struct{}, struct{}]
}

func newGoldenTables() *goldenTables {
	g := &goldenTables{sums: sums("sums")}
	g.cards = engine.Fold("cards", func(_ *engine.Context[goldenCard], s *goldenSpent, e goldenPay) { s.add(e) })
	g.notes = engine.Fold("notes", func(_ *engine.Context[string], s *goldenNote, e string) { s.add(e) })
	g.bags = engine.NewTable(engine.Spec[uint64, map[string]int, string, struct{}]{
		Name: "bags", Version: 3, StateCodec: goldenBag{},
		Apply: func(_ *engine.Context[uint64], s *map[string]int, e string) struct{} {
			if *s == nil {
				*s = make(map[string]int)
			}
			(*s)[e]++
			return struct{}{}
		},
	})
	g.seen = engine.Fold("seen", func(*engine.Context[int32], *struct{}, struct{}) {})
	return g
}

func (g *goldenTables) all() []engine.Definition {
	return []engine.Definition{g.sums, g.cards, g.notes, g.bags, g.seen}
}

func (s *goldenSpent) add(e goldenPay) {
	s.Total += int64(e.Cents)
	s.Recent = [3]int32{e.Cents, s.Recent[0], s.Recent[1]}
	s.Closed = s.Closed || e.Close
}

func (s *goldenNote) add(e string) {
	s.Text, s.Raw, s.N = s.Text+e, append([]byte(nil), e...), s.N+1
}

// goldenBag writes a map in the order of its keys.
type goldenBag struct{}

func (goldenBag) Name() string { return "bag/1" }
func (goldenBag) Append(dst []byte, v map[string]int) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}
func (goldenBag) Decode(src []byte, v *map[string]int) error { return json.Unmarshal(src, v) }

// golden is what a golden store holds.
type golden struct {
	sums  map[string]sum
	cards map[goldenCard]goldenSpent
	notes map[string]goldenNote
	bags  map[uint64]map[string]int
	seen  map[int32]struct{}
}

func newGolden() *golden {
	return &golden{map[string]sum{}, map[goldenCard]goldenSpent{}, map[string]goldenNote{}, map[uint64]map[string]int{}, map[int32]struct{}{}}
}

// fold folds event i of a golden store.
func (g *golden) fold(i int) {
	name, card, note, number := goldenKeys(i)
	s := g.sums[name]
	g.sums[name] = sum{s.Count + 1, s.Total + int64(i), int64(i)}
	spent := g.cards[card]
	spent.add(goldenPay{Cents: int32(i * 7), Close: i%41 == 0})
	g.cards[card] = spent
	n := g.notes[note]
	n.add(fmt.Sprint(i, ";"))
	g.notes[note] = n
	if g.bags[number] == nil {
		g.bags[number] = make(map[string]int)
	}
	g.bags[number][fmt.Sprint(i%3)]++
	g.seen[int32(i%29-9)] = struct{}{}
}

func goldenKeys(i int) (name string, card goldenCard, note string, number uint64) {
	return fmt.Sprintf("name-%d", i%37), goldenCard{uint16(i % 11), [5]byte{1, byte(i % 3)}},
		strings.Repeat("long ", i%17) + fmt.Sprint(i%5), uint64(i % 13)
}

// send sends event i to a store.
func (g *goldenTables) send(t *testing.T, i int) {
	name, card, note, number := goldenKeys(i)
	do(t, g.sums, name, int64(i))
	do(t, g.cards, card, goldenPay{Cents: int32(i * 7), Close: i%41 == 0})
	do(t, g.notes, note, fmt.Sprint(i, ";"))
	do(t, g.bags, number, fmt.Sprint(i%3))
	do(t, g.seen, int32(i%29-9), struct{}{})
}

// check compares all keys of an open store with what it must hold.
func (g *goldenTables) check(t *testing.T, want *golden) {
	t.Helper()
	same(t, "sums", everything(t, g.sums), want.sums, func(a, b sum) bool { return a == b })
	same(t, "cards", everything(t, g.cards), want.cards, func(a, b goldenSpent) bool { return a == b })
	same(t, "notes", everything(t, g.notes), want.notes, func(a, b goldenNote) bool {
		return a.Text == b.Text && bytes.Equal(a.Raw, b.Raw) && a.N == b.N
	})
	same(t, "bags", everything(t, g.bags), want.bags, maps.Equal[map[string]int])
	same(t, "seen", everything(t, g.seen), want.seen, func(a, b struct{}) bool { return a == b })
}

func same[K comparable, S any](t *testing.T, table string, have, want map[K]S, equal func(a, b S) bool) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("%s: nothing is wanted", table)
	}
	if maps.EqualFunc(have, want, equal) {
		return
	}
	for k, s := range want {
		if h, ok := have[k]; !ok || !equal(h, s) {
			t.Errorf("%s: %v is %+v (%v), and must be %+v", table, k, h, ok, s)
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %v must not be there", table, k)
		}
	}
}

// diskOf is a disk in memory with the files of a directory in /store.
func diskOf(t *testing.T, dir string) *crashfs.FS {
	t.Helper()
	disk := crashfs.New()
	must(t, fsys.MkdirAll(disk, "/store", 0o700))
	must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := "/store" + filepath.ToSlash(strings.TrimPrefix(path, dir))
		if entry.IsDir() {
			return fsys.MkdirAll(disk, name, 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return fsys.ReplaceFile(disk, name, data)
	}))
	return disk
}

// keepDisk writes the files of /store into a directory. Zeros that were written ahead
// of a log are left out: a crash of a moment before would not have them either.
func keepDisk(disk fsys.FS, from, to string) error {
	entries, err := disk.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		from, to := from+"/"+entry.Name(), filepath.Join(to, entry.Name())
		if entry.IsDir() {
			err = errors.Join(err, keepDisk(disk, from, to))
			continue
		}
		if entry.Name() == "LOCK" {
			continue
		}
		data, readErr := fsys.ReadFile(disk, from, 16<<20)
		if strings.Contains(from, "/log/") {
			data = bytes.TrimRight(data, "\x00")
		}
		err = errors.Join(err, readErr, os.WriteFile(to, data, 0o644))
	}
	return err
}

// Events of a golden store: so many before the first snapshot, before the second, and
// behind it.
const (
	goldenFirst  = 120
	goldenSecond = 200
	goldenAll    = 260
)

// Goal: a store of an earlier release opens in every later one, with every key.
// Method: stores that were written by it are kept in testdata.
func TestGoldenStoresOpenWithEveryKey(t *testing.T) {
	row := matrix.Begin(t, "R21", "stores that were written by each release before, and by this one, opened with 1, 2 and 3 shards", "every key and state is there, also after a crash")
	want := newGolden()
	for i := range goldenAll {
		want.fold(i)
	}
	stores, err := filepath.Glob("testdata/store-*")
	if err != nil || len(stores) == 0 {
		t.Fatalf("%v %v", stores, err)
	}
	for _, dir := range stores {
		for _, shards := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/shards=%d", filepath.Base(dir), shards), func(t *testing.T) {
				g := newGoldenTables()
				options := smallStore()
				options.Shards, options.Partitions = shards, 0
				l := &lab{tb: t, options: options, tables: g.all(), disk: diskOf(t, dir)}
				if hasLayers(dir) {
					l.with(append(g.all(), newGoldenLayers().all()...)...)
				}
				l.now.Store(2e18)
				l.open()
				defer func() { must(t, l.engine.Close()) }()
				if r := l.engine.Recovery(); r.Clean || r.Events == 0 || len(r.Warnings) > 0 {
					t.Errorf("%+v", r)
				}
				g.check(t, want)
				l.crash(crashfs.Lost)
				g.check(t, want)
				l.reopen()
				g.check(t, want)
				row.Cycles++
				row.Checked += goldenAll
			})
		}
	}
}

// Writes the golden store of this release, when it is told to.
func TestGoldenStoreIsWritten(t *testing.T) {
	if *writeGolden == "" {
		t.Skip("without -write-golden")
	}
	g, layers, old := newGoldenTables(), newGoldenLayers(), called("deeds", cards1b())
	options := keepsAll(smallStore())
	options.Partitions = 16
	l := newLab(t, options, append(g.all(), layers.timed, layers.answered, old)...)
	for i := range int64(20) {
		do(t, old, fmt.Sprint("card-", i%6), paid1b{i, uint8(i)})
	}
	must(t, l.engine.Close())
	l.with(append(g.all(), layers.all()...)...).open()
	for i := int64(20); i < 40; i++ {
		do(t, layers.deeds, fmt.Sprint("card-", i%6), paid2{i, "chf"})
	}
	for i := range goldenAll {
		if i == goldenFirst || i == goldenSecond {
			must(t, l.engine.Snapshot(context.Background()))
		}
		if i == goldenSecond+20 {
			must(t, l.engine.Move(context.Background(), 12, 0))
			must(t, l.engine.Move(context.Background(), 3, 1))
		}
		g.send(t, i)
		layers.send(t, i)
	}
	layers.finish(t, l.engine)
	l.die(crashfs.Kept)
	must(t, keepDisk(l.disk, "/store", *writeGolden))
	l.open()
}
