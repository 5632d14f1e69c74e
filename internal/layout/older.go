package layout

import (
	"fmt"
	"reflect"
)

// Older gives the layout of values that were encoded by an older form of t, which had
// the description old: one that lacks fields at the end of a struct, of t itself or of
// one inside of it, also within arrays. Decode sets the fields that were there and leaves
// the others as they are. Everything else must be as it was, name by name, type by type:
// else the error says the difference in words.
func Older(t reflect.Type, old string) (*Layout, error) {
	now, err := Of(t)
	if err != nil || now.text == old {
		return now, err
	}
	b := builder{native: littleEndian}
	n, err := parse(old)
	if err != nil || !b.addOlder(t, n, 0) {
		return nil, fmt.Errorf("layout: %s", Diff(old, now.text))
	}
	l := &Layout{text: old, moves: b.moves, pointerFree: now.pointerFree}
	l.size = sizeOf(l.moves)
	l.dense = isDense(l.moves)
	return l, nil
}

// addOlder adds the parts of t at offset at that its older form n had. It says whether n
// is one.
func (b *builder) addOlder(t reflect.Type, n *node, at uintptr) bool {
	now := builder{native: b.native}
	switch err := now.add(t, 0, ""); {
	case err != nil:
		return false
	case now.text.String() == n.text:
		b.pushEach(now.moves, at, 1, 0)
		return true
	case t.Kind() == reflect.Struct && n.kind == structNode:
		return b.addOlderStruct(t, n.fields, at)
	case t.Kind() == reflect.Array && n.kind == arrayNode && fmt.Sprint(t.Len()) == n.length:
		one := builder{native: b.native}
		if !one.addOlder(t.Elem(), n.elem, 0) {
			return false
		}
		b.pushArray(one.moves, at, uintptr(t.Len()), t.Elem().Size())
		return true
	}
	return false
}

// addOlderStruct adds the fields that there were: the first of those that have a name.
func (b *builder) addOlderStruct(t reflect.Type, fields []field, at uintptr) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" || len(fields) == 0 {
			continue
		}
		if f.Name != fields[0].name || !b.addOlder(f.Type, fields[0].node, at+f.Offset) {
			return false
		}
		fields = fields[1:]
	}
	return len(fields) == 0
}
