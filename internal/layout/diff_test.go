package layout

import (
	"strings"
	"testing"
)

func TestDiffNamesWhatWasChanged(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"string", "string", ""},
		{"string", "int64", "the type was string and is now int64"},
		{"string", "struct{A int8}", "the type was string and is now struct{A int8}"},
		{"[16]uint8", "[32]uint8", "the type was [16]uint8 and is now [32]uint8"},
		{"struct{A int8; B string}", "struct{A int8}", "field B (string) was removed"},
		{"struct{A int8}", "struct{A int8; B [2]string}", "field B ([2]string) was added"},
		{"struct{A int8; B int8}", "struct{A int8; C int8}", "field B was renamed C"},
		{"struct{B int8; Z string}", "struct{New bool; C int8; Z string}",
			"field B (int8) was removed; field New (bool) was added; field C (int8) was added"},
		{"struct{A int8; X int8; B int8}", "struct{A int8; B int8; Y int8}", "field X (int8) was removed; field Y (int8) was added"},
		{"struct{A int8; B int8}", "struct{A int8; C int16}", "field B (int8) was removed; field C (int16) was added"},
		{"struct{A int8; B int8}", "struct{A int32; B int8}", "field A was int8 and is now int32"},
		{"struct{A int8; B int16}", "struct{B int16; A int8}", "the order of fields was A, B and is now B, A"},
		{"struct{X struct{A int8; B int16}}", "struct{X struct{B int16; A int8}}",
			"the order of fields was X.A, X.B and is now X.B, X.A"},
		{"struct{X struct{A int8}; Y bool}", "struct{X struct{A uint8}; Y bool}", "field X.A was int8 and is now uint8"},
		{"struct{X [3]struct{A int8}}", "struct{X [3]struct{A int8; B string}}", "field X[].B (string) was added"},
		{"[2]struct{A int8}", "[2]struct{B int8}", "field [].A was renamed B"},
		{"struct{X [3]int8}", "struct{X [4]int8}", "field X was [3]int8 and is now [4]int8"},
		{"struct{X string}", "struct{X []uint8}", "field X was string and is now []uint8"},
		{"struct{}", "struct{A int8}", "field A (int8) was added"},
		{"struct{A int8", "struct{A int8}", "was struct{A int8 and is now struct{A int8}"},
		{"codec v1", "struct{A int8}", "the type was codec v1 and is now struct{A int8}"},
	} {
		if got := Diff(c.old, c.new); got != c.want {
			t.Errorf("from %s to %s:\n%s, want\n%s", c.old, c.new, got, c.want)
		}
	}
}

func TestDescriptionsTooDeepToReadAreGivenAsTheyAre(t *testing.T) {
	deep := strings.Repeat("[1]", depthMax+1) + "struct{A int8}"
	if got, want := Diff(deep, "string"), "was "+deep+" and is now string"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzDiff(f *testing.F) {
	f.Add("struct{A int8; B [3]struct{C string}}", "struct{A int8; B [3]struct{D string}}")
	f.Add("struct{", "[")
	f.Add("struct{A ; B }", "struct{ }")
	f.Fuzz(func(t *testing.T, old, new string) {
		if got := Diff(old, new); (got == "") != (old == new) {
			t.Fatalf("the difference of %q and %q is %q", old, new, got)
		}
	})
}
