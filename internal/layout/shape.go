package layout

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Shape reads encoded values by their description alone, for who has no Go type of
// them. It never changes and is safe for concurrent use. The zero Shape is not usable;
// call [ParseShape].
type Shape struct{ node *node }

// scalarBytes are the encoded sizes of what has no parts, but for what has no fixed size.
var scalarBytes = map[string]int{
	"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
	"float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}

// ParseShape reads what [Layout.String] writes. Descriptions of codecs are not among it.
func ParseShape(text string) (*Shape, error) {
	n, err := parse(text)
	if err == nil {
		err = n.known()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q", err, text)
	}
	return &Shape{n}, nil
}

// known checks that the parts of a description are types of this package.
func (n *node) known() error {
	switch n.kind {
	case structNode:
		for _, f := range n.fields {
			if err := f.node.known(); err != nil {
				return err
			}
		}
		return nil
	case arrayNode:
		if count, err := strconv.Atoi(n.length); err != nil || count < 0 || count > BytesMax {
			return errDescription
		}
		return n.elem.known()
	}
	if _, ok := scalarBytes[n.text]; !ok && n.text != "string" && n.text != "[]uint8" {
		return errDescription
	}
	return nil
}

// Size says how many bytes every value takes; ok is false if that depends on the value.
func (s *Shape) Size() (size int, ok bool) {
	size = s.node.size()
	return max(size, 0), size >= 0
}

func (n *node) size() int {
	switch n.kind {
	case structNode:
		total := 0
		for _, f := range n.fields {
			size := f.node.size()
			if size < 0 {
				return -1
			}
			total += size
		}
		return total
	case arrayNode:
		count, _ := strconv.Atoi(n.length)
		if size := n.elem.size(); size >= 0 || count == 0 {
			return max(size, 0) * count
		}
		return -1
	}
	if size, ok := scalarBytes[n.text]; ok {
		return size
	}
	return -1
}

// Check says whether b is a value as [Layout.Decode] would take it. The error matches
// [ErrMalformed].
func (s *Shape) Check(b []byte) error {
	_, err := s.render(nil, b, false)
	return err
}

// AppendJSON appends the value b as JSON: structs as objects in the order of their
// fields, complex numbers as arrays of two, bytes and arrays of bytes as hexadecimal
// text, floats that are no numbers as text. A string that is no UTF-8 becomes
// {"hex": ...}. The error matches [ErrMalformed].
func (s *Shape) AppendJSON(dst, b []byte) ([]byte, error) { return s.render(dst, b, true) }

func (s *Shape) render(dst, b []byte, show bool) ([]byte, error) {
	r := reading{rest: b, dst: dst, show: show}
	var err error
	switch s.node.text {
	case "string":
		r.text(b)
		r.rest = nil
	case "[]uint8":
		r.bytes(b)
		r.rest = nil
	default:
		err = r.value(s.node)
	}
	if err == nil && len(r.rest) != 0 {
		err = fmt.Errorf("%d are left over", len(r.rest))
	}
	if err != nil {
		return dst, fmt.Errorf("%w: %d bytes are no %s: %w", ErrMalformed, len(b), s.node.text, err)
	}
	return r.dst, nil
}

// A reading is one value on its way from the encoding to JSON, or to nothing.
type reading struct {
	rest []byte
	dst  []byte
	show bool
}

func (r *reading) put(text string) {
	if r.show {
		r.dst = append(r.dst, text...)
	}
}

func (r *reading) take(n int) ([]byte, error) {
	if n > len(r.rest) {
		return nil, errShort
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

// value reads one value of type n.
func (r *reading) value(n *node) error {
	switch n.kind {
	case structNode:
		return r.structure(n)
	case arrayNode:
		return r.array(n)
	}
	if n.text == "string" || n.text == "[]uint8" {
		length, rest, err := decodeLength(r.rest)
		if err != nil {
			return err
		}
		if r.rest = rest[length:]; n.text == "string" {
			r.text(rest[:length])
		} else {
			r.bytes(rest[:length])
		}
		return nil
	}
	b, err := r.take(scalarBytes[n.text])
	if err != nil {
		return err
	}
	if n.text == "bool" && b[0] > 1 {
		return errBool
	}
	if r.show {
		r.put(number(n.text, b))
	}
	return nil
}

func (r *reading) structure(n *node) error {
	r.put("{")
	for i, f := range n.fields {
		if i > 0 {
			r.put(",")
		}
		r.put(strconv.Quote(f.name))
		r.put(":")
		if err := r.value(f.node); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	r.put("}")
	return nil
}

func (r *reading) array(n *node) error {
	count, _ := strconv.Atoi(n.length)
	if n.elem.text == "uint8" {
		b, err := r.take(count)
		if err == nil {
			r.bytes(b)
		}
		return err
	}
	r.put("[")
	if n.elem.size() == 0 {
		count = 0 // however many there are, none has a byte
	}
	for i := range count {
		if i > 0 {
			r.put(",")
		}
		if err := r.value(n.elem); err != nil {
			return err
		}
	}
	r.put("]")
	return nil
}

// text shows a string.
func (r *reading) text(b []byte) {
	if !r.show {
		return
	}
	if !utf8.Valid(b) {
		r.put(`{"hex":"` + hex.EncodeToString(b) + `"}`)
		return
	}
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(b)) // a string cannot fail
	r.put(strings.TrimSuffix(out.String(), "\n"))
}

func (r *reading) bytes(b []byte) {
	if r.show {
		r.put(`"` + hex.EncodeToString(b) + `"`)
	}
}

// number shows a scalar in JSON.
func number(text string, b []byte) string {
	switch text {
	case "bool":
		return strconv.FormatBool(b[0] == 1)
	case "float32":
		return float(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)
	case "float64":
		return float(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	case "complex64", "complex128":
		half := map[string]string{"complex64": "float32", "complex128": "float64"}[text]
		return "[" + number(half, b[:len(b)/2]) + "," + number(half, b[len(b)/2:]) + "]"
	}
	var all [8]byte
	copy(all[:], b)
	v := binary.LittleEndian.Uint64(all[:])
	if strings.HasPrefix(text, "u") {
		return strconv.FormatUint(v, 10)
	}
	shift := 64 - 8*len(b)
	return strconv.FormatInt(int64(v<<shift)>>shift, 10)
}

func float(v float64, bits int) string {
	text := strconv.FormatFloat(v, 'g', -1, bits)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return `"` + text + `"`
	}
	return text
}
