package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// open checks and parses line. The line must stay as it is until close.
func (l *Line) open(line []byte, limit int) error {
	l.failed = nil
	if err := checkLine(line, limit); err != nil {
		return err
	}
	l.read += len(line)
	root, err := l.parser.ParseBytes(line)
	if err != nil {
		return fmt.Errorf("not JSON: %s", shorten([]byte(err.Error())))
	}
	l.root, l.text = root, line
	l.escaped = bytes.IndexByte(line, '\\') >= 0
	return nil
}

// close ends the loan and reports whether the parser may serve again.
func (l *Line) close() bool {
	l.root, l.text, l.failed = nil, nil, nil
	return l.read < parserBytesMax && cap(l.number) < parserBytesMax
}

// checkLine is what stands between the parser and a line: fastjson parses 1.0.1, NaN
// and 01 as numbers and takes any bytes as text; its validator recurses as deep as
// the line is nested and overlooks some control characters.
func checkLine(line []byte, limit int) error {
	if len(line) > limit {
		return fmt.Errorf("%d bytes long, and %d are allowed", len(line), limit)
	}
	if !utf8.Valid(line) {
		return fmt.Errorf("not UTF-8 at byte %d", firstInvalid(line))
	}
	if err := checkShape(line); err != nil {
		return err
	}
	if err := fastjson.ValidateBytes(line); err != nil {
		return jsonSyntaxError(line, err)
	}
	if bytes.IndexByte(line, '\\') < 0 {
		return nil
	}
	if hasControl(line) && !json.Valid(line) {
		return jsonSyntaxError(line, errors.New("control character in a string"))
	}
	return checkSurrogates(line)
}

// hasControl reports whether line has a control character. The validator does not
// see one that stands in a string before an escape.
func hasControl(line []byte) bool {
	for _, c := range line {
		if c < 0x20 {
			return true
		}
	}
	return false
}

// firstInvalid returns where the first byte is that no UTF-8 text has there.
func firstInvalid(line []byte) int {
	at := 0
	for at < len(line) {
		r, n := utf8.DecodeRune(line[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}

// checkShape bounds what the parser will take, before it takes it. Most lines have
// too few brackets and commas, wherever these stand, to need a second look.
func checkShape(line []byte) error {
	brackets := bytes.Count(line, []byte("{")) + bytes.Count(line, []byte("["))
	if brackets <= lineDepthMax && brackets+bytes.Count(line, []byte(",")) <= lineValuesMax {
		return nil
	}
	depth, values := lineShape(line)
	if depth > lineDepthMax {
		return fmt.Errorf("nested deeper than %d", lineDepthMax)
	}
	if values > lineValuesMax {
		return fmt.Errorf("of %d values or more, and %d are allowed", values, lineValuesMax)
	}
	return nil
}

// lineShape returns how deep a line is nested and how many brackets and commas it
// has outside its strings, or would have if it were JSON.
func lineShape(line []byte) (depth, values int) {
	now, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			values++
			depth = max(depth, now)
		case c == '}' || c == ']':
			now--
		case c == ',':
			values++
		}
	}
	return depth, values
}

// jsonSyntaxError says where line ceases to be JSON. The standard library knows the
// byte; refused is what fastjson said, in case the two should ever disagree.
func jsonSyntaxError(line []byte, refused error) error {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(line, &raw); errors.As(err, &syntax) {
		return fmt.Errorf("not JSON at byte %d: %s", max(syntax.Offset-1, 0), syntax)
	}
	return fmt.Errorf("not JSON: %s", shorten([]byte(refused.Error())))
}

// checkSurrogates refuses an escaped surrogate without its other half. The line
// is JSON, so every backslash begins a whole escape.
func checkSurrogates(line []byte) error {
	for i := 0; i < len(line); {
		skip := bytes.IndexByte(line[i:], '\\')
		if skip < 0 {
			return nil
		}
		i += skip
		first, second := surrogate(line[i:]), surrogate(line[min(i+6, len(line)):])
		switch {
		case first == highSurrogate && second == lowSurrogate:
			i += 12
		case first == notSurrogate:
			i += 2
		default:
			return fmt.Errorf("half a surrogate pair, %s, at byte %d", line[i:i+6], i)
		}
	}
	return nil
}

// surrogateHalf is which half of a surrogate pair an escape stands for.
type surrogateHalf int

const (
	notSurrogate surrogateHalf = iota
	highSurrogate
	lowSurrogate
)

// surrogate classifies the escape that b begins with, if it begins with one.
func surrogate(b []byte) surrogateHalf {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return notSurrogate
	}
	unit, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	switch {
	case err != nil || unit < 0xD800 || unit > 0xDFFF:
		return notSurrogate
	case unit < 0xDC00:
		return highSurrogate
	default:
		return lowSurrogate
	}
}
