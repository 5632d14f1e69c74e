package layout

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// older encodes a value of an old type and decodes it into one of a new type.
func older[Old, New any](t *testing.T, v Old) New {
	t.Helper()
	old := layoutOf[Old](t)
	l, err := Older(reflect.TypeFor[New](), old.String())
	if err != nil {
		t.Fatal(err)
	}
	if size, ok := old.Size(); ok {
		if have, _ := l.Size(); have != size {
			t.Errorf("%s takes %d bytes, as an older form %d", old, size, have)
		}
	}
	var now New
	if err := l.Decode(old.Append(nil, unsafe.Pointer(&v)), unsafe.Pointer(&now)); err != nil {
		t.Fatal(err)
	}
	return now
}

func TestFieldsAddedAtTheEndOfStructsAreZero(t *testing.T) {
	type in struct {
		A uint8
		B uint32
	}
	type inMore struct {
		A uint8
		B uint32
		C string
	}
	type old struct {
		N    int64
		In   in
		Row  [3]in
		Text string
		Flat [2][2]in
	}
	type now struct {
		N    int64
		In   inMore
		_    [3]byte
		Row  [3]inMore
		Text string
		Flat [2][2]inMore
		More [2]string
		Flag bool
	}
	was := old{1, in{2, 3}, [3]in{{4, 5}, {6, 7}, {8, 9}}, "text", [2][2]in{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}}
	more := func(i in) inMore { return inMore{A: i.A, B: i.B} }
	want := now{N: 1, In: more(was.In), Text: "text"}
	for i, e := range was.Row {
		want.Row[i] = more(e)
	}
	for i := range 2 {
		for j := range 2 {
			want.Flat[i][j] = more(was.Flat[i][j])
		}
	}
	if have := older[old, now](t, was); have != want {
		t.Errorf("%+v, want %+v", have, want)
	}
	if have := older[struct{}, struct{ A string }](t, struct{}{}); have.A != "" {
		t.Errorf("%+v", have)
	}
	dense, err := Older(reflect.TypeFor[struct{ A, B, C int64 }](), "struct{A int64; B int64}")
	if err != nil || dense.Dense() != littleEndian || dense.size != 16 {
		t.Errorf("%+v %v", dense, err)
	}
}

func TestWhatIsNoOlderFormIsRefusedWithTheDifference(t *testing.T) {
	type in struct{ A, B int8 }
	type now struct {
		A   int64
		In  in
		Row [2]in
		S   string
	}
	const rest = "; In struct{A int8; B int8}; Row [2]struct{A int8; B int8}; S string}"
	for old, words := range map[string]string{
		"struct{A int32" + rest:                                                     "field A was int32 and is now int64",
		"struct{B int64" + rest:                                                     "field B was renamed A",
		"struct{A int64; Z bool; In struct{A int8; B int8}}":                        "field Z (bool) was removed",
		"struct{In struct{A int8; B int8}; A int64}":                                "the order of fields was",
		"struct{A int64; In struct{B int8}}":                                        "field In.A (int8) was added",
		"struct{A int64; In struct{A int8; B int8; C int8}}":                        "field In.C (int8) was removed",
		"struct{A int64; In struct{A int8; B int8}; Row [3]struct{A int8; B int8}}": "field Row was [3]struct",
		"struct{A int64" + rest[:len(rest)-1] + "; T string}":                       "field T (string) was removed",
		"int64":        "the type was int64",
		"string":       "the type was string",
		"codec json/1": "was codec json/1",
		"struct{A ":    "was struct{A ",
	} {
		_, err := Older(reflect.TypeFor[now](), old)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %s", old, err, words)
		}
	}
}

// Goal: an older form is decoded exactly, whatever the type. Method: random types, cut
// at random behind some of their fields, against a decoding of the old type whose fields
// are then copied one by one.
func TestOlderFormsOfRandomTypesAreDecoded(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9))
		now := randomStruct(r, 3)
		old := cutType(r, now)
		was := reflect.New(old)
		fillValue(r, was.Elem())
		from, err := Of(old)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Older(now, from.String())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		have, want := reflect.New(now), reflect.New(now)
		if err := l.Decode(from.Append(nil, was.UnsafePointer()), have.UnsafePointer()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		copyFields(want.Elem(), was.Elem())
		if !reflect.DeepEqual(have.Interface(), want.Interface()) {
			t.Fatalf("seed %d: %s as %s\nis   %+v\nwant %+v", seed, from, now, have, want)
		}
	}
}

func randomStruct(r *rand.Rand, depth int) reflect.Type {
	var fields []reflect.StructField
	for i := range r.IntN(5) {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: randomPart(r, depth-1)})
	}
	return reflect.StructOf(fields)
}

func randomPart(r *rand.Rand, depth int) reflect.Type {
	if depth > 0 {
		switch r.IntN(3) {
		case 0:
			return randomStruct(r, depth)
		case 1:
			return reflect.ArrayOf(r.IntN(40), randomPart(r, depth-1))
		}
	}
	parts := []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[int32](),
		reflect.TypeFor[int](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](),
	}
	return parts[r.IntN(len(parts))]
}

// cutType leaves out fields at the end of structs.
func cutType(r *rand.Rand, t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Array:
		return reflect.ArrayOf(t.Len(), cutType(r, t.Elem()))
	case reflect.Struct:
		var fields []reflect.StructField
		for i := range t.NumField() - r.IntN(t.NumField()/2+1) {
			f := t.Field(i)
			fields = append(fields, reflect.StructField{Name: f.Name, Type: cutType(r, f.Type)})
		}
		return reflect.StructOf(fields)
	}
	return t
}

func fillValue(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(r, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fillValue(r, v.Index(i))
		}
	case reflect.Slice:
		v.SetBytes([]byte(strings.Repeat("b", 1+r.IntN(9))))
	case reflect.String:
		v.SetString(strings.Repeat("s", r.IntN(200)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(r.Float64())
	case reflect.Uint16:
		v.SetUint(r.Uint64N(1 << 16))
	default:
		v.SetInt(int64(r.IntN(128)))
	}
}

// copyFields sets the parts of to that from has.
func copyFields(to, from reflect.Value) {
	switch to.Kind() {
	case reflect.Struct:
		for i := range from.NumField() {
			copyFields(to.Field(i), from.Field(i))
		}
	case reflect.Array:
		for i := range to.Len() {
			copyFields(to.Index(i), from.Index(i))
		}
	default:
		to.Set(from)
	}
}
