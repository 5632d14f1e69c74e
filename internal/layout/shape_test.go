package layout

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// Goal: who has only the description of a type takes and refuses the same bytes as who
// has the type, and makes JSON of what is taken.
// Method: made-up types and values; their encodings, cut, longer, and with a byte changed.
func TestShapeTakesWhatItsLayoutTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 3)
		l, err := Of(typ)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseShape(l.String())
		if err != nil {
			t.Fatal(err)
		}
		size, fixed := l.Size()
		if shapeSize, shapeFixed := s.Size(); shapeSize != size || shapeFixed != fixed {
			t.Fatalf("%s: size %d, %v, and by its description %d, %v", l, size, fixed, shapeSize, shapeFixed)
		}
		v := reflect.New(typ)
		fill(t, v.Elem())
		b := l.Append(nil, v.UnsafePointer())
		variants := [][]byte{b, append(b[:len(b):len(b)], 0), b[:rapid.IntRange(0, len(b)).Draw(t, "cut")]}
		if len(b) > 0 {
			changed := append([]byte(nil), b...)
			changed[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= rapid.Byte().Draw(t, "by")
			variants = append(variants, changed)
		}
		for _, b := range variants {
			want := l.Decode(b, reflect.New(typ).UnsafePointer())
			have := s.Check(b)
			if (want == nil) != (have == nil) || have != nil && !errors.Is(have, ErrMalformed) {
				t.Fatalf("%s: %x is %v to the type, %v to its description", l, b, want, have)
			}
			if text, err := s.AppendJSON(nil, b); err == nil && !json.Valid(text) {
				t.Fatalf("%s: %x is no JSON: %s", l, b, text)
			}
		}
	})
}

func TestShapeShowsValuesAsJSON(t *testing.T) {
	type mixed struct {
		Name  string
		Count int16
		Up    bool
		Sums  [2]float64
		ID    [3]byte
		Raw   []byte
		In    struct{ A, B uint64 }
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{mixed{"a\"<b", -7, true, [2]float64{1.5, math.Inf(1)}, [3]byte{1, 2, 255}, []byte{9}, struct{ A, B uint64 }{1, math.MaxUint64}},
			`{"Name":"a\"<b","Count":-7,"Up":true,"Sums":[1.5,"+Inf"],"ID":"0102ff","Raw":"09","In":{"A":1,"B":18446744073709551615}}`},
		{"text", `"text"`},
		{"no \xff text", `{"hex":"6e6f20ff2074657874"}`},
		{[]byte("ab"), `"6162"`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{int8(-1), `-1`},
		{complex64(complex(1, -2)), `[1,-2]`},
		{[2]struct{}{}, `[]`},
	} {
		typ := reflect.TypeOf(c.value)
		l, err := Of(typ)
		if err != nil {
			t.Fatal(err)
		}
		v := reflect.New(typ)
		v.Elem().Set(reflect.ValueOf(c.value))
		s, err := ParseShape(l.String())
		if err != nil {
			t.Fatal(err)
		}
		if text, err := s.AppendJSON(nil, l.Append(nil, v.UnsafePointer())); err != nil || string(text) != c.want {
			t.Errorf("%s: %s, %v, want %s", l, text, err, c.want)
		}
	}
}

func TestWhatDescribesNoLayoutHasNoShape(t *testing.T) {
	for _, text := range []string{"", "codec mine/1", "struct{A map}", "[x]int8", "[-1]int8", "[]string", "struct{A int8", "int", "[2]", "struct{A codec x}"} {
		if _, err := ParseShape(text); !errors.Is(err, errDescription) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
