package fuzz

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keyfold/keyfold/engine"
)

// reading returns a JSON whose key is what read makes of the line.
func reading[K any](read func(l *engine.Line) K) *engine.JSON[K, struct{}] {
	return engine.NewJSON(func(l *engine.Line) (K, struct{}, error) { return read(l), struct{}{}, nil })
}

// Goal: nothing is accepted that the standard library refuses or reads otherwise,
// and nothing refused that it accepts, apart from the documented bounds.
//
// Method: read the same bytes both ways.
func FuzzJSONAgreesWithTheStandardLibrary(f *testing.F) {
	for _, s := range []string{
		`{"date":"2001-01-01T00:01:00Z","delay":33,"distance":2176,"origin":"LAS","destination":"PHL"}`,
		`"\ud83d\ude00 \u0041\n"`, `-0`, `1e400`, `0.1e-7`, `18446744073709551615`, `-9223372036854775809`,
		`{"a":{"b":[1,2,{"c":null}]}}`, ` [true,false] `, `{"v":1.0.1}`, `{"v":NaN}`, `01`, "\"\xff\"", `"\ud800"`, `[[[[`, `"\u+123"`, "\"\x1d\\b\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var text *string
		var whole, number any
		_, _, err := reading(func(l *engine.Line) int {
			if s := l.Text(); l.Err() == nil {
				text = &s
			}
			return 0
		}).Parse(line)
		var bad *engine.LineError
		bounds := err != nil && (strings.Contains(err.Error(), "nested deeper than") || strings.Contains(err.Error(), "values or more"))
		refused := errors.As(err, &bad) && bad.Path == "" && !strings.HasPrefix(bad.Err.Error(), "it is ")
		if refused == json.Valid(line) && utf8.Valid(line) && !bounds && !bytes.Contains(line, []byte(`\u`)) {
			t.Fatalf("%q: %v, but valid is %v", line, err, json.Valid(line))
		}
		if refused {
			return
		}
		if err := json.Unmarshal(line, &whole); err != nil && !strings.Contains(err.Error(), "float64") {
			t.Fatalf("%q was accepted: %v", line, err)
		}
		if s, ok := whole.(string); ok != (text != nil) || ok && s != *text {
			t.Fatalf("%q: text %v, want %q", line, text, s)
		}
		n, _, err := reading(func(l *engine.Line) float64 { return l.Float() }).Parse(line)
		if err == nil {
			number = n
		}
		if want, ok := whole.(float64); ok && number != want {
			t.Fatalf("%q: %v, want %v", line, number, want)
		}
		i, _, err := reading(func(l *engine.Line) int64 { return l.Int() }).Parse(line)
		if want, wrong := strconv.ParseInt(strings.Trim(string(line), " \t\r\n"), 10, 64); (err == nil) != (wrong == nil) || err == nil && i != want {
			t.Fatalf("%q: %d %v, want %d %v", line, i, err, want, wrong)
		}
	})
}
