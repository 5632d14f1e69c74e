package engine

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "write the golden dumps anew")

// sampleManifest has a value of its own in every field.
func sampleManifest() *manifest {
	return &manifest{
		Store: [16]byte{0: 0xab, 15: 0xcd}, Seed: 7, Partitions: 4, Ready: true, Layout: 3, Former: 2, Shards: 2,
		Owners: []uint16{0, 1, 1, 0},
		Tables: []tableEntry{
			{Name: "a", Version: 1, Key: "string", State: "int64", Event: "uint8"},
			{Name: "entries", Version: 9, Key: "[16]uint8", State: "codec json/1", Event: "string"},
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
		field("version", 4)
		text("key")
		text("state")
		text("event")
	}
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
	have, err := decodeManifest(want.encode())
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
		if _, err := decodeManifest(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes were taken for a manifest", n, len(whole))
		}
	}
}
