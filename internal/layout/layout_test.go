package layout

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

type (
	session struct {
		Clicks uint32
		Last   int64
	}
	id     [4]byte
	letter byte
	inner  struct {
		A bool
		B uint16
	}
	everything struct {
		Flag   bool
		I8     int8
		I16    int16
		I32    int32
		I64    int64
		I      int
		U      uint
		F32    float32
		F64    float64
		C64    complex64
		C128   complex128
		ID     id
		Pairs  [2]inner
		Name   string
		Raw    []letter
		_      uint32
		hidden uint16
	}
)

// encode gives the bytes of v.
func encode[T any](tb testing.TB, v T) []byte {
	tb.Helper()
	return layoutOf[T](tb).Append(nil, unsafe.Pointer(&v))
}

// layoutOf gives the layout of T.
func layoutOf[T any](tb testing.TB) *Layout {
	tb.Helper()
	l, err := Of(reflect.TypeFor[T]())
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func sample() everything {
	return everything{
		Flag: true, I8: -2, I16: -3, I32: 0x01020304, I64: -5, I: -6, U: 7, F32: 1.5, F64: -2.5,
		C64: 1 + 2i, C128: 3 - 4i, ID: id{9, 8, 7, 6}, Pairs: [2]inner{{true, 0x0a0b}, {false, 0x0c0d}},
		Name: "häh", Raw: []letter{1, 2}, hidden: 0x1122,
	}
}

func TestEncodingOfRepresentativeValuesIsFixed(t *testing.T) {
	negativeZero := math.Copysign(0, -1)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"padded struct", encode(t, session{Clicks: 0x01020304, Last: -2}), "04030201 feffffffffffffff"},
		{"whole string", encode(t, "ab"), "6162"},
		{"whole byte slice", encode(t, []byte{0, 1}), "0001"},
		{"string in a struct", encode(t, struct{ S string }{strings.Repeat("x", 130)}), "8201" + strings.Repeat("78", 130)},
		{"array of strings", encode(t, [2]string{"", "a"}), "00 0161"},
		{"array of padded structs", encode(t, [2]inner{{true, 1}, {false, 2}}), "01 0100 00 0200"},
		{"negative zero", encode(t, negativeZero), "0000000000000080"},
		{"int", encode(t, -1), "ffffffffffffffff"},
		{"empty struct", encode(t, struct{}{}), ""},
		{"blank field", encode(t, struct {
			A uint8
			_ uint32
			B uint8
		}{A: 1, B: 2}), "0102"},
		{"everything", encode(t, sample()), "01 fe fdff 04030201 fbffffffffffffff faffffffffffffff 0700000000000000" +
			"0000c03f 00000000000004c0 0000803f00000040 000000000000084000000000000010c0 09080706" +
			"010b0a 000d0c 0468c3a468 020102 2211"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: encoded as %x, want %x", c.name, c.got, want)
		}
	}
}

func TestDescriptionIsWhatTheBytesDependOn(t *testing.T) {
	type renamedSession session
	for _, c := range []struct {
		typ  reflect.Type
		want string
		size int
	}{
		{reflect.TypeFor[session](), "struct{Clicks uint32; Last int64}", 12},
		{reflect.TypeFor[renamedSession](), "struct{Clicks uint32; Last int64}", 12},
		{reflect.TypeFor[string](), "string", -1},
		{reflect.TypeFor[[]letter](), "[]uint8", -1},
		{reflect.TypeFor[[16]byte](), "[16]uint8", 16},
		{reflect.TypeFor[id](), "[4]uint8", 4},
		{reflect.TypeFor[int](), "int64", 8},
		{reflect.TypeFor[uint](), "uint64", 8},
		{reflect.TypeFor[time.Duration](), "int64", 8},
		{reflect.TypeFor[[3][2]inner](), "[3][2]struct{A bool; B uint16}", 18},
		{reflect.TypeFor[[1 << 20]struct{}](), "[1048576]struct{}", 0},
		{reflect.TypeFor[[100]inner](), "[100]struct{A bool; B uint16}", 300},
		{reflect.TypeFor[struct {
			session
			_ [3]uint8
		}](), "struct{session struct{Clicks uint32; Last int64}}", 12},
		{reflect.TypeFor[everything](), "struct{Flag bool; I8 int8; I16 int16; I32 int32; I64 int64; I int64; U uint64; " +
			"F32 float32; F64 float64; C64 complex64; C128 complex128; ID [4]uint8; " +
			"Pairs [2]struct{A bool; B uint16}; Name string; Raw []uint8; hidden uint16}", -1},
	} {
		l, err := Of(c.typ)
		if err != nil {
			t.Errorf("%v: %v", c.typ, err)
			continue
		}
		if l.String() != c.want {
			t.Errorf("%v is described as\n%s, want\n%s", c.typ, l, c.want)
		}
		if size, ok := l.Size(); ok != (c.size >= 0) || size != max(c.size, 0) {
			t.Errorf("%v: size %d, %v, want %d", c.typ, size, ok, c.size)
		}
	}
}

func TestTypesWithoutALayoutAreRefusedByFieldWithAWayOut(t *testing.T) {
	type Session struct {
		Clicks uint32
		Tags   map[string]int
	}
	type Deep struct{ In [2]struct{ P *int } }
	for _, c := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[Session](), "layout: field Session.Tags is a map: give the Spec a StateCodec (for an event: an EventCodec)"},
		{reflect.TypeFor[Deep](), "layout: field Deep.In[].P is a pointer: give the Spec a StateCodec (for an event: an EventCodec)"},
		{reflect.TypeFor[[]int](), "layout: type []int is a slice of int: use an array or a []byte, or give the Spec a StateCodec (for an event: an EventCodec)"},
		{reflect.TypeFor[any](), "is an interface"},
		{reflect.TypeFor[chan int](), "is a channel"},
		{reflect.TypeFor[func()](), "is a function"},
		{reflect.TypeFor[uintptr](), "is a uintptr"},
		{reflect.TypeFor[unsafe.Pointer](), "is an unsafe.Pointer"},
		{reflect.TypeFor[struct{ At time.Time }](), ".At is a time.Time, which holds a pointer: use an int64 with its UnixNano, or"},
		{reflect.TypeFor[[BytesMax + 1]byte](), "1073741825 bytes long, more than 1073741824"},
		{nil, "no type at all"},
	} {
		_, err := Of(c.typ)
		var typeError *TypeError
		if !errors.As(err, &typeError) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %s", c.typ, err, c.want)
		}
	}
}

func TestKeysAreRefusedIfEqualOnesMayDifferInBytes(t *testing.T) {
	type Point struct {
		Name string
		X    float64
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[Point](), reflect.TypeFor[float32](), reflect.TypeFor[[2]complex64](), reflect.TypeFor[complex128](),
	} {
		_, err := KeyOf(typ)
		if err == nil || !strings.Contains(err.Error(), "use an integer, or give the Spec a KeyCodec") {
			t.Errorf("%v: error %v", typ, err)
		}
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[string](), reflect.TypeFor[[16]byte](), reflect.TypeFor[struct {
			A uint32
			B string
		}](),
	} {
		if _, err := KeyOf(typ); err != nil {
			t.Errorf("%v: %v", typ, err)
		}
	}
}

func TestPointerFreeIsWhatTheCollectorSees(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		want bool
	}{
		{reflect.TypeFor[session](), true},
		{reflect.TypeFor[[3]inner](), true},
		{reflect.TypeFor[string](), false},
		{reflect.TypeFor[struct{ A []byte }](), false},
		{reflect.TypeFor[[0]string](), true},
		{reflect.TypeFor[struct {
			_ [0]func()
			A int
		}](), true},
		{reflect.TypeFor[struct {
			_ *int
			A int
		}](), false},
	} {
		l, err := Of(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		if l.PointerFree() != c.want {
			t.Errorf("%v: PointerFree is %v", c.typ, l.PointerFree())
		}
	}
}

func TestDecodeRefusesWhatAppendDoesNotWrite(t *testing.T) {
	type text struct{ S string }
	for _, c := range []struct {
		name string
		err  error
	}{
		{"bool of 2", decodeInto[bool](t, "02")},
		{"bool of 2 in an array", decodeInto[[3]bool](t, "000102")},
		{"too short", decodeInto[uint32](t, "000000")},
		{"too long", decodeInto[uint32](t, "0000000000")},
		{"no length", decodeInto[text](t, "")},
		{"unfinished length", decodeInto[text](t, "80")},
		{"long form of a length", decodeInto[text](t, "8100ff")},
		{"length of more than 64 bits", decodeInto[text](t, "ffffffffffffffffff7f")},
		{"length beyond the end", decodeInto[text](t, "0261")},
		{"bytes behind the value", decodeInto[text](t, "016161")},
		{"second string is missing", decodeInto[[2]string](t, "0161")},
		{"number behind a string is cut", decodeInto[struct {
			S string
			N uint16
		}](t, "000000ff")},
	} {
		if !errors.Is(c.err, ErrMalformed) {
			t.Errorf("%s: error %v", c.name, c.err)
		}
	}
}

func decodeInto[T any](tb testing.TB, text string) error {
	tb.Helper()
	src, err := hex.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	var v T
	return layoutOf[T](tb).Decode(src, unsafe.Pointer(&v))
}

func TestDecodedValuesDoNotReferToTheSource(t *testing.T) {
	l := layoutOf[everything](t)
	want := sample()
	src := l.Append(nil, unsafe.Pointer(&want))
	var got everything
	if err := l.Decode(src, unsafe.Pointer(&got)); err != nil {
		t.Fatal(err)
	}
	clear(src)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("decoded %+v, want %+v", got, want)
	}
}

// Goal: neither way costs the collector anything for types without pointers.
// Method: the process-wide count of allocations over many rounds, which does not
// round a rare one away as testing.AllocsPerRun does.
func TestPointerFreeTypesAreMovedWithoutAllocating(t *testing.T) {
	type flat struct {
		A bool
		B session
		C [40]inner
	}
	l := layoutOf[flat](t)
	v := flat{A: true, B: session{1, 2}}
	buffer := make([]byte, 0, 1024)
	const rounds = 10_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		buffer = l.Append(buffer[:0], unsafe.Pointer(&v))
		if err := l.Decode(buffer, unsafe.Pointer(&v)); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > rounds/100 {
		t.Errorf("%d allocations in %d rounds", n, rounds)
	}
}

func TestDensityIsFoundWhereMemoryIsTheEncoding(t *testing.T) {
	if !littleEndian {
		t.Skip("integers of this machine are never in the order of the encoding")
	}
	type packed struct {
		A, B uint32
		C    [2]uint64
		D    uint8 // padded at the end only
	}
	if l := layoutOf[packed](t); !l.Dense() {
		t.Errorf("%s takes %d moves", l, len(l.moves))
	}
	if l := layoutOf[struct {
		A uint8
		B uint16
	}](t); l.Dense() {
		t.Errorf("%s has a gap in memory but is dense", l)
	}
	if l := layoutOf[struct {
		_ uint32
		A uint32
	}](t); l.Dense() {
		t.Errorf("%s does not begin where the memory does but is dense", l)
	}
}
