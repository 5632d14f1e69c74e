package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/testdata"
)

// read opens text as standard input and returns its events as `key=value` words.
func read(t *testing.T, o Options, text string) (string, error) {
	t.Helper()
	o.Path, o.Stdin = "-", strings.NewReader(text)
	r, err := Open(o)
	if err != nil {
		return "", err
	}
	var words []string
	err = workload.ForEach(r, func(e workload.Event) error {
		if e.Ordinal != uint64(len(words)) {
			t.Errorf("event %d has ordinal %d", len(words), e.Ordinal)
		}
		words = append(words, fmt.Sprintf("%s=%v", e.Key, e.Value))
		return nil
	})
	return strings.Join(words, " "), errors.Join(err, r.Close())
}

func TestFieldsBecomeKeysAndValues(t *testing.T) {
	for _, c := range []struct {
		name, format, key, value, text, want string
	}{
		{"one field", "", ".a", ".v", "{\"a\":\"x\",\"v\":1}\n{\"a\":\"y\",\"v\":-2.5e1}", "x=1 y=-25"},
		{"no value counts", "", ".a", "", `{"a":"x"}`, "x=1"},
		{"two fields", "", ".a,.b", ".v", `{"a":"x","b":"y","v":3}`, "x,y=3"},
		{"nested", "", ".p.q", ".p.v", `{"p":{"q":"x","v":7}}`, "x=7"},
		{"escapes", "", ".a", "", `{"a":"\u0041\n"}`, "A\n=1"},
		{"numbers and truth as written", "", ".a,.b", "", `{"a":1.50,"b":true}`, "1.50,true=1"},
		{"commas cannot confuse", "", ".a,.b", "", "{\"a\":\"x,y\",\"b\":\"z\"}\n{\"a\":\"x\",\"b\":\"y,z\"}", `x\,y,z=1 x,y\,z=1`},
		{"blank lines, CRLF, byte order mark", "", ".a", "", "\xef\xbb\xbf\r\n{\"a\":\"x\"}\r\n\n \n{\"a\":\"y\"}\r\n", "x=1 y=1"},
		{"nothing", "", ".a", "", "", ""},
		{"csv", "csv", ".a,.c", ".b", "a,b,c\nx,1,z\n\"x,\n1\",2.5,w\n", "x,z=1 x\\,\n1,w=2.5"},
		{"csv without value", "csv", ".c d", "", "a,c d\n1,2\n", "2=1"},
	} {
		got, err := read(t, Options{Format: c.format, Key: c.key, Value: c.value}, c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestBrokenLineIsNamedByItsNumber(t *testing.T) {
	good := "{\"a\":\"x\",\"v\":1}\n"
	for _, c := range []struct {
		name, text string
		format     string
		line       uint64
		says       string
	}{
		{"not JSON", good + "\n{oops", "", 3, "not valid JSON"},
		{"two values", good + `{"a":"x","v":1}{"a":"x","v":1}`, "", 2, "not valid JSON"},
		{"a number that is none", good + `{"a":"x","v":1.0.1}`, "", 2, "not valid JSON"},
		{"NaN", `{"a":"x","v":NaN}`, "", 1, "not valid JSON"},
		{"too large a number", `{"a":"x","v":1e999}`, "", 1, "too large"},
		{"a text for a number", good + good + `{"a":"x","v":"1"}`, "", 3, "field .v is not a number"},
		{"no key", `{"v":1}`, "", 1, "no field .a"},
		{"no value", `{"a":"x"}`, "", 1, "no field .v"},
		{"an object for a key", `{"a":{},"v":1}`, "", 1, "cannot be a key"},
		{"null for a key", `{"a":null,"v":1}`, "", 1, "cannot be a key"},
		{"a line without end", good + `{"a":"` + strings.Repeat("x", 2*LineBytesMax), "", 2, "longer than"},
		{"csv: fields missing", "a,v\nx,1\ny\n", "csv", 3, "wrong number of fields"},
		{"csv: no number", "a,v\nx,1\n\ny,\n", "csv", 4, "column 2 is not a number"},
		{"csv: open quote", "a,v\nx,1\n\"" + strings.Repeat("x\n", 2*LineBytesMax), "csv", 3, "longer than"},
	} {
		_, err := read(t, Options{Format: c.format, Key: ".a", Value: ".v"}, c.text)
		bad, ok := errors.AsType[*LineError](err)
		if !ok || bad.Line != c.line || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want line %d, %q", c.name, err, c.line, c.says)
			continue
		}
		if len(bad.Prefix) > prefixBytes+8 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: not one short line: %q", c.name, err)
		}
	}
}

func TestEventsBeforeABrokenLineAreDelivered(t *testing.T) {
	got, err := read(t, Options{Key: ".a"}, "{\"a\":\"x\"}\n{\"a\":\"y\"}\n[")
	if _, ok := errors.AsType[*LineError](err); !ok {
		t.Fatal(err)
	}
	// ForEach gives up with the batch; Fill has the events before the line.
	r, err := Open(Options{Path: "-", Key: ".a", Stdin: strings.NewReader("{\"a\":\"x\"}\n{\"a\":\"y\"}\n[")})
	if err != nil {
		t.Fatal(err)
	}
	var b workload.Batch
	if err := r.Fill(&b, 10); err == nil || b.Len() != 2 || got != "" {
		t.Errorf("%d events, %v", b.Len(), err)
	}
}

func TestWrongOptionsAreToldAtOpen(t *testing.T) {
	for _, o := range []Options{
		{Key: ""}, {Key: "origin"}, {Key: ".a,"}, {Key: ".a..b"}, {Key: ".a", Value: "v"}, {Key: ".a", Format: "xml"},
		{Key: ".z", Format: "csv"}, {Key: ".a", Value: ".z", Format: "csv"},
	} {
		if _, err := read(t, o, "a,b\n1,2\n"); err == nil || strings.Contains(err.Error(), "line") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "none"), Key: ".a"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestCompressionIsRecognisedByContent(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, testdata.Flights); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "flights")
	if err := os.WriteFile(name, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	texts[0], err = read(t, Options{Key: ".origin,.destination", Value: ".delay"}, testdata.Flights)
	if err != nil {
		t.Fatal(err)
	}
	texts[1], err = read(t, Options{Key: ".origin,.destination", Value: ".delay"}, packed.String())
	if err != nil || texts[0] != texts[1] || strings.Count(texts[0], "=") != 2000 {
		t.Errorf("%v, %d flights", err, strings.Count(texts[1], "="))
	}
	if _, err := read(t, Options{Key: ".origin"}, packed.String()[:packed.Len()/2]); err == nil {
		t.Error("a cut file was read without an error")
	}
}

func BenchmarkLines(b *testing.B) {
	b.SetBytes(int64(len(testdata.Flights) / 2000))
	var batch workload.Batch
	for left := b.N; left > 0; left -= 2000 {
		r, err := Open(Options{Path: "-", Key: ".origin,.destination", Value: ".delay", Stdin: strings.NewReader(testdata.Flights)})
		if err != nil {
			b.Fatal(err)
		}
		batch.Reset()
		if err := r.Fill(&batch, min(2000, left)); err != nil {
			b.Fatal(err)
		}
	}
}
