package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fastjson"
)

// A Line is one parsed line of JSON, lent to the mapping of a [JSON]. Its
// accessors take a path: member names from the outside in, and for an element of
// an array its index in decimal, as in Text("items", "0", "sku"). No path at all
// means the whole line. Where an object repeats a name, the first member counts.
//
// The first accessor that cannot give what it was asked for is remembered, and
// [JSON.Parse] returns that as its error; it and all later ones return zero
// values. What accessors return is the caller's own: none of it points into the line.
//
// A Line belongs to the call of the mapping that it was lent to. It must not be
// used after that call returns, nor by another goroutine.
type Line struct {
	parser  fastjson.Parser
	root    *fastjson.Value // nil while nothing is lent
	text    []byte          // the caller's bytes, for errors
	escaped bool            // somewhere in text is a backslash, so names may be escaped
	failed  *LineError      // the first failure
	number  []byte          // the digits of the number being read
	read    int             // bytes read by parser so far
}

// Text returns the string at path.
func (l *Line) Text(path ...string) string {
	return string(l.bytes(path))
}

// AppendText appends the string at path to dst and returns the longer slice, or
// dst itself if there is no string. It is for keys put together from several
// fields, without an allocation for each.
func (l *Line) AppendText(dst []byte, path ...string) []byte {
	return append(dst, l.bytes(path)...)
}

// Int returns the number at path. The number must fit and be written in digits
// only, with or without a minus: 1.0 and 1e3 are failures.
func (l *Line) Int(path ...string) int64 {
	v := l.typed(fastjson.TypeNumber, path)
	if v == nil {
		return 0
	}
	n, err := v.Int64()
	if err != nil {
		l.fail(path, l.misfit(v, "-9223372036854775808 to 9223372036854775807"))
		return 0
	}
	return n
}

// Uint returns the number at path. The number must fit and be written in digits
// only: -1, 1.0 and 1e3 are failures.
func (l *Line) Uint(path ...string) uint64 {
	v := l.typed(fastjson.TypeNumber, path)
	if v == nil {
		return 0
	}
	n, err := v.Uint64()
	if err != nil {
		l.fail(path, l.misfit(v, "0 to 18446744073709551615"))
		return 0
	}
	return n
}

// Float returns the number at path, rounded to the nearest float64. A number too
// large for one is a failure.
func (l *Line) Float(path ...string) float64 {
	v := l.typed(fastjson.TypeNumber, path)
	if v == nil {
		return 0
	}
	l.number = v.MarshalTo(l.number[:0])
	f, err := strconv.ParseFloat(string(l.number), 64)
	if err != nil {
		l.fail(path, fmt.Errorf("is %s, which is too large for a float64", shorten(l.number)))
		return 0
	}
	return f
}

// Bool returns the true or false at path.
func (l *Line) Bool(path ...string) bool {
	v := l.find(path)
	if v == nil {
		l.missing(path)
		return false
	}
	b, err := v.Bool()
	if err != nil {
		l.fail(path, fmt.Errorf("is %s, not true or false", jsonName(v)))
		return false
	}
	return b
}

// Time returns the point in time at path, a string in the form of RFC 3339 such
// as "2001-01-01T00:01:00Z".
func (l *Line) Time(path ...string) time.Time {
	var t time.Time
	v := l.typed(fastjson.TypeString, path)
	if v == nil {
		return t
	}
	text, _ := v.StringBytes()
	if err := t.UnmarshalText(text); err != nil {
		l.fail(path, fmt.Errorf("is %q, not a time as in 2006-01-02T15:04:05Z", shorten(text)))
		return time.Time{}
	}
	return t
}

// Count returns how many elements the array at path has.
func (l *Line) Count(path ...string) int {
	v := l.typed(fastjson.TypeArray, path)
	if v == nil {
		return 0
	}
	elements, _ := v.Array()
	return len(elements)
}

// Has reports whether there is anything but null at path. It never fails, so it
// is how a mapping reads a field that may be left out.
func (l *Line) Has(path ...string) bool {
	v := l.find(path)
	return v != nil && v.Type() != fastjson.TypeNull
}

// Err returns the first failure so far, for a mapping that wants to stop early.
func (l *Line) Err() error {
	if l.failed == nil {
		return nil
	}
	return l.failed
}

// bytes returns the string at path, within the parser's own memory.
func (l *Line) bytes(path []string) []byte {
	v := l.typed(fastjson.TypeString, path)
	if v == nil {
		return nil
	}
	text, _ := v.StringBytes()
	return text
}

// typed returns the value at path if it is of type t, and else fails.
func (l *Line) typed(t fastjson.Type, path []string) *fastjson.Value {
	v := l.find(path)
	if v == nil {
		l.missing(path)
		return nil
	}
	if v.Type() != t {
		l.fail(path, fmt.Errorf("is %s, not %s", jsonName(v), jsonTypeName(t)))
		return nil
	}
	return v
}

// find returns the value at path, or nil if there is none or an accessor has
// failed before.
func (l *Line) find(path []string) *fastjson.Value {
	if l.failed != nil {
		return nil
	}
	v := l.root
	for _, name := range path {
		if v == nil {
			return nil
		}
		v = l.step(v, name)
	}
	return v
}

// step returns the member or element name of v, or nil.
func (l *Line) step(v *fastjson.Value, name string) *fastjson.Value {
	switch v.Type() {
	case fastjson.TypeObject:
		members, _ := v.Object()
		if l.escaped {
			// Get compares names as they are written until one is not found, and as they
			// read from then on. Visit makes it the latter from the start; else it would
			// depend on earlier look-ups which of two equal names is the first.
			members.Visit(func([]byte, *fastjson.Value) {})
		}
		return members.Get(name)
	case fastjson.TypeArray:
		elements, _ := v.Array()
		i, err := strconv.ParseUint(name, 10, 31)
		if err != nil || i >= uint64(len(elements)) {
			return nil
		}
		return elements[i]
	default:
		return nil
	}
}

// missing fails because find found nothing at path, and says how far it came.
func (l *Line) missing(path []string) {
	if l.failed != nil {
		return
	}
	if l.root == nil {
		l.fail(path, errors.New("is asked for after the mapping returned"))
		return
	}
	for i := range path {
		v := l.find(path[:i])
		if t := v.Type(); t != fastjson.TypeObject && t != fastjson.TypeArray {
			l.fail(path[:i], fmt.Errorf("is %s, so it has no %s", jsonName(v), strings.Join(path[i:], ".")))
			return
		}
		if l.step(v, path[i]) == nil {
			break
		}
	}
	l.fail(path, errors.New("is missing"))
}

// fail remembers err as the failure of the line, unless there is one already.
func (l *Line) fail(path []string, err error) {
	if l.failed != nil {
		return
	}
	name := strings.Join(path, ".")
	if name == "" {
		err = fmt.Errorf("it %w", err)
	}
	l.failed = newLineError(l.text, name, err)
}

// misfit says why number v is not an integer of the given bounds.
func (l *Line) misfit(v *fastjson.Value, bounds string) error {
	l.number = v.MarshalTo(l.number[:0])
	if strings.ContainsAny(string(l.number), ".eE") {
		return fmt.Errorf("is %s, not a whole number written in digits", shorten(l.number))
	}
	return fmt.Errorf("is %s, outside %s", shorten(l.number), bounds)
}

func jsonName(v *fastjson.Value) string { return jsonTypeName(v.Type()) }

func jsonTypeName(t fastjson.Type) string {
	switch t {
	case fastjson.TypeNull, fastjson.TypeTrue, fastjson.TypeFalse:
		return t.String()
	case fastjson.TypeArray, fastjson.TypeObject:
		return "an " + t.String()
	default:
		return "a " + t.String()
	}
}
