package engine

import (
	"fmt"
	"sync"
)

const (
	// lineBytesMax is the longest line that a JSON takes unless told otherwise.
	lineBytesMax = 1 << 20
	// lineValuesMax is how many brackets and commas a line may have outside its
	// strings. The parser takes about 450 bytes for each of them, so this bounds the
	// memory of one line to some 30 MB.
	lineValuesMax = 1 << 16
	// lineDepthMax is how deep objects and arrays may be nested.
	lineDepthMax = 64
	// quoteBytesMax is how much of a line an error repeats.
	quoteBytesMax = 96
	// parserBytesMax is how many bytes a parser reads before it is dropped. What a
	// parser keeps grows with what it has read, so this bounds what stays behind in
	// the pool, to about 230 times this.
	parserBytesMax = 1 << 16
)

// A JSON turns lines of JSON into keys and events of a table, on the goroutine
// that calls Parse. It is made by [NewJSON].
//
// A JSON is safe for concurrent use and must not be copied.
type JSON[K, E any] struct {
	// LineBytesMax is the length in bytes from which on a line is refused unread.
	// Zero or less means 1 MiB. It must not be changed once Parse has been called.
	LineBytesMax int

	mapping func(*Line) (K, E, error)
	lines   sync.Pool // of *Line
}

// NewJSON returns a JSON that reads each line with mapping. The mapping reads
// straight down, without looking at errors, because the [Line] remembers the
// first thing that was wrong; its own error is for what only it can judge:
//
//	clicks := engine.NewJSON(func(l *engine.Line) (string, Click, error) {
//		return l.Text("user"), Click{At: l.Int("at")}, nil
//	})
//
// The mapping is called by several goroutines at once if Parse is.
func NewJSON[K, E any](mapping func(*Line) (K, E, error)) *JSON[K, E] {
	return &JSON[K, E]{mapping: mapping}
}

// Parse reads one line: exactly one JSON value, with white space around it if
// need be. It does not keep line, and nothing in what it returns points into it.
//
// Every error is a [*LineError], and the key and event beside it are zero. A line
// is refused if it is not JSON as RFC 8259 defines it, not UTF-8 all through,
// longer than LineBytesMax, nested deeper than 64 or of more than 65,536 values; if
// it escapes half of a surrogate pair, which no text holds; if an accessor of the
// [Line] failed; or if the mapping returned an error or panicked. Nothing has
// happened to any table then, and the next line can be parsed.
func (j *JSON[K, E]) Parse(line []byte) (K, E, error) {
	l, _ := j.lines.Get().(*Line)
	if l == nil {
		l = new(Line)
	}
	key, event, err := j.read(l, line)
	if l.close() {
		j.lines.Put(l)
	}
	if err != nil {
		var noKey K
		var noEvent E
		return noKey, noEvent, err
	}
	return key, event, nil
}

// read parses and maps. An accessor's failure goes before the mapping's own
// error, which it most likely caused.
func (j *JSON[K, E]) read(l *Line, line []byte) (key K, event E, err error) {
	if fault := l.open(line, j.limit()); fault != nil {
		return key, event, newLineError(line, "", fault)
	}
	key, event, err = j.call(l)
	if l.failed != nil {
		return key, event, l.failed
	}
	if err != nil {
		return key, event, newLineError(line, "", err)
	}
	return key, event, nil
}

// call runs the mapping and turns its panic into an error.
func (j *JSON[K, E]) call(l *Line) (key K, event E, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("the mapping panicked: %w", p)
		default:
			err = fmt.Errorf("the mapping panicked: %v", p)
		}
	}()
	return j.mapping(l)
}

func (j *JSON[K, E]) limit() int {
	if j.LineBytesMax > 0 {
		return j.LineBytesMax
	}
	return lineBytesMax
}

// A LineError is returned by [JSON.Parse] for a line that it refuses. It holds
// copies only, so it may be kept.
type LineError struct {
	Path  string // the field at fault, as in "properties.mag"; empty if it is the line itself
	Quote string // how the line begins: its first 96 bytes at most
	Err   error  // what is wrong; the mapping's own error if it returned one
}

// Error says what is wrong, where, and how the line begins.
func (e *LineError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("keyfold: bad line: %v, in %q", e.Err, e.Quote)
	}
	return fmt.Sprintf("keyfold: bad line: field %s %v, in %q", e.Path, e.Err, e.Quote)
}

// Unwrap returns Err.
func (e *LineError) Unwrap() error { return e.Err }

func newLineError(line []byte, path string, err error) *LineError {
	return &LineError{Path: path, Quote: shorten(line), Err: err}
}

// shorten copies the beginning of b.
func shorten(b []byte) string {
	if len(b) <= quoteBytesMax {
		return string(b)
	}
	return string(b[:quoteBytesMax-3]) + "..."
}
