package fsys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden dump anew")

func sealedFile(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "CURRENT")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSealedFileComesBackWithItsVersion(t *testing.T) {
	name := filepath.Join(t.TempDir(), "CURRENT")
	for _, want := range []string{"", "first", strings.Repeat("second", 1000)} {
		if err := WriteSealed(OS(), name, "CURRENT", 2, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, version, err := ReadSealed(OS(), name, "CURRENT", 3, int64(len(want)))
		if err != nil || version != 2 || string(got) != want {
			t.Fatalf("%d bytes of version %d, %v", len(got), version, err)
		}
	}
}

func TestEveryChangedBitOfASealedFileIsDamage(t *testing.T) {
	good, err := seal("CURRENT", 1, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			requireDamage(t, bad, fmt.Sprintf("bit %d of byte %d", bit, i))
		}
	}
}

func TestEveryWrongLengthOfASealedFileIsDamage(t *testing.T) {
	good, err := seal("CURRENT", 1, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		requireDamage(t, good[:n], fmt.Sprintf("cut to %d bytes", n))
	}
	requireDamage(t, append(bytes.Clone(good), 0), "one byte more")
	requireDamage(t, make([]byte, 100), "zeros")
	requireDamage(t, make([]byte, 5000), "larger than allowed")
}

func requireDamage(t *testing.T, data []byte, what string) {
	t.Helper()
	name := sealedFile(t, data)
	_, _, err := ReadSealed(OS(), name, "CURRENT", 1, 1000)
	var damage *DamageError
	if !errors.Is(err, ErrDamaged) || !errors.As(err, &damage) || damage.Path != name {
		t.Errorf("%s: %v", what, err)
	}
}

func TestSealedFileOfAnotherKindIsDamage(t *testing.T) {
	other, err := seal("MANIFEST", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	requireDamage(t, other, "kind MANIFEST")
}

func TestNewerVersionOfASealedFileIsRefusedAsAFormat(t *testing.T) {
	name := filepath.Join(t.TempDir(), "CURRENT")
	if err := WriteSealed(OS(), name, "CURRENT", 3, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_, _, err := ReadSealed(OS(), name, "CURRENT", 2, 100)
	if !errors.Is(err, ErrFormat) || errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func TestMissingSealedFileDoesNotExist(t *testing.T) {
	_, _, err := ReadSealed(OS(), filepath.Join(t.TempDir(), "none"), "CURRENT", 1, 100)
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func TestSealRefusesAKindOrVersionThatCannotBeReadBack(t *testing.T) {
	for _, s := range []struct {
		kind    string
		version uint32
	}{{"", 1}, {"ninebytes", 1}, {"a\x00b", 1}, {"CURRENT", 0}} {
		if _, err := seal(s.kind, s.version, nil); err == nil {
			t.Errorf("%q version %d was sealed", s.kind, s.version)
		}
	}
}

func TestSealedFormatIsTheGoldenOne(t *testing.T) {
	sealed, err := seal("CURRENT", 7, []byte("k1=5"))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "golden", "sealed.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(dump(sealed)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(sealed); got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Fatalf("the format changed; it is now\n%s", got)
	}
}

func dump(b []byte) string {
	fields := []struct {
		end  int
		note string
	}{{8, `magic    "kfsealed"`}, {16, `kind     "CURRENT"`}, {20, "version  7"},
		{24, "length   4"}, {28, `payload  "k1=5"`}, {36, "hash     xxh3 of bytes 0 to 28"}}
	out := "# a sealed file: kind CURRENT, format version 7, payload \"k1=5\"\n"
	from := 0
	for _, f := range fields {
		spaced := ""
		for _, c := range b[from:f.end] {
			spaced += hex.EncodeToString([]byte{c}) + " "
		}
		out += fmt.Sprintf("%02d-%02d  %-24s %s\n", from, f.end, spaced, f.note)
		from = f.end
	}
	return out
}

func FuzzUnsealNeverPanicsAndNeverInvents(f *testing.F) {
	good, err := seal("CURRENT", 1, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(nil))
	f.Add(good[:sealExtraBytes-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		payload, version, damage := unseal(data, "CURRENT")
		if damage != nil {
			return
		}
		again, err := seal("CURRENT", version, payload)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("accepted bytes that seal would not write: %x, %v", data, err)
		}
	})
}
