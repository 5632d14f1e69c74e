package layout

import (
	"bytes"
	"reflect"
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// portable gives the layout as a machine compiles it whose integers are in the
// other order. Its moves are right on every machine.
func portable(tb testing.TB, t reflect.Type) *Layout {
	tb.Helper()
	l, err := compile(t, builder{native: false})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

var plainTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[uint8](), reflect.TypeFor[int16](),
	reflect.TypeFor[uint16](), reflect.TypeFor[int32](), reflect.TypeFor[uint32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint64](), reflect.TypeFor[int](), reflect.TypeFor[uint](), reflect.TypeFor[float32](),
	reflect.TypeFor[float64](), reflect.TypeFor[complex64](), reflect.TypeFor[complex128](),
	reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[inner](), reflect.TypeFor[everything](),
}

// drawType makes up a type: a plain one, an array or a struct of such.
func drawType(t *rapid.T, depth int) reflect.Type {
	shape := rapid.IntRange(0, 3).Draw(t, "shape")
	switch {
	case depth > 0 && shape == 1:
		return reflect.ArrayOf(rapid.IntRange(0, 40).Draw(t, "length"), drawType(t, depth-1))
	case depth > 0 && shape >= 2:
		fields := make([]reflect.StructField, rapid.IntRange(0, 5).Draw(t, "fields"))
		for i := range fields {
			fields[i] = reflect.StructField{Name: string(rune('A' + i)), Type: drawType(t, depth-1)}
		}
		return reflect.StructOf(fields)
	}
	return rapid.SampledFrom(plainTypes).Draw(t, "type")
}

// fill sets v, which is addressable, to something random without NaNs and blanks.
func fill(t *rapid.T, v reflect.Value) {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	switch k := v.Kind(); {
	case k == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				fill(t, v.Field(i))
			}
		}
	case k == reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case k == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case v.CanInt():
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case v.CanUint():
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case v.CanFloat():
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case v.CanComplex():
		v.SetComplex(complex(rapid.Float64().Draw(t, "real"), rapid.Float64().Draw(t, "imaginary")))
	case k == reflect.String:
		v.SetString(rapid.StringN(0, 5, 200).Draw(t, "string"))
	case k == reflect.Slice:
		if n := rapid.IntRange(0, 200).Draw(t, "bytes"); n > 0 {
			v.SetBytes(bytes.Repeat([]byte{byte(n)}, n))
		}
	}
}

// Goal: for every type, Decode undoes Append, both do the same on machines of
// either byte order, and the size is what was promised.
// Method: made-up types and values; the moves of the other byte order are written
// so that they are right on this machine too.
func TestEveryValueComesBackFromItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 3)
		l, err := Of(typ)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := compile(typ, builder{native: false})
		if err != nil {
			t.Fatal(err)
		}
		v := reflect.New(typ)
		fill(t, v.Elem())
		encoded := l.Append([]byte("prefix"), v.UnsafePointer())[len("prefix"):]
		if other := slow.Append(nil, v.UnsafePointer()); !bytes.Equal(encoded, other) {
			t.Fatalf("%s: encoded as %x, but as %x on a machine of the other byte order", l, encoded, other)
		}
		if size, ok := l.Size(); ok && size != len(encoded) {
			t.Fatalf("%s: size %d, but %d bytes", l, size, len(encoded))
		}
		for _, l := range []*Layout{l, slow} {
			checkDecode(t, l, typ, v, encoded)
		}
	})
}

// checkDecode decodes encoded as a whole, which must give v, and cut, which must fail.
func checkDecode(t *rapid.T, l *Layout, typ reflect.Type, v reflect.Value, encoded []byte) {
	back := reflect.New(typ)
	if err := l.Decode(encoded, back.UnsafePointer()); err != nil {
		t.Fatalf("%s: %v", l, err)
	}
	if !reflect.DeepEqual(back.Interface(), v.Interface()) {
		t.Fatalf("%s: %+v came back as %+v", l, v.Elem(), back.Elem())
	}
	if typ.Kind() == reflect.String || typ.Kind() == reflect.Slice || len(encoded) == 0 {
		return // every cut is a value
	}
	cut := rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")
	if err := l.Decode(encoded[:cut], reflect.New(typ).UnsafePointer()); err == nil {
		t.Fatalf("%s: %d of %d bytes were decoded", l, cut, len(encoded))
	}
}

func TestDescriptionsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, err := Of(drawType(t, 4))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := parse(l.String()); err != nil || n.text != l.String() {
			t.Fatalf("%s: %v", l, err)
		}
	})
}

type fuzzed struct {
	Flag  bool
	Name  string
	Raw   []byte
	Many  [40]struct{ S string }
	Other [2]inner
	N     int
}

// FuzzDecode decodes anything as several types: it must not panic, must not take
// more memory than the bytes could fill, and what it accepts is what Append writes.
func FuzzDecode(f *testing.F) {
	v := fuzzed{Flag: true, Name: "name", Raw: []byte("raw"), N: -1}
	l, err := Of(reflect.TypeFor[fuzzed]())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.Append(nil, unsafe.Pointer(&v)))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, src []byte) {
		decodeAny[fuzzed](t, src)
		decodeAny[string](t, src)
		decodeAny[[]byte](t, src)
		decodeAny[[3]inner](t, src)
		decodeAny[struct {
			A uint16
			B []byte
		}](t, src)
	})
}

// decodeAny checks what decoding src as a T does.
func decodeAny[T any](t *testing.T, src []byte) {
	t.Helper()
	for _, l := range []*Layout{layoutOf[T](t), portable(t, reflect.TypeFor[T]())} {
		var v T
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := l.Decode(src, unsafe.Pointer(&v))
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 2*uint64(len(src))+64<<10 {
			t.Fatalf("%d bytes taken to decode %d as %s", taken, len(src), l)
		}
		if err != nil {
			continue
		}
		if again := l.Append(nil, unsafe.Pointer(&v)); !bytes.Equal(again, src) {
			t.Fatalf("%s: %x decoded, but encodes as %x", l, src, again)
		}
	}
}
