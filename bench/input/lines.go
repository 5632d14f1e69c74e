package input

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/valyala/fastjson"
)

// lines are the rows of NDJSON.
type lines struct {
	path   string
	text   *bufio.Reader
	number uint64
	keys   [][]string
	value  []string // nil: every event counts as 1
	join   keyJoin
	field  []byte // a number that becomes part of a key, as it is written
	parser fastjson.Parser
}

func newLines(o Options, text *bufio.Reader) (*lines, error) {
	keys, err := parsePaths(o.Key)
	if err != nil {
		return nil, fmt.Errorf("input: key: %w", err)
	}
	l := &lines{path: o.Path, text: text, keys: keys, join: keyJoin{parts: len(keys)}}
	if o.Value != "" {
		if l.value, err = parsePath(o.Value); err != nil {
			return nil, fmt.Errorf("input: value: %w", err)
		}
	}
	return l, nil
}

// row is the key and value of the next line that is not blank.
func (l *lines) row() ([]byte, float64, error) {
	line, err := l.line()
	if err != nil {
		return nil, 0, err
	}
	value, err := l.parse(line)
	if err != nil {
		return nil, 0, lineError(l.path, l.number, line, err)
	}
	return l.join.key, value, nil
}

// line is the next line that is not blank, without its end. It is valid until the
// next call.
func (l *lines) line() ([]byte, error) {
	for {
		line, err := l.text.ReadSlice('\n')
		l.number++
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, lineError(l.path, l.number, line, errLineTooLong)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("input: %s: line %d: %w", l.path, l.number, err)
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, io.EOF
		}
	}
}

// parse leaves the key in join. fastjson's parser accepts numbers that are none,
// so the line is validated first; both passes together take less than the line's
// share of decompression and apply (BenchmarkLines).
func (l *lines) parse(line []byte) (float64, error) {
	if err := fastjson.ValidateBytes(line); err != nil {
		return 0, short(err)
	}
	v, err := l.parser.ParseBytes(line)
	if err != nil {
		return 0, short(err)
	}
	l.join.reset()
	for _, path := range l.keys {
		if err := l.addKey(v, path); err != nil {
			return 0, err
		}
	}
	if l.value == nil {
		return 1, nil
	}
	return number(v.Get(l.value...), l.value)
}

// short cuts off what fastjson appends to its errors: the rest of the line.
func short(err error) error {
	text, _, _ := strings.Cut(err.Error(), "; unparsed tail")
	return errors.New("not valid JSON: " + text)
}

// addKey adds a field to the key: a text as it is, a number or a truth value as
// it is written.
func (l *lines) addKey(v *fastjson.Value, path []string) error {
	field := v.Get(path...)
	if field == nil {
		return fmt.Errorf("there is no field .%s", strings.Join(path, "."))
	}
	switch field.Type() {
	case fastjson.TypeString:
		text, err := field.StringBytes()
		l.join.add(text)
		return err
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		l.field = field.MarshalTo(l.field[:0])
		l.join.add(l.field)
		return nil
	default:
		return fmt.Errorf("field .%s is %s and cannot be a key", strings.Join(path, "."), field.Type())
	}
}

// number is the finite number in a field.
func number(field *fastjson.Value, path []string) (float64, error) {
	if field == nil {
		return 0, fmt.Errorf("there is no field .%s", strings.Join(path, "."))
	}
	f, err := field.Float64()
	if err != nil {
		return 0, fmt.Errorf("field .%s is not a number", strings.Join(path, "."))
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, fmt.Errorf("field .%s is too large a number", strings.Join(path, "."))
	}
	return f, nil
}
