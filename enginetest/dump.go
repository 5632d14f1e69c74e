package enginetest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dumpDepthMax is how deep a value is looked into. What is deeper is equal to dump.
const dumpDepthMax = 64

// dump shows a value so that two that are equal, also deep inside and in unexported
// fields, are shown alike, and others differently.
func dump[T any](v *T) string {
	var b strings.Builder
	dumpValue(&b, reflect.ValueOf(v).Elem(), 0)
	return b.String()
}

func dumpValue(b *strings.Builder, v reflect.Value, depth int) {
	if depth > dumpDepthMax {
		b.WriteString("...")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.String:
		b.WriteString(strconv.Quote(v.String()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		b.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		dumpFloat(b, v.Float())
	case reflect.Complex64, reflect.Complex128:
		dumpFloat(b, real(v.Complex()))
		b.WriteString("+i")
		dumpFloat(b, imag(v.Complex()))
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		if v.Kind() == reflect.Interface {
			fmt.Fprintf(b, "(%s)", v.Elem().Type())
		}
		dumpValue(b, v.Elem(), depth+1)
	case reflect.Struct:
		dumpStruct(b, v, depth)
	case reflect.Array, reflect.Slice:
		dumpList(b, v, depth)
	case reflect.Map:
		dumpMap(b, v, depth)
	default: // a channel or a function cannot be compared
		fmt.Fprintf(b, "%s nil=%v", v.Type(), v.IsNil())
	}
}

// dumpFloat tells apart what differs in bits only, as -0 does.
func dumpFloat(b *strings.Builder, f float64) {
	b.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
	if math.IsNaN(f) {
		fmt.Fprintf(b, "(%x)", math.Float64bits(f))
	}
}

func dumpStruct(b *strings.Builder, v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[time.Time]() && v.CanAddr() { // without how it was come by
		at := (*time.Time)(v.Addr().UnsafePointer())
		b.WriteString(at.UTC().Format(time.RFC3339Nano))
		return
	}
	b.WriteString("{")
	for i := range v.NumField() {
		if v.Type().Field(i).Name == "_" {
			continue
		}
		fmt.Fprintf(b, "%s:", v.Type().Field(i).Name)
		dumpValue(b, v.Field(i), depth+1)
		b.WriteString(" ")
	}
	b.WriteString("}")
}

func dumpList(b *strings.Builder, v reflect.Value, depth int) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b.WriteString("0x")
		for i := range v.Len() {
			fmt.Fprintf(b, "%02x", v.Index(i).Uint())
		}
		return
	}
	b.WriteString("[")
	for i := range v.Len() {
		dumpValue(b, v.Index(i), depth+1)
		b.WriteString(" ")
	}
	b.WriteString("]")
}

// dumpMap shows a map in the order of its keys as they are shown.
func dumpMap(b *strings.Builder, v reflect.Value, depth int) {
	var entries []string
	for k, value := range v.Seq2() {
		var entry strings.Builder
		dumpValue(&entry, k, depth+1)
		entry.WriteString(":")
		dumpValue(&entry, value, depth+1)
		entries = append(entries, entry.String())
	}
	slices.Sort(entries)
	fmt.Fprintf(b, "map%v", entries)
}
