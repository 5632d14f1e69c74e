package layout

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// flatMovesMax is how many moves an array may become before it is kept as a loop.
const flatMovesMax = 32

// A TypeError reports a type that has no layout.
type TypeError struct {
	Field   string       // path from the type that was asked for: "Session.Tags"
	Type    reflect.Type // the type that is refused
	Key     bool         // it was asked for as a key
	Reason  string       // what it is: "a map"
	Instead string       // what may take its place without a codec: "an int64", or nothing
}

// Error says which field it is, what is wrong with it and what to do.
func (e *TypeError) Error() string {
	codec := "give the Spec a StateCodec (for an event: an EventCodec)"
	if e.Key {
		codec = "give the Spec a KeyCodec"
	}
	if e.Instead != "" {
		codec = "use " + e.Instead + ", or " + codec
	}
	subject := "type " + e.Field
	if strings.Contains(e.Field, ".") || strings.HasSuffix(e.Field, "]") {
		subject = "field " + e.Field
	}
	return fmt.Sprintf("layout: %s is %s: %s", subject, e.Reason, codec)
}

// builder collects the description and the moves of one type.
type builder struct {
	native bool // integers in memory are in the order of the encoding
	key    bool
	text   strings.Builder
	moves  []move
}

// scalar is how one kind of number is described and moved.
type scalar struct {
	name  string
	width int // bytes that are swapped together where the machine is big-endian
}

var scalars = map[reflect.Kind]scalar{
	reflect.Bool: {"bool", 1},
	reflect.Int8: {"int8", 1}, reflect.Uint8: {"uint8", 1},
	reflect.Int16: {"int16", 2}, reflect.Uint16: {"uint16", 2},
	reflect.Int32: {"int32", 4}, reflect.Uint32: {"uint32", 4},
	reflect.Int64: {"int64", 8}, reflect.Uint64: {"uint64", 8},
	reflect.Int: {"int64", 8}, reflect.Uint: {"uint64", 8},
	reflect.Float32: {"float32", 4}, reflect.Float64: {"float64", 8},
	reflect.Complex64: {"complex64", 4}, reflect.Complex128: {"complex128", 8},
}

// compile makes the layout of t with the settings of b.
func compile(t reflect.Type, b builder) (*Layout, error) {
	if t == nil {
		return nil, &TypeError{Field: "nil", Key: b.key, Reason: "no type at all"}
	}
	name := t.Name()
	if name == "" {
		name = t.String()
	}
	if err := b.add(t, 0, name); err != nil {
		return nil, err
	}
	switch t.Kind() {
	case reflect.String:
		b.moves[0].kind = moveWholeString
	case reflect.Slice:
		b.moves[0].kind = moveWholeSlice
	}
	l := &Layout{text: b.text.String(), moves: b.moves, pointerFree: pointerFree(t)}
	l.size = sizeOf(l.moves)
	l.dense = isDense(l.moves)
	return l, nil
}

// isDense says whether moves copy the beginning of the memory as it is.
func isDense(moves []move) bool {
	return len(moves) == 0 || len(moves) == 1 && moves[0].kind == moveBytes && moves[0].offset == 0
}

// add adds a value of type t at offset at.
func (b *builder) add(t reflect.Type, at uintptr, path string) error {
	if t.Size() > BytesMax {
		return b.refuse(t, path, fmt.Sprintf("%d bytes long, more than %d", t.Size(), BytesMax), "")
	}
	switch t.Kind() {
	case reflect.Struct:
		return b.addStruct(t, at, path)
	case reflect.Array:
		return b.addArray(t, at, path)
	case reflect.String:
		b.text.WriteString("string")
		b.moves = append(b.moves, move{kind: moveString, offset: at})
		return nil
	case reflect.Slice:
		return b.addSlice(t, at, path)
	}
	return b.addScalar(t, at, path)
}

// addScalar adds a number or a bool, or refuses what is neither.
func (b *builder) addScalar(t reflect.Type, at uintptr, path string) error {
	s, ok := scalars[t.Kind()]
	if !ok {
		return b.refuse(t, path, refused[t.Kind()], "")
	}
	if b.key && t.Kind() >= reflect.Float32 && t.Kind() <= reflect.Complex128 {
		return b.refuse(t, path, "a "+s.name+", of which equal values may differ in bytes (0 and -0)", "an integer")
	}
	b.text.WriteString(s.name)
	b.push(move{kind: b.scalarKind(t, s.width), offset: at, bytes: t.Size()})
	return nil
}

// scalarKind chooses the cheapest move that is right for t on this machine.
func (b *builder) scalarKind(t reflect.Type, width int) moveKind {
	k := t.Kind()
	switch {
	case k == reflect.Bool:
		return moveBools
	case k == reflect.Int && t.Size() == 4:
		return moveInt32s
	case k == reflect.Uint && t.Size() == 4:
		return moveUint32s
	case b.native || width == 1:
		return moveBytes
	case width == 2:
		return moveWords2
	case width == 4:
		return moveWords4
	}
	return moveWords8
}

// addSlice adds a byte slice, or refuses another one.
func (b *builder) addSlice(t reflect.Type, at uintptr, path string) error {
	if t.Elem().Kind() != reflect.Uint8 {
		return b.refuse(t, path, "a slice of "+t.Elem().String(), "an array or a []byte")
	}
	b.text.WriteString("[]uint8")
	b.moves = append(b.moves, move{kind: moveSlice, offset: at})
	return nil
}

// addStruct adds the fields that have a name, in order.
func (b *builder) addStruct(t reflect.Type, at uintptr, path string) error {
	if t == reflect.TypeFor[time.Time]() {
		return b.refuse(t, path, "a time.Time, which holds a pointer", "an int64 with its UnixNano")
	}
	b.text.WriteString("struct{")
	separator := ""
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue
		}
		b.text.WriteString(separator + f.Name + " ")
		separator = "; "
		if err := b.add(f.Type, at+f.Offset, path+"."+f.Name); err != nil {
			return err
		}
	}
	b.text.WriteString("}")
	return nil
}

// addArray adds the elements as one run of bytes, as moves side by side, or as a loop.
func (b *builder) addArray(t reflect.Type, at uintptr, path string) error {
	n, stride := uintptr(t.Len()), t.Elem().Size()
	one := builder{native: b.native, key: b.key}
	if err := one.add(t.Elem(), 0, path+"[]"); err != nil {
		return err
	}
	b.text.WriteString("[" + strconv.Itoa(t.Len()) + "]" + one.text.String())
	b.pushArray(one.moves, at, n, stride)
	return nil
}

// pushArray adds n elements that lie stride bytes apart, by the moves of one.
func (b *builder) pushArray(one []move, at, n, stride uintptr) {
	switch {
	case n == 0 || len(one) == 0:
	case len(one) == 1 && one[0].isRun() && one[0].offset == 0 && one[0].bytes == stride:
		b.push(move{kind: one[0].kind, offset: at, bytes: n * stride})
	case n <= flatMovesMax && n*uintptr(len(one)) <= flatMovesMax:
		b.pushEach(one, at, n, stride)
	default:
		b.push(move{kind: moveLoop, offset: at, count: int(n), stride: stride, body: one})
	}
}

// pushEach adds the moves of n elements that lie stride bytes apart from at on.
func (b *builder) pushEach(moves []move, at, n, stride uintptr) {
	for i := range n {
		for _, m := range moves {
			m.offset += at + i*stride
			b.push(m)
		}
	}
}

// push adds m, as part of the run before it if it continues that.
func (b *builder) push(m move) {
	if i := len(b.moves) - 1; i >= 0 && b.moves[i].continuedBy(m) {
		b.moves[i].bytes += m.bytes
		return
	}
	b.moves = append(b.moves, m)
}

// refuse makes the error for a type without a layout. Instead is what the program
// may use in its place, if there is anything.
func (b *builder) refuse(t reflect.Type, path, reason, instead string) error {
	return &TypeError{Field: path, Type: t, Key: b.key, Reason: reason, Instead: instead}
}

// refused names the kinds that have no layout.
var refused = map[reflect.Kind]string{
	reflect.Map: "a map", reflect.Pointer: "a pointer", reflect.Interface: "an interface",
	reflect.Chan: "a channel", reflect.Func: "a function", reflect.Uintptr: "a uintptr",
	reflect.UnsafePointer: "an unsafe.Pointer",
}

// pointerFree says whether t holds no pointers, blank fields included.
func pointerFree(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() == 0 || pointerFree(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !pointerFree(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	_, ok := scalars[t.Kind()]
	return ok || t.Kind() == reflect.Uintptr
}
