package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

var updateGolden = flag.Bool("update", false, "write the golden dumps anew")

// sampleManifest has a value of its own in every field.
func sampleManifest() *manifest {
	return &manifest{
		Store: [16]byte{0: 0xab, 15: 0xcd}, Seed: 7, Partitions: 4, Ready: true, Layout: 3, Former: 2, Shards: 2,
		Owners: []uint16{0, 1, 1, 0}, Life: 11,
		Tables: []tableEntry{
			{Name: "a", Schemas: []schema{{Version: 1, Key: "string", State: "int64", Event: "uint8"}}},
			{Name: "entries", First: 5, Schemas: []schema{
				{Version: 8, Key: "[16]uint8", State: "string", Event: "string"},
				{Version: 9, Key: "[16]uint8", State: "codec json/1", Event: "string"},
			}},
		},
	}
}

// dumpManifest writes an encoded manifest field by field.
func dumpManifest(t *testing.T, b []byte) string {
	t.Helper()
	var out strings.Builder
	at := 0
	field := func(name string, n int) []byte {
		value := b[at : at+n]
		fmt.Fprintf(&out, "%04d  %-32x  %s\n", at, value, name)
		at += n
		return value
	}
	text := func(name string) {
		n := int(binary.LittleEndian.Uint16(field(name+" bytes", 2)))
		field(name, n)
	}
	field("store", 16)
	field("seed", 8)
	for _, name := range []string{"partitions", "state", "layout", "former", "shards"} {
		field(name, 4)
	}
	for range 4 {
		field("owner", 2)
	}
	for range binary.LittleEndian.Uint32(field("tables", 4)) {
		text("name")
		field("state", 4)
		field("first", 4)
		for range binary.LittleEndian.Uint32(field("schemas", 4)) {
			field("version", 4)
			text("key")
			text("state")
			text("event")
		}
	}
	field("life", 8)
	if at != len(b) {
		t.Fatalf("%d bytes are left", len(b)-at)
	}
	return out.String()
}

func TestManifestIsThatOfTheGoldenDump(t *testing.T) {
	const name = "testdata/golden/manifest.txt"
	have := "# payload of MANIFEST\n" + dumpManifest(t, sampleManifest().encode())
	if *updateGolden {
		if err := os.WriteFile(name, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Fatalf("the format has changed: a new version number, and a test that the old one opens, are due; then run with -update\n%s", have)
	}
}

func TestManifestIsDecodedAsItWasEncoded(t *testing.T) {
	want := sampleManifest()
	have, err := decodeManifest(want.encode(), manifestVersion)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Fatalf("%+v, want %+v", have, want)
	}
}

// A manifest that is cut anywhere, and has a good hash all the same, is refused.
func TestManifestThatIsCutIsRefused(t *testing.T) {
	whole := sampleManifest().encode()
	for n := range len(whole) {
		if _, err := decodeManifest(whole[:n], manifestVersion); err == nil {
			t.Fatalf("%d of %d bytes were taken for a manifest", n, len(whole))
		}
	}
}

// Goal: no flipped byte of a manifest is read as anything. Method: every byte of the
// file, with every bit of it flipped by itself and all together.
func TestManifestWithAFlippedByteIsRefused(t *testing.T) {
	disk := crashfs.New()
	if err := sampleManifest().write(disk, "/"); err != nil {
		t.Fatal(err)
	}
	whole, err := fsys.ReadFile(disk, "/"+manifestName, manifestMax)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for _, flip := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 255} {
			damaged := bytes.Clone(whole)
			damaged[at] ^= flip
			if err := fsys.ReplaceFile(disk, "/"+manifestName, damaged); err != nil {
				t.Fatal(err)
			}
			if m, _, err := readManifest(disk, "/"); err == nil {
				t.Fatalf("byte %d of %d, flipped by %#x, was read as %+v", at, len(whole), flip, m)
			}
		}
	}
}

// What later versions may put where zeros are is refused by this one.
func TestManifestWithAReservedValueIsRefused(t *testing.T) {
	whole := sampleManifest().encode()
	state := bytes.Index(whole, []byte("\x01\x00a\x00\x00\x00\x00")) + 3
	whole[state] = 7
	if m, err := decodeManifest(whole, manifestVersion); err == nil {
		t.Fatalf("%+v", m)
	}
}

// schemaLab opens one table in many versions, on a disk in memory.
type schemaLab struct {
	t    *testing.T
	disk *crashfs.FS
}

// run opens the table in a version, sends an event and closes it. It returns the error of the
// open.
func (l *schemaLab) run(version uint32, keep int64) error {
	l.t.Helper()
	table := NewTable(Spec[string, int64, int64, struct{}]{
		Name: "sums", Version: version,
		Apply: func(_ *Context[string], s *int64, e int64) (none struct{}) { *s += e; return none },
	})
	e, err := Open(l.t.Context(), "/store", Options{
		Shards: 1, Partitions: 1, KeepLog: KeepLog{Bytes: keep},
		Environment: &Environment{FS: l.disk, Now: func() int64 { return 1 }},
	}, table)
	if err != nil {
		return err
	}
	_, err = table.Do(l.t.Context(), "key", 1)
	if err := errors.Join(err, e.Close()); err != nil {
		l.t.Fatal(err)
	}
	return nil
}

// entry is what the manifest has of the table.
func (l *schemaLab) entry() tableEntry {
	l.t.Helper()
	m, _, err := lookAtManifest(l.disk, "/store")
	if err != nil {
		l.t.Fatal(err)
	}
	return m.Tables[0]
}

// Goal: the history of a table is as long as what files still hold, and no longer. Method:
// twelve versions, each opened once: of a store that keeps nothing, of one that keeps its log,
// and of one whose log cannot be read, which may hold anything.
func TestSchemasAreForgottenWithTheFilesThatHoldThem(t *testing.T) {
	l := &schemaLab{t, crashfs.New()}
	for version := range uint32(12) {
		if err := l.run(version, 0); err != nil {
			t.Fatal(err)
		}
		if e := l.entry(); e.number() != version || len(e.Schemas) > 3 {
			t.Fatalf("version %d has number %d, with %d schemas", version, e.number(), len(e.Schemas))
		}
	}
	l.disk = crashfs.New()
	for version := range uint32(12) {
		if err := l.run(version, 1<<30); err != nil {
			t.Fatal(err)
		}
		if e := l.entry(); len(e.Schemas) != int(version)+1 || e.First != 0 {
			t.Fatalf("version %d: %d schemas from %d on, of a log that is kept", version, len(e.Schemas), e.First)
		}
	}
	l.disk.SetHook(func(op crashfs.Op) error { // in the log that is kept, and nowhere else
		if op.Kind == crashfs.Open && strings.Contains(op.Name, "/log/00000001/") {
			return errors.New("it cannot be read")
		}
		return nil
	})
	if err := l.run(12, 1<<30); err != nil {
		t.Fatal(err)
	}
	if e := l.entry(); len(e.Schemas) != 13 || e.First != 0 {
		t.Fatalf("%d schemas from %d on, and it is not known what the log holds", len(e.Schemas), e.First)
	}
}

// Goal: a table of more schemas than may be is refused, nothing is changed, and the way out
// that the error names is one. Method: a log that is kept holds the first schema; the manifest
// is given as many behind it as may be, and a program with one more comes.
func TestMoreSchemasThanMayBeAreRefusedWithAWayOut(t *testing.T) {
	l := &schemaLab{t, crashfs.New()}
	if err := l.run(1, 1<<30); err != nil {
		t.Fatal(err)
	}
	m, _, err := lookAtManifest(l.disk, "/store")
	if err != nil {
		t.Fatal(err)
	}
	table := &m.Tables[0]
	for next := *table.present(); len(table.Schemas) < schemasMax; {
		next.Version++
		table.Schemas = append(table.Schemas, next)
	}
	if err := m.write(l.disk, "/store"); err != nil {
		t.Fatal(err)
	}
	before := m.encode()
	err = l.run(schemasMax+1, 1<<30)
	var refused *VersionError
	if !errors.As(err, &refused) || refused.Have != "1025 schemas" || !strings.Contains(refused.Diff, "run the program that wrote it last, with less Options.KeepLog or none, and close it twice") {
		t.Fatalf("%v", err)
	}
	if m, _, err = lookAtManifest(l.disk, "/store"); err != nil || !bytes.Equal(m.encode(), before) {
		t.Fatalf("it was refused, and has changed: %v", err)
	}
	for range 2 {
		if err := l.run(schemasMax, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.run(schemasMax+1, 1<<30); err != nil {
		t.Fatal("closed twice: ", err)
	}
	if e := l.entry(); len(e.Schemas) > 3 || e.number() != schemasMax {
		t.Fatalf("number %d, %d schemas", e.number(), len(e.Schemas))
	}
}

// Goal: the id of a table never runs into the bits of a record that say something else.
func TestAStoreHasABoundedNumberOfTablesInItsLife(t *testing.T) {
	m := &manifest{Partitions: 1}
	for i := range shard.TablesMax - 1 {
		m.Tables = append(m.Tables, tableEntry{Name: fmt.Sprint(i), Dropped: true})
	}
	last := Fold("last", func(_ *Context[string], s *int64, e int64) { *s += e })
	late := Fold("late", func(_ *Context[string], s *int64, e int64) { *s += e })
	if ids, _, err := m.match([]Definition{last}); err != nil || ids[0] != shard.TablesMax-1 {
		t.Fatalf("the last id: %v, %v", ids, err)
	}
	if ids, _, err := m.match([]Definition{last, late}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("one more: %v, %v", ids, err)
	}
	if _, _, err := m.match([]Definition{last, Dropped("never there")}); err != nil {
		t.Fatal("one to be dropped that there is not: ", err)
	}
}
